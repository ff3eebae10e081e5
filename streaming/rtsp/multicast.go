package rtsp

import (
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"

	"latchkey/domain/ids"
)

const (
	// multicastPort is where groups get RTP of the first track; RTCP follows at the next
	// port, and each further track at the next two.
	multicastPort = 8002
	// multicastTTL keeps the packets in the network of the door.
	multicastTTL = 1
)

// routing are groups that routers use among themselves (RFC 5771, section 4).
var routing = netip.MustParsePrefix("224.0.0.0/24")

// CheckMulticast reports why the networks cannot be the range of multicast groups.
func CheckMulticast(within netip.Prefix) error {
	switch {
	case !within.Addr().Is4() || !within.Addr().IsMulticast() || within.Bits() < 4:
		return errors.New("want a range of IPv4 multicast addresses such as 239.255.42.0/24")
	case within.Overlaps(routing):
		return errors.New("224.0.0.0/24 belongs to routing protocols")
	}
	return nil
}

// groups are the addresses of multicast groups.
type groups struct {
	within netip.Prefix // invalid: nothing is sent by multicast

	mu   sync.Mutex
	next uint64 // an address is reused as late as possible
	used map[netip.Addr]bool

	setups int // numbers the ports that the server is given; see standIn
}

func newGroups(within netip.Prefix) groups {
	return groups{within: within.Masked(), next: uint64(rand.Uint32()), used: map[netip.Addr]bool{}}
}

