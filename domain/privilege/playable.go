package privilege

import "time"

// Interval is a time from an instant until before another one. A zero From is as far back
// as there is anything.
type Interval struct{ From, To time.Time }

// Empty reports whether no time is in the interval.
func (i Interval) Empty() bool { return !i.From.Before(i.To) }

// Within returns what of the interval is in another one; it may be empty.
func (i Interval) Within(o Interval) Interval {
	if o.From.After(i.From) {
		i.From = o.From
	}
	if o.To.Before(i.To) {
		i.To = o.To
	}
	return i
}

// patternRepeats is longer than the pattern of weekly hours: if it holds nowhere in that
// time, it is taken to hold nowhere.
const patternRepeats = 8 * 24 * time.Hour

// Playable returns the first interval of recordings within an interval that conditions let
// be played back on a channel; ok is false if there is none. It is the one rule for lists
// of recordings and for what is played:
//
//   - A recording shows only times at which the conditions on playback held: it begins and
//     ends with the validity of the share, of the device and of each limit, and is in all
//     of their weekly hours.
//   - It is not older than the last days and the acceptance that playback is limited to.
//   - It is older than the delay, which is zero for those who may view live.
//
// Whether anything may be played back now is another question: a permit's. What is
// allowed moves with now, so a use that lasts asks again. More than one interval is
// found by asking again from the end of the last one. c may be nil: no conditions.
func (c *Clocked) Playable(channel int, within Interval, now time.Time, delay time.Duration) (first Interval, ok bool) {
	to := now.Add(-max(delay, 0))
	if within.To.Before(to) {
		to = within.To
	}
	if c == nil {
		first = Interval{within.From, to}
		return first, !first.Empty()
	}
	from := within.From
	if oldest := c.Oldest(channel, now); oldest.After(from) {
		from = oldest
	}
	at := from
	if epoch := time.Unix(0, 0); at.Before(epoch) { // conditions begin later
		at = epoch
	}
	if !at.Before(to) {
		return Interval{}, false
	}
	holds, until := c.Hold(channel, Playback, at)
	for limit := at.Add(patternRepeats); !holds; holds, until = c.Hold(channel, Playback, at) {
		if until == Forever || !at.Before(limit) {
			return Interval{}, false
		}
		at = time.Unix(0, until)
		from = at
	}
	end := to
	for holds && until != Forever && time.Unix(0, until).Before(to) {
		end = time.Unix(0, until)
		if holds, until = c.Hold(channel, Playback, end); holds {
			end = to
		}
	}
	first = Interval{from, end}
	return first, !first.Empty()
}

// Rule returns the first interval within another one that may be played back now, as
// Clocked.Playable does.
type Rule func(within Interval, now time.Time) (first Interval, ok bool)

// Doubt is by how much a recording may be earlier than a device says, and later, if it is
// not certain what the device means by its times.
type Doubt struct{ Earlier, Later time.Duration }

// DoubtOf returns the doubt about a device of which it is not known whether its times are
// UTC or local. zone is the offset of its local time now; 0: there is no doubt. Where
// clocks are changed in summer, the offset of what is recorded may be another hour.
func DoubtOf(zone time.Duration) Doubt {
	if zone == 0 {
		return Doubt{}
	}
	return Doubt{Earlier: max(0, zone+time.Hour), Later: max(0, time.Hour-zone)}
}

// Playable applies a rule to times as a device says them: it returns the first interval in
// which the rule allows everything that the device may mean. What is recorded is past,
// whatever the device says. It is the one reading for lists of recordings and for what is
// played.
func (d Doubt) Playable(within Interval, now time.Time, rule Rule) (first Interval, ok bool) {
	wide := Interval{within.From.Add(-d.Earlier), within.To.Add(d.Later)}
	for limit := (time.Time{}); !within.Empty() && !wide.Empty(); {
		allowed, ok := rule(wide, now)
		switch {
		case !ok || !limit.IsZero() && allowed.From.After(limit):
			return Interval{}, false
		case limit.IsZero():
			limit = allowed.From.Add(patternRepeats)
		}
		if !allowed.To.Before(now) {
			allowed.To = wide.To
		}
		if first = (Interval{allowed.From.Add(d.Earlier), allowed.To.Add(-d.Later)}).Within(within); !first.Empty() {
			return first, true
		}
		wide.From = allowed.To
	}
	return Interval{}, false
}
