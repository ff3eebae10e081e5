// Package vod plays recordings to browsers, as fragments of MP4 over a connection on which
// they say what they want to see.
//
// A Player carries out orders: of those that come while the recorder is busy only the last
// of each kind counts, so however fast somebody seeks, one connection to the recorder is
// asked one thing at a time. What may be seen is decided by package playback, packet by
// packet, and a browser that is slow slows the recorder down.
//
// The package knows no accounts, sessions and sockets: a Screen has them.
package vod
