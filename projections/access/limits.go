package access

import (
	"sync"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// limits are the grants with conditions, by pair. A word with the timed bit says that the
// pair is here; what it allows is then decided here alone, so that a verdict is of one
// grant, never of parts of two. Readers lock, as such grants are few and permits ask
// seldom.
type limits struct {
	mu sync.RWMutex
	by map[pair]*limited
}

// limited is what an account may do on a device, under conditions. It is never changed.
type limited struct {
	channels   map[int]privilege.Set
	conditions *privilege.Clocked
}

func newLimits() *limits { return &limits{by: map[pair]*limited{}} }

func (l *limits) of(p pair) *limited {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.by[p]
}

// set stores what a pair may do; nil: there are no conditions.
func (l *limits) set(p pair, to *limited) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if to == nil {
		delete(l.by, p)
	} else {
		l.by[p] = to
	}
}

// Standing is a verdict, and how long it stands.
type Standing struct {
	Verdict Verdict
	// Timed is set if it depends on the clock: the grant has conditions. Then an
	// Allowed stands from the time of the check until Until, in ns since 1970, unless
	// the rules change. One that is not Allowed was ended, or is not begun, by the clock.
	Timed bool
	Until int64
}

// timed returns the verdict on a pair whose word has the timed bit. ok is false if the
// word is no longer as it was.
func (c *contents) timed(p pair, channel int, want privilege.Set, now time.Time) (s Standing, ok bool) {
	l := c.limits.of(p)
	if l == nil {
		return Standing{Verdict: Forbidden}, false
	}
	if !l.channels[channel].Has(want) {
		return Standing{Verdict: Forbidden}, true
	}
	holds, until := l.conditions.Hold(channel, want, now)
	if !holds {
		return Standing{Verdict: Forbidden, Timed: true}, true
	}
	return Standing{Verdict: Allowed, Timed: true, Until: until}, true
}

// PlaybackWindow returns the times of the recordings that an account may play back on a
// channel, from the first instant until the last. ok is false if it may not play back now.
// Without live view, the last instant is so far back as hold says.
func (x *Index) PlaybackWindow(account ids.Account, device ids.Device, channel int, now time.Time, hold time.Duration) (from, to time.Time, ok bool) {
	if x.Check(account, device, channel, privilege.Playback, now) != Allowed {
		return time.Time{}, time.Time{}, false
	}
	to = now
	if x.Check(account, device, channel, privilege.LiveView, now) != Allowed {
		to = now.Add(-hold)
	}
	r := x.lookUp(account, device)
	if l := r.in.limits.of(pairOf(r.account, r.device)); l != nil {
		from = l.conditions.Oldest(channel, now)
	}
	// Asked last: what was read may be of a grant that is gone.
	if x.Check(account, device, channel, privilege.Playback, now) != Allowed || !from.Before(to) {
		return time.Time{}, time.Time{}, false
	}
	return from, to, true
}
