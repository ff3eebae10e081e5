//go:build !linux

package rtsp

import (
	"errors"
	"net"
	"net/netip"
)

func dropFrom(*net.UDPConn, []netip.AddrPort) error { return errors.ErrUnsupported }
