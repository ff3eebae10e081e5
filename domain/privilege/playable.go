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
//   - It is older than the delay, which is zero for whoever may view live.
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
