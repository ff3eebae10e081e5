// Package upstream provides cameras as sources: each stream of a camera is pulled once,
// and distributed to any number of readers of any kind.
//
// It dials cameras over RTSP, within the budget of their owners and with backoff,
// validates what they send, fits packets to a datagram, and fans them out. A stream is
// dialed for its first lease, and disconnected some time after the last lease, or at once
// when its device is removed. The doors (such as package rtsp), which serve viewers,
// check who may watch: this package does not know keys, sessions or viewers, nor the
// protocols that they speak.
//
// Cameras are considered hostile: what is read from them is bounded in size and in time,
// they are dialed only where the policy allows it, and nothing of them (their address,
// their credentials, their texts) is passed on, except formats and packets.
package upstream
