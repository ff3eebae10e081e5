//go:build !linux

package rtspclient

import "net"

// growBuffer enlarges the receive buffer of a socket, as far as the system allows.
func growBuffer(conn *net.UDPConn, size int) { _ = conn.SetReadBuffer(size) }
