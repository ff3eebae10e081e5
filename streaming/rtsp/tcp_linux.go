package rtsp

import (
	"net"
	"unsafe"

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

// writeNow writes what the connection takes without waiting. The runtime is not told of
// the system call, as it is short: there are many of them.
func (w *tcpWay) writeNow(b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(w.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	default:
		return 0, errno
	}
}
