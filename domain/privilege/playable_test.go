package privilege

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPlayable: what of the past may be seen, at noon of Monday, 2026-01-05 in UTC.
func TestPlayable(t *testing.T) {
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	valid := func(v Validity) Condition { return Condition{Privileges: All, Validity: v} }
	hours := func(zone string, spans ...Span) Condition {
		return valid(Validity{Hours: Hours{Zone: zone, Spans: spans}})
	}
	office := hours("UTC", span(weekday, at(8, 0), at(17, 0)))
	last := Interval{ago(10 * day), now}
	for _, c := range []struct {
		name       string
		conditions []Condition
		within     Interval
		delay      time.Duration
		want       Interval // zero: nothing
	}{
		{"no conditions", nil, last, 0, last},
		{"everything", nil, Interval{To: now}, 0, Interval{To: now}},
		{"the future is not recorded", nil, Interval{ago(time.Hour), now.Add(day)}, 0, Interval{ago(time.Hour), now}},
		{"the delay without live view", nil, last, 15 * time.Minute, Interval{last.From, ago(15 * time.Minute)}},
		{"what is in the delay", nil, Interval{ago(10 * time.Minute), now}, 15 * time.Minute, Interval{}},
		{"an earlier end", nil, Interval{ago(day), ago(time.Hour)}, 15 * time.Minute, Interval{ago(day), ago(time.Hour)}},
		{"upside down", nil, Interval{ago(time.Hour), ago(day)}, 0, Interval{}},
		{"the last days", []Condition{{Privileges: Playback, LastDays: 7}}, last, 0, Interval{ago(7 * day), now}},
		{"since the acceptance", []Condition{{Privileges: Playback, NotBefore: ago(day)}}, last, 0, Interval{ago(day), now}},
		{"the later of both", []Condition{{Privileges: Playback, NotBefore: ago(8 * day), LastDays: 7}}, last, 0, Interval{ago(7 * day), now}},
		{"since the acceptance, in the delay", []Condition{{Privileges: Playback, NotBefore: ago(time.Minute)}}, last, time.Hour, Interval{}},
		{"the validity begins", []Condition{valid(Validity{From: ago(2 * day)})}, last, 0, Interval{ago(2 * day), now}},
		{"the validity begins later", []Condition{valid(Validity{From: now.Add(day)})}, last, 0, Interval{}},
		{"the validity ended", []Condition{valid(Validity{Until: ago(day)})}, last, 0, Interval{last.From, ago(day)}},
		{"the narrowest of two", []Condition{valid(Validity{From: ago(3 * day)}), valid(Validity{From: ago(2 * day), Until: ago(day)})}, last, 0, Interval{ago(2 * day), ago(day)}},
		{"a limit of the channel", []Condition{{Channel: 1, Privileges: Playback, Validity: Validity{From: ago(day)}}}, last, 0, Interval{ago(day), now}},
		{"of another channel", []Condition{{Channel: 2, Privileges: Playback, Validity: Validity{From: ago(day)}}}, last, 0, last},
		{"of another privilege", []Condition{{Privileges: LiveView | PTZ, Validity: Validity{From: ago(day)}}}, last, 0, last},
		{"all of the past, with conditions", []Condition{{Privileges: PTZ, Validity: Validity{From: ago(day)}}}, Interval{To: now}, 0, Interval{To: now}},
		{"in the hours", []Condition{office}, Interval{ago(time.Hour), now}, 0, Interval{ago(time.Hour), now}},
		{"before the hours", []Condition{office}, Interval{ago(day), now}, 0, Interval{ago(4 * time.Hour), now}},
		{"the first of the hours", []Condition{office}, Interval{ago(4 * day), now}, 0, Interval{ago(4 * day), ago(3*day + 19*time.Hour)}},
		{"between the hours", []Condition{office}, Interval{ago(2 * day), ago(day)}, 0, Interval{}},
		{"hours of a zone", []Condition{hours("America/New_York", span(weekday, at(6, 0), at(17, 0)))}, Interval{ago(day), now}, 0, Interval{ago(time.Hour), now}},
		{"hours that are always", []Condition{hours("Europe/Berlin", span(always, 0, MaxClock))}, Interval{ago(300 * day), now}, 0, Interval{ago(300 * day), now}},
		{"hours of no zone", []Condition{hours("Mars/Olympus", span(always, 0, MaxClock))}, last, 0, Interval{}},
		{"hours that never meet", []Condition{office, hours("UTC", span(always, at(18, 0), at(19, 0)))}, Interval{ago(3000 * day), now}, 0, Interval{}},
		{"hours since long ago", []Condition{office}, Interval{To: now}, 0, Interval{time.Unix(8*60*60, 0), time.Unix(17*60*60, 0)}},
		{"hours and a begin", []Condition{office, valid(Validity{From: ago(3 * time.Hour)})}, last, time.Hour, Interval{ago(3 * time.Hour), ago(time.Hour)}},
	} {
		var ready *Clocked
		if c.conditions != nil {
			ready = Ready(c.conditions)
		}
		got, ok := ready.Playable(1, c.within, now, c.delay)
		if ok != !c.want.Empty() || ok && (!got.From.Equal(c.want.From) || !got.To.Equal(c.want.To)) {
			t.Errorf("%s: from %v to %v, %v; want %v to %v", c.name, got.From.UTC(), got.To.UTC(), ok, c.want.From.UTC(), c.want.To.UTC())
		}
	}
}

