//go:build !linux

package rtsp

import (
	"errors"
	"net/netip"
)

// sender sends one packet with each system call.
type sender struct{}

type sockaddr struct{ addr netip.AddrPort }

type datagrams struct{}

func (u *udpPorts) open() error { return u.rtp.SetWriteBuffer(1 << 20) }

func (u *udpPorts) sendOn(netip.Addr) error { return errors.New("multicast is sent on Linux only") }

func (u *udpPorts) address(a netip.AddrPort) sockaddr { return sockaddr{a} }

func (u *udpPorts) send(b *burst, to sockaddr, from, until int, _ *bool) int {
	for n := from; n < until; n++ {
		_, _ = u.rtp.WriteToUDPAddrPort(b.packet(n), to.addr)
	}
	return until
}

func (u *udpPorts) report(rtcp []byte, to sockaddr) { _, _ = u.rtcp.WriteToUDPAddrPort(rtcp, to.addr) }

type batch struct{}

func (t *batch) add(u *udpPorts, b *burst, _ *outbox, to *sockaddr) {
	u.send(b, *to, 0, len(b.ends), nil)
}

func (t *batch) flush(*udpPorts, *burst) {}
