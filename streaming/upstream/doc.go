// Package upstream holds cameras as sources: each stream of a camera is pulled once,
// and handed out to any number of readers of any kind.
//
// It dials cameras over RTSP, within the budget of their owners and with backoff,
// checks what they say and send, fits packets to a datagram, and fans them out. A
// stream is dialled for whoever leases it first, and left some time after the last
// lease, or at once when its device is gone. Who may watch is asked by the doors
// (such as package rtsp), which serve viewers: this package knows no keys, sessions
// or viewers, and nothing of the protocols that they speak.
//
// Cameras are taken for hostile: what is read from them is bounded in size and in
// time, they are dialled only where the policy allows it, and nothing of them (their
// address, their credentials, their words) is handed on, except formats and packets.
package upstream
