package rtspclient

import (
	"net"

	"golang.org/x/sys/unix"
)

// growBuffer enlarges the receive buffer of a socket, beyond the system's limit if the
// process may.
func growBuffer(conn *net.UDPConn, size int) {
	_ = conn.SetReadBuffer(size)
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
	})
}
