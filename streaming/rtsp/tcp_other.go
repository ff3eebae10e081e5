//go:build !linux

package rtsp

import (
	"errors"
	"net"
	"os"
	"time"
)

func descriptor(*net.TCPConn) int { return 0 }

// writeNow writes what the connection takes within a moment.
func (w *tcpWay) writeNow(b []byte) (int, error) {
	_ = w.wire.TCPConn.SetWriteDeadline(time.Now().Add(time.Millisecond))
	n, err := w.wire.TCPConn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}
