package rtsp

import (
	"net"
	"net/netip"
)

const (
	// udpBurst is how much a viewer over UDP gets at once, in bytes, and udpRate how much
	// per second after that: players' receive buffers are small.
	udpBurst, udpRate = 64 << 10, 12_500_000
	// udpSendBuffer is the size of the kernel's send buffer that all viewers share.
	udpSendBuffer = 8 << 20
)

// udpWay sends datagrams from the server's ports. Its units are packets.
type udpWay struct {
	ports *udpPorts
	wire  *wire

	credit int   // bytes
	at     int64 // of credit
	alone  bool  // the path takes no segments: one packet for each system call
}

// udpPorts are the server's ports of RTP and RTCP.
type udpPorts struct {
	rtp, rtcp *net.UDPConn
	sender
}

func (u *udpWay) size(b *burst, _ *sub) int {
	if b.control {
		return 1
	}
	return len(b.ends)
}

// fill adds to the credit what has become free since the last time.
func (u *udpWay) fill() {
	now := monotonic()
	u.credit = min(udpBurst, u.credit+int(min(now-u.at, 1e9)*udpRate/1e9))
	u.at = now
}

func (u *udpWay) send(b *burst, s *sub, from int) (int, error) {
	if b.control {
		if len(b.data) > 4 {
			u.ports.report(b.data[4:], s.rtcp)
		}
		return 1, nil
	}
	u.fill()
	to := from
	for to < len(b.ends) && u.credit > 0 {
		u.credit -= len(b.packet(to))
		to++
	}
	if to == from {
		return from, nil
	}
	return u.ports.send(b, s.rtp, from, to, &u.alone), nil
}

// takes reports whether all of a burst may be sent at once, and counts it.
func (u *udpWay) takes(b *burst) bool {
	u.fill()
	if u.alone || u.credit < len(b.data) {
		return false
	}
	u.credit -= len(b.data)
	return true
}

func (u *udpWay) rest(*burst, *sub, int) []byte { return nil }

func (u *udpWay) probing() bool { return false }

func (u *udpWay) giveUp() { u.wire.cut() }

// endpoint returns the address of a player's port.
func (w *wire) endpoint(port int) netip.AddrPort { return netip.AddrPortFrom(w.peer, uint16(port)) }
