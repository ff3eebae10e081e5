package engine

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// boundSilence sets TCP_USER_TIMEOUT (RFC 5482) on a TCP socket.
func boundSilence(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var fault error
	err := c.Control(func(fd uintptr) {
		fault = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silentFor.Milliseconds()))
	})
	if err == nil {
		err = fault
	}
	if err != nil {
		return fmt.Errorf("setting the TCP user timeout: %w", err)
	}
	return nil
}
