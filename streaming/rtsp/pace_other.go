//go:build !linux

package rtsp

import "net"

// peerState is not available here: what a stalled viewer may still drain is limited only
// by its own receive buffer.
func peerState(*net.TCPConn) (acked, window uint64, ok bool) { return 0, 0, false }

func smooth(*net.TCPConn, int) {}
