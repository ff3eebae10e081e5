package webrtc

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v5/packetio"
	"golang.org/x/time/rate"

	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
)

// Somebody who may watch may still be hostile, and pion keeps something for each address
// and each source number that it hears of. A guard stands between its socket and one
// viewer, and passes on what a player needs.

const (
	// maxPeers is from how many addresses and ports a viewer may be heard.
	maxPeers = 32
	// maxSources is how many senders of reports a viewer may have, and about how many tracks
	// it may report.
	maxSources = 16
	// maxSpoken is how large a packet of somebody who talks may be, in bytes: 200 ms of sound,
	// with what SRTP and hardly any browser adds. maxSpeakers is how many sources it may have.
	maxSpoken   = backchannel.MaxSound + 128
	maxSpeakers = 4
	// spokenEvery is how often a packet may come from somebody who talks, and spokenBurst how
	// many at once: browsers send one each 10 to 60 ms.
	spokenEvery = 5 * time.Millisecond
	spokenBurst = 100
	// maxReports is how much of one track may wait to be read, in bytes.
	maxReports = 64 << 10
)

// endedFlood is the reason for the end of a viewer that reports about too much.
const endedFlood access.Reason = "flood"

// guard is that of one viewer.
type guard struct {
	ice.UDPMux
	viewer *viewer

	alone bool // its path takes no datagrams in segments; guarded by the fan's sending

	mu      sync.Mutex
	peers   map[string]bool
	sources map[uint32]bool
	buffers int
	mouths  map[uint32]bool // sources of sound
	spoken  *rate.Limiter
}

func newGuard(v *viewer) *guard {
	return &guard{UDPMux: v.door.mux, viewer: v, peers: map[string]bool{}, sources: map[uint32]bool{}, mouths: map[uint32]bool{}, spoken: rate.NewLimiter(rate.Every(spokenEvery), spokenBurst)}
}

// GetListenAddresses leaves out loopback where the port is open to others, too.
func (g *guard) GetListenAddresses() []net.Addr {
	list := g.UDPMux.GetListenAddresses()
	others := make([]net.Addr, 0, len(list))
	for _, a := range list {
		if udp, ok := a.(*net.UDPAddr); !ok || !udp.IP.IsLoopback() {
			others = append(others, a)
		}
	}
	if len(others) == 0 {
		return list
	}
	return others
}

// GetConn returns the viewer's part of the socket, guarded.
func (g *guard) GetConn(name string, addr net.Addr) (net.PacketConn, error) {
	conn, err := g.UDPMux.GetConn(name, addr)
	if err != nil {
		return nil, err
	}
	return &guarded{conn, g}, nil
}

// guarded is the viewer's part of the socket.
type guarded struct {
	net.PacketConn
	guard *guard
}

// ReadFrom leaves out what the guard does not admit.
func (c *guarded) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(p)
		if err != nil || c.guard.admits(p[:n], from) {
			return n, from, err
		}
		c.guard.viewer.door.metrics.refused.Inc()
	}
}

// WriteTo sends nothing to a viewer that was ended, also nothing of pion's own. Media, which
// pion has encrypted and addressed, goes to the fan's batch: see fan.with.
func (c *guarded) WriteTo(p []byte, to net.Addr) (int, error) {
	v := c.guard.viewer
	if v.ending.Load() != nil && !isDTLS(p) { // it may be told goodbye
		return 0, net.ErrClosed
	}
	if isRTP(p) {
		v.fan.batch.add(c.guard, p, to)
		return len(p), nil
	}
	return c.PacketConn.WriteTo(p, to)
}

// admits reports whether a datagram is one that players send: to STUN, DTLS and RTCP (RFC
// 7983 and RFC 5761), and sound of those who talk.
func (g *guard) admits(p []byte, from net.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !within(g.peers, from.String(), maxPeers) || len(p) == 0 {
		return false
	}
	if p[0] < 128 || p[0] > 191 {
		return true
	}
	if len(p) >= 8 && p[1] >= 192 && p[1] <= 223 {
		return within(g.sources, binary.BigEndian.Uint32(p[4:]), maxSources)
	}
	return g.hears(p)
}

// hears reports whether a datagram is sound of somebody who talks. Nobody else sends us RTP.
// The caller holds mu.
func (g *guard) hears(p []byte) bool {
	t := g.viewer.talker
	return t != nil && len(p) > 12 && len(p) <= maxSpoken && p[1]&0x7f == t.payload &&
		within(g.mouths, binary.BigEndian.Uint32(p[8:]), maxSpeakers) && g.spoken.Allow()
}

// within adds to a set of at most that many, and reports whether it has the value.
func within[T comparable](set map[T]bool, value T, most int) bool {
	if !set[value] && len(set) < most {
		set[value] = true
	}
	return set[value]
}

// isRTP tells media from reports (RFC 5761, section 4).
func isRTP(p []byte) bool {
	return len(p) > 1 && p[0] >= 128 && p[0] <= 191 && (p[1] < 192 || p[1] > 223)
}

func isDTLS(p []byte) bool { return len(p) > 0 && p[0] >= 20 && p[0] <= 63 }

// buffer is where pion puts the reports about one track until they are read.
func (g *guard) buffer(packetio.BufferPacketType, uint32) io.ReadWriteCloser {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := reports{packetio.NewBuffer()}
	b.SetLimitSize(maxReports)
	if g.buffers++; g.buffers > maxSources {
		g.viewer.end(endedFlood)
		_ = b.Close()
	}
	return b
}

// reports are those about one track.
type reports struct{ *packetio.Buffer }

// Read returns the next one.
func (r reports) Read(p []byte) (int, error) {
	n, _, err := r.Buffer.Read(p, nil)
	return n, err
}

// Write keeps one more, if there is room.
func (r reports) Write(p []byte) (int, error) { return r.Buffer.Write(p, nil) }