// take returns an unused address; false if all are used.
func (g *groups) take() (netip.Addr, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	size := uint64(1) << (32 - g.within.Bits())
	first := g.within.Addr().As4()
	for range min(size, uint64(len(g.used))+1) {
		g.next++
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(first[:])+uint32(g.next%size))
		if a := netip.AddrFrom4(b); !g.used[a] {
			g.used[a] = true
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (g *groups) give(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.used, a)
}

// standIn returns the transport that the server gets to see. Its own multicast sends on
// every interface, so to the server a member of a group is a viewer over UDP, with ports
// that do not exist and that no other viewer has.
func (g *groups) standIn(mode headers.TransportMode) headers.Transport {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.setups++
	port := 1<<16 + 2*(g.setups&(1<<28-1))
	unicast := headers.TransportDeliveryUnicast
	return headers.Transport{Protocol: headers.TransportProtocolUDP, Delivery: &unicast, ClientPorts: &[2]int{port, port + 1}, Mode: &mode}
}

// offersMulticast reports whether a header offers a transport by multicast.
func offersMulticast(header base.HeaderValue) bool {
	offers := strings.Split(strings.Join(header, ","), ",")
	return slices.ContainsFunc(offers[:min(len(offers), maxTransports)], func(offer string) bool {
		t, _ := parseTransport(offer)
		return t.Protocol == headers.TransportProtocolUDP && !t.Secure &&
			t.Delivery != nil && *t.Delivery == headers.TransportDeliveryMulticast
	})
}

// joins reports whether a SETUP is by multicast: the first one if nothing else that it
// offers fits, and the others if that was.
func (w *wire) joins(v *viewer, header base.HeaderValue, mode headers.TransportMode, refused *refusal) bool {
	if !w.listener.door.groups.within.IsValid() || w.tls != nil || mode != headers.TransportModePlay || !offersMulticast(header) {
		return false
	}
	if v != nil {
		return v.multicast
	}
	return refused == errNoTransport
}

// mayJoin refuses multicast to everyone except the owner of the device: the packets of a
// group cannot be withheld from one of its members, and nobody can revoke the owner's access.
// A device id never gets another owner.
func (d *Door) mayJoin(v *viewer, t target) *refusal {
	if v.multicast && (v.alone || t.playback || !d.cfg.Access.Owns(v.key.Account, v.device)) {
		return errNoTransport
	}
	return nil
}

// group is what the players with one stream key receive together of a stream: when the key
// is revoked, nothing more is sent to it. The stream's mutex guards it.
type group struct {
	key     ids.Key
	address netip.Addr
	members map[*viewer]bool // those who have set it up, and whether they play
	all     *viewer          // stands for them among the viewers of the stream
}

// group returns the group of the viewer, creating it if needed.
func (st *stream) group(v *viewer) (*group, *refusal) {
	st.mu.Lock()
	defer st.mu.Unlock()
	g := st.groups[v.key.Name]
	if g == nil {
		address, ok := st.door.groups.take()
		if !ok {
			return nil, errNoTransport
		}
		g = &group{key: v.key.Name, address: address, members: map[*viewer]bool{}, all: &viewer{subs: make([]sub, len(st.tracks))}}
		g.all.box = &outbox{door: st.door, way: &groupWay{&udpWay{ports: st.door.udp, credit: udpBurst}, st, g}}
		if st.groups == nil {
			st.groups = map[ids.Key]*group{}
		}
		st.groups[g.key] = g
	}
	g.members[v] = false
	return g, nil
}

// plays reports whether anybody in the group does.
func (g *group) plays() bool {
	for _, plays := range g.members {
		if plays {
			return true
		}
	}
	return false
}

// port returns the port of RTP of a track.
func (g *group) port(track int) int { return multicastPort + 2*track }

// answer completes the response to the SETUP of a track.
func (g *group) answer(res *base.Response, to headers.Transport, track int) {
	multicast, ttl, address := headers.TransportDeliveryMulticast, uint(multicastTTL), net.IP(g.address.AsSlice())
	res.Header["Transport"] = headers.Transport{
		Protocol: headers.TransportProtocolUDP, Delivery: &multicast, Destination: &address, TTL: &ttl,
		Ports: &[2]int{g.port(track), g.port(track) + 1}, SSRC: to.SSRC,
	}.Marshal()
}

// joinGroup makes the viewer's group get its tracks from now on, and nothing of before. It
// requires the lock.
func (st *stream) joinGroup(v *viewer) []startsAt {
	g, starts := v.group, make([]startsAt, len(st.tracks))
	box := g.all.box
	if !g.plays() {
		clear(g.all.subs)
		box.start(st, g.all.subs, nil, func() {
			st.door.log.Warn("a multicast group is too slow and loses pictures", "device", v.device, "channel", v.channel)
		})
		box.uncork()
		st.viewers = append(st.viewers, g.all)
	}
	g.members[v] = true
	box.mu.Lock()
	defer box.mu.Unlock()
	for n, t := range st.tracks {
		if !v.subs[n].on {
			continue
		}
		starts[n] = t.next()
		if s := &g.all.subs[n]; !s.on {
			to := func(port int) sockaddr { return st.door.udp.address(netip.AddrPortFrom(g.address, uint16(port))) }
			*s = sub{on: true, skipping: t.mid, rtp: to(g.port(n)), rtcp: to(g.port(n) + 1)}
		}
	}
	return starts
}

// leaveGroup ends what the group gets if nobody else plays. It requires the lock.
func (st *stream) leaveGroup(v *viewer, forGood bool) {
	g := v.group
	if g.members[v] = false; forGood {
		delete(g.members, v)
	}
	if !g.plays() {
		st.viewers = slices.DeleteFunc(st.viewers, func(other *viewer) bool { return other == g.all })
		g.all.box.stop()
	}
	if len(g.members) == 0 {
		g.all.box.close()
		st.door.groups.give(g.address)
		if st.groups[g.key] == g {
			delete(st.groups, g.key)
		}
	}
}

// groupWay sends to a group.
type groupWay struct {
	*udpWay
	of    *stream
	group *group
}

// giveUp ends every viewer of the group.
func (w *groupWay) giveUp() {
	w.of.mu.Lock()
	delete(w.of.groups, w.group.key) // who comes now gets another
	members := slices.Collect(maps.Keys(w.group.members))
	w.of.mu.Unlock()
	for _, v := range members {
		v.wire.cut()
	}
}

// openForMulticast makes the ports send to groups on the interface of their address.
func (d *Door) openForMulticast() error {
	if !d.groups.within.IsValid() {
		return nil
	}
	on := d.udp.rtp.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if !on.Is4() && !on.IsUnspecified() {
		return errors.New("multicast needs an IPv4 address of the door")
	}
	return d.udp.sendOn(on)
}
