package rtsp

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"latchkey/streaming/cameratest"
)

// TestAFloodOfReportsOverUDP: the kernel drops them, and the viewer goes on; another one is
// still heard.
func TestAFloodOfReportsOverUDP(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the viewer ends")
	}
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.watching(t, "/dev-1/1", annKey, "udp")
	other := h.watching(t, "/dev-1/1", annKey, "udp")
	to := h.udp.rtcp.LocalAddr().(*net.UDPAddr)
	send := func(p *player, n int) {
		for range n {
			_, _ = p.udp[1].WriteTo([]byte{1}, to) // no RTCP: it is counted as dropped
		}
	}
	read := func() float64 { return h.dropped(t, droppedSent) }
	deaf := func() (n int) {
		for _, v := range h.viewers.list() {
			if v.deaf.Load() {
				n++
			}
		}
		return n
	}
	eventually(t, "the flood is noticed", func() bool { send(p, 50); return deaf() == 1 })
	before := read()
	send(p, 5000)
	send(other, 1)
	eventually(t, "the other one is heard", func() bool { return read() > before })
	if got := read() - before; got > 2500 { // those that the socket had before
		t.Errorf("%v reports of the flood were read", got)
	}
	if err := p.receive(5); err != nil {
		t.Errorf("the viewer does not go on: %v", err)
	}
	r, err := p.do("TEARDOWN", p.url)
	p.wants(200, "TEARDOWN", r, err)
	eventually(t, "its ports are free for another", func() bool {
		h.deaf.mu.Lock()
		defer h.deaf.mu.Unlock()
		return len(h.deaf.sources) == 0
	})
	send(other, 1)
}

// TestDropFrom drops what comes from the sources, and nothing else, over IPv4 and IPv6.
func TestDropFrom(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip()
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		ip := net.ParseIP(host)
		listen := func() *net.UDPConn {
			conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
			if err != nil {
				t.Skipf("no %s here: %v", host, err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		server, good, bad := listen(), listen(), listen()
		port := func(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }
		elsewhere := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port(good).Port())
		received := func() (from []int) {
			for _, c := range []*net.UDPConn{bad, good} {
				_, _ = c.WriteTo([]byte("x"), server.LocalAddr())
			}
			buf := make([]byte, 10)
			for {
				_ = server.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				_, addr, err := server.ReadFromUDPAddrPort(buf)
				if err != nil {
					return from
				}
				from = append(from, int(addr.Port()))
			}
		}
		if err := dropFrom(server, []netip.AddrPort{elsewhere, port(bad)}); err != nil {
			t.Fatal(err)
		}
		if from := received(); len(from) != 1 || from[0] != int(port(good).Port()) {
			t.Errorf("%s: received from %v; dropped is %v", host, from, port(bad))
		}
		if err := dropFrom(server, nil); err != nil {
			t.Fatal(err)
		}
		if from := received(); len(from) != 2 {
			t.Errorf("%s: received from %v without a filter", host, from)
		}
	}
}