// TestPlayableIsWhatHeld: over all intervals, minute by minute, the recordings that may be
// played back are those of times at which the conditions held, and no others.
func TestPlayableIsWhatHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(1_735_689_600, 1_800_000_000).Draw(t, "now")/60*60, 0).UTC()
		list := []Condition{{Privileges: All, Validity: Validity{Hours: drawHours(t)}}}
		if rapid.Bool().Draw(t, "limited") {
			list = append(list, Condition{Privileges: Playback, LastDays: rapid.IntRange(1, 3).Draw(t, "days"),
				Validity: Validity{Until: now.Add(-time.Duration(rapid.IntRange(-100, 2000).Draw(t, "until")) * time.Minute)}})
		}
		if rapid.Bool().Draw(t, "two hours") {
			list = append(list, Condition{Privileges: Playback, Validity: Validity{Hours: drawHours(t)}})
		}
		c, delay := Ready(list), time.Duration(rapid.IntRange(0, 100).Draw(t, "delay"))*time.Minute
		within := Interval{now.Add(-4 * 24 * time.Hour), now.Add(time.Hour)}
		next, more := c.Playable(1, within, now, delay)
		for minute := within.From; minute.Before(within.To); minute = minute.Add(time.Minute) {
			for more && !minute.Before(next.To) {
				next, more = c.Playable(1, Interval{next.To, within.To}, now, delay)
			}
			got := more && !minute.Before(next.From)
			want := !minute.Before(c.Oldest(1, now)) && minute.Before(now.Add(-delay))
			for _, one := range list {
				want = want && (one.Until.IsZero() || minute.Before(one.Until)) && (one.Hours.IsZero() || byTheClock(one.Hours, minute))
			}
			if got != want {
				t.Fatalf("%v may be played back: %v, want %v (now %v, %+v)", minute, got, want, now, list)
			}
		}
	})
}

// TestDoubt: of a device's times, only those are found at which everything is allowed that
// the device may mean.
func TestDoubt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(1_735_689_600, 1_800_000_000).Draw(t, "now")/60*60, 0).UTC()
		c := Ready([]Condition{
			{Privileges: All, Validity: Validity{Hours: drawHours(t)}},
			{Privileges: Playback, LastDays: rapid.IntRange(1, 3).Draw(t, "days")},
		})
		delay := time.Duration(rapid.IntRange(0, 100).Draw(t, "delay")) * time.Minute
		rule := func(within Interval, now time.Time) (Interval, bool) { return c.Playable(1, within, now, delay) }
		doubt := DoubtOf(time.Duration(rapid.IntRange(-12*4, 14*4).Draw(t, "zone")) * 15 * time.Minute)
		within := Interval{now.Add(-2 * 24 * time.Hour), now.Add(24 * time.Hour)}
		next, more := doubt.Playable(within, now, rule)
		for at := within.From; at.Before(within.To); at = at.Add(5 * time.Minute) {
			for more && !at.Before(next.To) {
				next, more = doubt.Playable(Interval{next.To, within.To}, now, rule)
			}
			if !more || at.Before(next.From) {
				continue
			}
			for meant := at.Add(-doubt.Earlier); !meant.After(at.Add(doubt.Later)); meant = meant.Add(5 * time.Minute) {
				past := meant
				if !past.Before(now) {
					past = now.Add(-time.Millisecond)
				}
				if _, ok := rule(Interval{past, past.Add(time.Millisecond)}, now); !ok {
					t.Fatalf("%v may be played back, and may mean %v (now %v, %+v)", at, meant, now, doubt)
				}
			}
		}
	})
}
