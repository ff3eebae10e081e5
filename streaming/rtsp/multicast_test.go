//go:build linux

package rtsp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
)

// byMulticast opens a house of which ann owns the device; bob has it through a share.
func byMulticast(t *testing.T, within string) *house {
	h := open(t, (&cameratest.Camera{GOP: 50}).Start(t), func(c *config) {
		c.Multicast, c.CheckEvery = netip.MustParsePrefix(within), time.Hour
	})
	h.grants.own("ann", "dev-1")
	h.grants.key(access.Key{Name: "kann2", Account: "ann"}, "secret")
	h.grants.key(access.Key{Name: "kbob", Account: "bob"}, "secret")
	h.grants.grant("bob", "dev-1", 1, privilege.LiveView)
	return h
}

// setupGroup sets up a track by multicast, and returns where it is sent.
func (p *player) setupGroup() netip.AddrPort {
	p.t.Helper()
	r, err := p.describe()
	p.wants(200, "DESCRIBE", r, err)
	r, err = p.do("SETUP", p.controls[0], "Transport: RTP/AVP;multicast")
	r = p.wants(200, "SETUP by multicast", r, err)
	var group netip.Addr
	parts := strings.Split(r.header.Get("Transport"), ";")
	for _, part := range parts {
		if name, value, _ := strings.Cut(part, "="); name == "destination" {
			group, err = netip.ParseAddr(value)
		}
	}
	if text := r.header.Get("Transport"); err != nil || parts[1] != "multicast" || !strings.Contains(text, "port=8002-8003") || !strings.Contains(text, "ttl=1") {
		p.t.Fatalf("the answer to SETUP is %q", text)
	}
	return netip.AddrPortFrom(group, multicastPort)
}

// member is a host that has joined a group on loopback.
func member(t *testing.T, group netip.AddrPort) *net.UDPConn {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 {
			continue
		}
		conn, err := net.ListenMulticastUDP("udp4", &i, net.UDPAddrFromAddrPort(group))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if cerr := raw.Control(func(fd uintptr) { // not what other sockets of the machine have joined
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
		}); cerr != nil || err != nil {
			t.Fatal(cerr, err)
		}
		return conn
	}
	t.Fatal("there is no loopback interface")
	return nil
}

