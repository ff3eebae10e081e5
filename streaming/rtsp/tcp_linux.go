package rtsp

import (
	"net"

	"golang.org/x/sys/unix"
)

// descriptor returns the number of a connection's descriptor, which is valid until the
// connection is closed.
func descriptor(conn *net.TCPConn) (fd int) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(n uintptr) { fd = int(n) })
	}
	return fd
}

// writeNow writes what the connection takes without waiting. The caller holds w.sending,
// and the connection is not closed without that.
func writeNow(w *wire, b []byte) (int, error) {
	n, err := unix.Write(w.fd, b)
	switch err {
	case nil:
		return n, nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	default:
		return 0, err
	}
}
