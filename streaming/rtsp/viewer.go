package rtsp

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/bluenviron/gortsplib/v4"
	"golang.org/x/time/rate"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

// viewer is one RTSP session, from its first SETUP to its end. It can only see what it
// was set up for: nothing that it sends later changes that.
type viewer struct {
	id      uint64
	key     access.Key
	device  ids.Device // resolved
	channel int
	needs   privilege.Set
	udp     bool
	// multicast: it receives in a group, whose packets are sent once for all of it.
	multicast bool

	permit   *access.Permit
	session  *gortsplib.ServerSession
	wire     *wire
	lease    *lease
	replay   *replay       // nil: it watches live
	keys     []*protection // by track, over UDP within TLS
	group    *group        // nil: it receives alone
	tracks   []int         // set up
	channels []int         // of RTP over TCP
	ports    []int         // RTP ports of the player over UDP; the registry's mutex guards them
	subs     []sub         // by track
	order    []int         // the tracks that are set up, in the order of their SETUPs
	box      *outbox       // over TCP that of the connection
	left     bool          // it gets nothing any more; the stream's mutex guards it

	reports     *rate.Limiter // over UDP
	reportPorts reportPorts
	deaf        atomic.Bool // the viewer sends too many

	alone   bool                   // it may only talk
	talks   atomic.Bool            // it might watch too, but plays only the back channel
	speech  atomic.Pointer[speech] // nil: it has set up no back channel
	cutFor  atomic.Pointer[cutting]
	playing atomic.Bool   // since its first PLAY
	done    chan struct{} // closed when nothing more is sent
}

// transport names how the viewer receives; "" if it only asks for a description.
func (v *viewer) transport() string {
	switch {
	case v.session == nil:
		return ""
	case v.alone, v.talks.Load():
		return v.talkTransport()
	case v.wire.tls != nil && v.udp:
		return "rtsps-udp"
	case v.wire.tls != nil:
		return "rtsps-tcp"
	case v.multicast:
		return "rtsp-multicast"
	case v.udp:
		return "rtsp-udp"
	}
	return "rtsp-tcp"
}

// address is from where the viewer's connection comes; packets over UDP go there too.
func (v *viewer) address() netip.Addr {
	if v.wire == nil {
		return netip.Addr{}
	}
	return v.wire.peer
}

// registry has every viewer.
type registry struct {
	mu   sync.Mutex
	last uint64
	all  map[*viewer]struct{}
}

func (r *registry) add(v *viewer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	v.id = r.last
	r.all[v] = struct{}{}
}

func (r *registry) remove(v *viewer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, v)
}

// list returns every viewer.
func (r *registry) list() []*viewer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.all))
}

// cut lists the viewers over UDP that were cut and have not ended. Over TCP nothing is
// sent from the cut on.
func (r *registry) cut() []*viewer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*viewer
	for v := range r.all {
		if v.udp && v.cutFor.Load() != nil {
			list = append(list, v)
		}
	}
	return list
}

// claim records that the viewer receives at this RTP port, and returns another viewer at
// the same address that already does, or nil.
func (r *registry) claim(v *viewer, port int) *viewer {
	r.mu.Lock()
	defer r.mu.Unlock()
	v.ports = append(v.ports, port)
	for other := range r.all {
		if other != v && other.wire.peer == v.wire.peer && slices.Contains(other.ports, port) {
			return other
		}
	}
	return nil
}

func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}