// packetTo reads a packet; nil if none comes.
func packetTo(conn *net.UDPConn, within time.Duration) []byte {
	buf := make([]byte, 2048)
	_ = conn.SetReadDeadline(time.Now().Add(within))
	n, err := conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// silent reports whether nothing comes that had not come when it was called.
func silent(conn *net.UDPConn) bool {
	for packetTo(conn, time.Millisecond) != nil {
	}
	return packetTo(conn, 150*time.Millisecond) == nil
}

// TestMulticast: the players with one key of the owner share a group, which gets what the
// camera plays from then on, and nothing once nobody in it may watch.
func TestMulticast(t *testing.T) {
	t.Parallel()
	h := byMulticast(t, "239.255.77.0/28")
	other := h.watching(t, "/dev-1/1", annKey, "tcp") // it fills the cache
	if err := other.receive(30); err != nil {
		t.Fatal(err)
	}
	p, second, apart := h.player(t, "/dev-1/1", annKey), h.player(t, "/dev-1/1", annKey), h.player(t, "/dev-1/1", "kann2:secret")
	at := p.setupGroup()
	if got := second.setupGroup(); got != at {
		t.Errorf("two players with a key have the groups %v and %v", at, got)
	}
	elsewhere := apart.setupGroup()
	if elsewhere == at {
		t.Error("players with different keys have the same group")
	}
	host, reports, foreign := member(t, at), member(t, netip.AddrPortFrom(at.Addr(), at.Port()+1)), member(t, elsewhere)
	if !silent(host) {
		t.Error("packets are sent before PLAY")
	}
	r, err := p.play()
	r = p.wants(200, "PLAY", r, err)
	packet := packetTo(host, udpPatience)
	if len(packet) < 12 || !strings.Contains(r.header.Get("RTP-Info"), "seq=") {
		t.Fatalf("the group got %d bytes; RTP-Info: %q", len(packet), r.header.Get("RTP-Info"))
	}
	if report := packetTo(reports, udpPatience); len(report) < 28 || report[1] != 200 {
		t.Errorf("the group got the report %x", report)
	}
	for n := uint16(1); n < 20; n++ {
		if next := packetTo(host, udpPatience); next == nil || binary.BigEndian.Uint16(next[2:]) != binary.BigEndian.Uint16(packet[2:])+n {
			t.Fatalf("packet %d of the group is %.12x", n, next)
		}
	}
	if got := viewersBy(h, "rtsp-multicast"); got != 3 {
		t.Errorf("%d viewers by multicast", got)
	}
	r, err = second.play()
	second.wants(200, "PLAY", r, err)
	r, err = apart.play()
	apart.wants(200, "PLAY", r, err)
	r, err = p.do("PAUSE", p.url)
	p.wants(200, "PAUSE", r, err)
	if silent(host) {
		t.Error("the pause of one player ended the group")
	}
	r, err = p.play()
	p.wants(200, "PLAY", r, err)

	h.grants.revokeKey("kann")
	h.recheck(t, "", "", "kann")
	if !silent(host) {
		t.Error("packets are sent to the group after the answer to the revocation")
	}
	if silent(foreign) {
		t.Error("the group of the other key ended as well")
	}
	h.grants.remove("ann", "dev-1")
	h.recheck(t, "", "dev-1", "")
	if !silent(foreign) {
		t.Error("packets are sent to the group after the device was removed")
	}
	if len(h.groups.used) != 0 {
		t.Errorf("addresses are still used: %v", h.groups.used)
	}
}

func viewersBy(h *house, transport string) (n int) {
	for _, v := range h.viewers.list() {
		if v.transport() == transport {
			n++
		}
	}
	return n
}

// TestMulticastSendsNothingUnknown: while it is not known what is permitted.
func TestMulticastSendsNothingUnknown(t *testing.T) {
	t.Parallel()
	h := byMulticast(t, "239.255.78.0/28")
	p := h.player(t, "/dev-1/1", annKey)
	host := member(t, p.setupGroup())
	r, err := p.play()
	p.wants(200, "PLAY", r, err)
	if packetTo(host, udpPatience) == nil {
		t.Fatal("the group got nothing")
	}
	h.grants.setSick(true)
	if !silent(host) {
		t.Error("packets are sent while nothing is known")
	}
}

// TestMulticastIsRefused to everybody but the owner, within TLS, for recordings, and when no
// address is left; whatever else is offered then counts.
func TestMulticastIsRefused(t *testing.T) {
	t.Parallel()
	h := byMulticast(t, "239.255.79.1/32")
	setup := func(status int, what, path, key, transport string) *player {
		t.Helper()
		p := h.player(t, path, key)
		r, err := p.do("SETUP", p.url+"/trackID=0", "Transport: "+transport)
		r = p.wants(status, what, r, err)
		if status == 200 && strings.Contains(r.header.Get("Transport"), "multicast") {
			t.Errorf("%s: the answer is %q", what, r.header.Get("Transport"))
		}
		return p
	}
	const multicast = "RTP/AVP;multicast"
	p := setup(461, "a recipient", "/dev-1/1", "kbob:secret", multicast)
	r, err := p.do("SETUP", p.url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	p.wants(200, "the recipient's next try", r, err)
	setup(200, "what else a recipient offers", "/dev-1/1", "kbob:secret", multicast+",RTP/AVP/TCP;unicast")
	setup(401, "nobody", "/dev-1/1", "", multicast)
	setup(404, "a device that is not seen", "/dev-2/1", annKey, multicast)
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView|privilege.Playback)
	setup(461, "a recording", "/dev-1/1/playback?starttime=20260101T100000Z", annKey, multicast)
	owner := h.player(t, "/dev-1/1", annKey)
	owner.setupGroup()
	setup(461, "a second group", "/dev-1/1", "kann2:secret", multicast)
	r, err = owner.do("SETUP", owner.url+"/trackID=1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	owner.wants(461, "another transport in the session", r, err)
	r, err = owner.do("SETUP", owner.url+"/trackID=1", "Transport: "+multicast)
	if err != nil || r.status == 200 {
		t.Errorf("a back channel by multicast: %v, %v", r, err)
	}
	h.grants.revokeKey("kann")
	h.recheck(t, "", "", ids.Key("kann"))
	if len(h.groups.used) != 0 {
		t.Errorf("addresses are still used: %v", h.groups.used)
	}
}

func TestCheckMulticast(t *testing.T) {
	t.Parallel()
	for within, good := range map[string]bool{
		"239.255.42.0/24": true, "239.1.2.3/32": true, "232.0.0.0/8": true,
		"224.0.0.0/3": false, "224.0.0.0/4": false, "224.0.0.5/32": false, "192.0.2.0/24": false, "ff05::/16": false,
	} {
		if err := CheckMulticast(netip.MustParsePrefix(within)); (err == nil) != good {
			t.Errorf("%s: %v", within, err)
		}
	}
	g := newGroups(netip.MustParsePrefix("239.1.2.8/30"))
	for n := range 4 {
		if a, ok := g.take(); !ok || !g.within.Contains(a) {
			t.Errorf("address %d is %v, %v", n, a, ok)
		}
	}
	if a, ok := g.take(); ok {
		t.Errorf("%v is used twice", a)
	}
	last := netip.MustParseAddr("239.1.2.9")
	g.give(last)
	if a, ok := g.take(); !ok || a != last {
		t.Errorf("%v is taken, want %v", a, last)
	}
}
