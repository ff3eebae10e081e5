package rtsp

import (
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/time/rate"
)

const (
	// A viewer over UDP may send so many reports a second, and so many at once. Players
	// send one in some seconds for each track.
	reportsPerSecond, reportBurst = 50, 200
	// maxDeaf is how many sources the kernel drops reports of.
	maxDeaf = 64
)

// deafness is whose reports the kernel drops, before they are queued for the server: they
// would keep it busy.
type deafness struct {
	mu      sync.Mutex
	sources []netip.AddrPort
}

// heard counts a report of a viewer over UDP. One that sends far too many is not heard any
// more; if that cannot be, it ends.
func (d *Door) heard(v *viewer) {
	if v.reports.Allow() || v.deaf.Swap(true) {
		return
	}
	d.log.Warn("a viewer sends too many reports, which are not read any more", "viewer", v.id, "account", v.key.Account)
	if !d.ignore(v.reportsFrom()) {
		go d.cut(v, "reports") // not here: the server's own loop is waiting
	}
}

func newReportLimit() *rate.Limiter { return rate.NewLimiter(reportsPerSecond, reportBurst) }

// reportsFrom returns from where the viewer sends reports.
func (v *viewer) reportsFrom() []netip.AddrPort {
	v.reportPorts.Lock()
	defer v.reportPorts.Unlock()
	list := make([]netip.AddrPort, len(v.reportPorts.list))
	for n, port := range v.reportPorts.list {
		list[n] = v.wire.endpoint(port)
	}
	return list
}

// reportPorts are the ports of a player's RTCP.
type reportPorts struct {
	sync.Mutex
	list []int
}

func (r *reportPorts) add(port int) {
	r.Lock()
	defer r.Unlock()
	r.list = append(r.list, port)
}

// ignore makes the kernel drop what comes from the sources, and reports whether it does.
func (d *Door) ignore(sources []netip.AddrPort) bool {
	d.deaf.mu.Lock()
	defer d.deaf.mu.Unlock()
	list := append(slices.Clone(d.deaf.sources), sources...)
	if len(list) > maxDeaf || dropFrom(d.udp.rtcp, list) != nil {
		return false
	}
	d.deaf.sources = list
	return true
}

// hear ends what ignore began, when the viewer ends.
func (d *Door) hear(v *viewer) {
	if !v.deaf.Load() {
		return
	}
	d.deaf.mu.Lock()
	defer d.deaf.mu.Unlock()
	gone := v.reportsFrom()
	d.deaf.sources = slices.DeleteFunc(d.deaf.sources, func(s netip.AddrPort) bool { return slices.Contains(gone, s) })
	_ = dropFrom(d.udp.rtcp, d.deaf.sources)
}
