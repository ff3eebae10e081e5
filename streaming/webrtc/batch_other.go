//go:build !linux

package webrtc

import "net"

const segments = false

// way sends each packet with a system call.
type way struct{ conn *net.UDPConn }

func newBatch(socket *net.UDPConn) (*batch, error) { return &batch{way: way{socket}}, nil }

func (*way) close() {}

func (w *way) send(data []byte, runs []run) {
	for n := range runs {
		runs[n].singly(data, w.conn)
	}
}
