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
// channel, from the first instant until the last; between the two, weekly hours may leave
// some out (see Playable). ok is false if it may not play back now. Without live view, the
// last instant is so far back as hold says.
func (x *Index) PlaybackWindow(account ids.Account, device ids.Device, channel int, now time.Time, hold time.Duration) (from, to time.Time, ok bool) {
	x.whatPlays(account, device, channel, now, hold, func(c *privilege.Clocked, delay time.Duration) {
		if to = now.Add(-delay); c != nil {
			from = c.Oldest(channel, now)
		}
		ok = from.Before(to)
	})
	if !ok {
		return time.Time{}, time.Time{}, false
	}
	return from, to, true
}

// Playable returns the first interval of the recordings within an interval that an account
// may play back on a channel now, by privilege.Clocked.Playable; ok is false if there is
// none. Without live view, hold is how old a recording must be. A playback
// that lasts holds a permit too, and asks again: the interval moves.
func (x *Index) Playable(account ids.Account, device ids.Device, channel int, within privilege.Interval, now time.Time, hold time.Duration) (first privilege.Interval, ok bool) {
	x.whatPlays(account, device, channel, now, hold, func(c *privilege.Clocked, delay time.Duration) {
		first, ok = c.Playable(channel, within, now, delay)
	})
	return first, ok
}

// whatPlays calls a function with the conditions on what an account plays back now, and
// the delay, both of the same moment; not at all if it may not play back. The function
// is given what it decides by only if that was in force throughout.
func (x *Index) whatPlays(account ids.Account, device ids.Device, channel int, now time.Time, hold time.Duration, decide func(*privilege.Clocked, time.Duration)) {
	for range 100 { // events come slower than that
		version := x.pulse.version.Load()
		if x.Check(account, device, channel, privilege.Playback, now) != Allowed {
			return
		}
		delay := hold
		if x.Check(account, device, channel, privilege.LiveView, now) == Allowed {
			delay = 0
		}
		var conditions *privilege.Clocked
		r := x.lookUp(account, device)
		if l := r.in.limits.of(pairOf(r.account, r.device)); l != nil {
			conditions = l.conditions
		}
		// Asked last: what was read may be of a grant that is gone, and of one that came
		// in its place.
		if x.Check(account, device, channel, privilege.Playback, now) == Allowed && x.pulse.version.Load() == version {
			decide(conditions, delay)
			return
		}
	}
}
