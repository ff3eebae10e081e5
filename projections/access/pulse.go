package access

import (
	"sync/atomic"
	"time"
)

// Pulse is what most checks read: whether it is known what is permitted, and whether that
// changed.
type Pulse struct {
	base  time.Time     // times are stored relative to it
	bound time.Duration // on staleness

	version atomic.Uint64 // grows after each change, before it is acknowledged; never 0
	state   atomic.Uint32
	fresh   atomic.Int64 // it was up to date at this time, ns since base
	// wall is the same by the wall clock, ns since 1970. The other clock stops while the
	// machine is suspended, and this one may be set back.
	wall atomic.Int64
}

// newPulse returns the pulse of rules that were never measured.
func newPulse(base time.Time, bound time.Duration) *Pulse {
	p := &Pulse{base: base, bound: bound}
	p.version.Store(1)
	p.fresh.Store(never)
	return p
}

// never is when an index that was not measured yet was up to date.
const never = -1 << 62

// Live reports whether it is known, at that time, what is permitted: three atomic loads.
// A process that was paused, with its machine or alone, finds out here that it is not.
func (p *Pulse) Live(now time.Time) bool { return p.liveAt(p.since(now), now.UnixNano()) }

func (p *Pulse) since(now time.Time) int64 { return int64(now.Sub(p.base)) }

func (p *Pulse) liveAt(passed, wall int64) bool {
	return p.state.Load() == stateLive && p.behindAt(passed, wall) <= p.bound
}

// behindAt returns how long ago the rules were known to be up to date, by the clock that
// says longer.
func (p *Pulse) behindAt(passed, wall int64) time.Duration {
	return time.Duration(max(passed-p.fresh.Load(), wall-p.wall.Load()))
}

// measured records that the rules were up to date at a time.
func (p *Pulse) measured(at time.Time) {
	p.fresh.Store(p.since(at))
	p.wall.Store(at.UnixNano())
}
