package privilege

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func span(days Days, start, end Clock) Span { return Span{Days: days, Start: start, End: end} }

func at(hour, minute int) Clock { return Clock(hour*60 + minute) }

const (
	sunday  Days = 1 << 6
	weekday Days = 31
	always  Days = 127
)

// TestHours: what a span means where clocks are changed, and elsewhere. Times are by the
// clocks of UTC.
func TestHours(t *testing.T) {
	for _, c := range []struct {
		name, zone string
		span       Span
		holds      map[string]bool
	}{
		{"office hours", "Europe/Berlin", span(weekday, at(8, 0), at(17, 30)), map[string]bool{
			"2026-01-05T06:59:59Z": false, "2026-01-05T07:00:00Z": true, "2026-01-05T16:29:59Z": true, "2026-01-05T16:30:00Z": false,
			"2026-01-04T10:00:00Z": false, "2026-07-06T06:00:00Z": true, "2026-07-06T05:59:59Z": false,
		}},
		{"across midnight, and the week's end", "Europe/Berlin", span(sunday, at(22, 0), at(2, 0)), map[string]bool{
			"2026-01-04T20:59:59Z": false, "2026-01-04T21:00:00Z": true, "2026-01-05T00:59:59Z": true, "2026-01-05T01:00:00Z": false,
			"2026-01-03T23:30:00Z": false, "2026-01-05T22:00:00Z": false,
		}},
		{"a whole day", "Asia/Kolkata", span(sunday, 0, MaxClock), map[string]bool{
			"2026-01-03T18:29:59Z": false, "2026-01-03T18:30:00Z": true, "2026-01-04T18:29:59Z": true, "2026-01-04T18:30:00Z": false,
		}},
		{"a start that is skipped", "Europe/Berlin", span(always, at(2, 30), at(4, 0)), map[string]bool{ // 02:00 -> 03:00
			"2026-03-29T00:59:59Z": false, "2026-03-29T01:00:00Z": true, "2026-03-29T01:59:59Z": true, "2026-03-29T02:00:00Z": false,
			"2026-03-28T01:29:59Z": false, "2026-03-28T01:30:00Z": true,
		}},
		{"an hour that is skipped", "America/New_York", span(always, at(2, 0), at(3, 0)), map[string]bool{ // 02:00 -> 03:00
			"2026-03-08T06:59:59Z": false, "2026-03-08T07:00:00Z": false, "2026-03-08T07:30:00Z": false, "2026-03-09T06:00:00Z": true,
		}},
		{"an hour that comes twice", "America/New_York", span(always, at(1, 0), at(2, 0)), map[string]bool{ // 02:00 -> 01:00
			"2026-11-01T04:59:59Z": false, "2026-11-01T05:00:00Z": true, "2026-11-01T05:59:59Z": true,
			"2026-11-01T06:00:00Z": true, "2026-11-01T06:59:59Z": true, "2026-11-01T07:00:00Z": false,
		}},
		{"half an hour that comes twice", "Australia/Lord_Howe", span(always, at(1, 0), at(1, 45)), map[string]bool{ // 02:00 -> 01:30
			"2026-04-04T13:59:59Z": false, "2026-04-04T14:00:00Z": true, "2026-04-04T14:44:59Z": true, "2026-04-04T14:45:00Z": false,
			"2026-04-04T14:59:59Z": false, "2026-04-04T15:00:00Z": true, "2026-04-04T15:14:59Z": true, "2026-04-04T15:15:00Z": false,
		}},
		{"half an hour that is skipped", "Australia/Lord_Howe", span(always, at(2, 15), at(3, 0)), map[string]bool{ // 02:00 -> 02:30
			"2026-10-03T15:29:59Z": false, "2026-10-03T15:30:00Z": true, "2026-10-03T15:59:59Z": true, "2026-10-03T16:00:00Z": false,
		}},
	} {
		w := Hours{Zone: c.zone, Spans: []Span{c.span}}.week()
		for when, want := range c.holds {
			now, err := time.Parse(time.RFC3339, when)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := w.hold(now); got != want {
				t.Errorf("%s: %s holds %v, want %v", c.name, when, got, want)
			}
		}
	}
}

// TestLengthOfDays: a whole day is as long as the clocks make it.
func TestLengthOfDays(t *testing.T) {
	for _, c := range []struct {
		zone, day string
		want      time.Duration
	}{
		{"Europe/Berlin", "2026-03-29", 23 * time.Hour}, {"Europe/Berlin", "2026-10-25", 25 * time.Hour}, {"Europe/Berlin", "2026-06-07", 24 * time.Hour},
		{"America/New_York", "2026-03-08", 23 * time.Hour}, {"America/New_York", "2026-11-01", 25 * time.Hour},
		{"Australia/Lord_Howe", "2026-04-05", 24*time.Hour + 30*time.Minute}, {"Australia/Lord_Howe", "2026-10-04", 23*time.Hour + 30*time.Minute},
		{"Asia/Kolkata", "2026-03-29", 24 * time.Hour},
	} {
		w := Hours{Zone: c.zone, Spans: []Span{span(sunday, 0, MaxClock)}}.week()
		now, err := time.Parse("2006-01-02", c.day)
		if err != nil {
			t.Fatal(err)
		}
		var held time.Duration
		end := now.Add(48 * time.Hour)
		for now = now.Add(-24 * time.Hour); now.Before(end); {
			holds, until := w.hold(now)
			next := time.Unix(0, until)
			if !next.After(now) {
				t.Fatalf("%s: what holds at %v changes at %v", c.zone, now, next)
			}
			if holds {
				held += next.Sub(now)
			}
			now = next
		}
		if held != c.want {
			t.Errorf("%s on %s: %v, want %v", c.zone, c.day, held, c.want)
		}
	}
}

// byTheClock is what hours mean, said in another way: look at the clock.
func byTheClock(h Hours, now time.Time) bool {
	zone, err := time.LoadLocation(h.Zone)
	if err != nil {
		return false
	}
	local := now.In(zone)
	today := (int(local.Weekday()) + 6) % 7
	minute := Clock(local.Hour()*60 + local.Minute())
	for _, s := range h.Spans {
		switch across := s.End <= s.Start; {
		case s.Days.Has(today) && minute >= s.Start && (across || minute < s.End),
			across && s.Days.Has((today+6)%7) && minute < s.End:
			return true
		}
	}
	return false
}

func drawHours(t *rapid.T) Hours {
	h := Hours{Zone: rapid.SampledFrom([]string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "UTC"}).Draw(t, "zone")}
	for range rapid.IntRange(1, 5).Draw(t, "spans") {
		s := span(Days(rapid.IntRange(1, 127).Draw(t, "days")), Clock(rapid.IntRange(0, 1439).Draw(t, "start")), Clock(rapid.IntRange(0, 1440).Draw(t, "end")))
		if s.Start == s.End {
			s.End = MaxClock
		}
		h.Spans = append(h.Spans, s)
	}
	return h
}

// TestHoursEqualTheClock: at any time the spans hold as a look at the clock says, and
// nothing changes before the time that is named.
func TestHoursEqualTheClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHours(t)
		w := h.week()
		now := time.Unix(rapid.Int64Range(1_735_689_600, 1_800_000_000).Draw(t, "now"), 0) // 2025 to 2027
		for range 20 {
			holds, until := w.hold(now)
			if want := byTheClock(h, now); holds != want {
				t.Fatalf("%+v at %v: %v, want %v", h, now, holds, want)
			}
			end := time.Unix(0, until)
			if !end.After(now) {
				t.Fatalf("%+v at %v changes at %v", h, now, end)
			}
			within := now.Add(time.Duration(rapid.Int64Range(0, int64(end.Sub(now))-1).Draw(t, "within")))
			if byTheClock(h, within) != holds || byTheClock(h, end.Add(-1)) != holds {
				t.Fatalf("%+v: what holds at %v changes before %v", h, now, end)
			}
			now = end
		}
	})
}

func TestConditions(t *testing.T) {
	noon := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC) // a Monday
	untilOne, fromTwo := Validity{Until: noon.Add(time.Hour)}, Validity{From: noon.Add(2 * time.Hour)}
	list := Conditions(Terms{Validity: untilOne}, Terms{Playback: PlaybackLimit{LastDays: 7, SinceAcceptance: true}}, noon.AddDate(0, 0, -2),
		[]Grant{{Channel: 1, Privileges: All}, {Channel: 2, Privileges: All, Limits: []Limit{{PTZ | Alarm, fromTwo}}}})
	c := Ready(list)
	for _, want := range []struct {
		channel int
		p       Set
		at      time.Time
		holds   bool
		until   int64
	}{
		{1, LiveView, noon, true, noon.Add(time.Hour).UnixNano()},
		{1, LiveView, noon.Add(time.Hour - 1), true, noon.Add(time.Hour).UnixNano()},
		{1, LiveView, noon.Add(time.Hour), false, Forever},
		{2, PTZ, noon, false, noon.Add(time.Hour).UnixNano()},
		{2, LiveView | PTZ, noon, false, noon.Add(time.Hour).UnixNano()},
		{2, LiveView, noon, true, noon.Add(time.Hour).UnixNano()},
		{2, PTZ, noon.Add(3 * time.Hour), false, Forever},
	} {
		if holds, until := c.Hold(want.channel, want.p, want.at); holds != want.holds || until != want.until {
			t.Errorf("%+v: %v until %v", want, holds, time.Unix(0, until).UTC())
		}
	}
	if got := c.Oldest(1, noon); !got.Equal(noon.AddDate(0, 0, -2)) {
		t.Errorf("the oldest recording is of %v", got)
	}
	if got := c.Oldest(1, noon.AddDate(0, 0, 10)); !got.Equal(noon.AddDate(0, 0, 3)) {
		t.Errorf("the oldest recording is of %v", got)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var back []Condition
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(back, list) {
		t.Errorf("%s is read as %+v, %v", raw, back, err)
	}
	if holds, _ := Ready([]Condition{{Privileges: All, Validity: Validity{Hours: Hours{Zone: "Mars/Olympus", Spans: []Span{span(always, 0, MaxClock)}}}}}).Hold(1, LiveView, noon); holds {
		t.Error("hours of no zone hold")
	}
}

func TestWhatIsWrongWithTerms(t *testing.T) {
	noon := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	hours := func(zone string, spans ...Span) Terms {
		return Terms{Validity: Validity{Hours: Hours{Zone: zone, Spans: spans}}}
	}
	day := span(always, 0, MaxClock)
	var many []Span
	for range MaxSpans + 1 {
		many = append(many, day)
	}
	for _, c := range []struct {
		terms Terms
		field string
		err   error
	}{
		{Terms{}, "", nil},
		{Terms{Validity: Validity{Until: noon.Add(1)}}, "", nil},
		{Terms{Validity: Validity{Until: noon}}, "until", ErrPast},
		{Terms{Validity: Validity{From: noon.Add(2), Until: noon.Add(2)}}, "until", ErrBackwards},
		{hours("Europe/Berlin", many[1:]...), "", nil},
		{hours("Europe/Berlin", many...), "hours.spans", ErrTooManySpans},
		{hours("Europe/Berlin"), "hours.spans", ErrNoSpans},
		{hours("Local", day), "hours.zone", ErrBadZone},
		{hours("", day), "hours.zone", ErrBadZone},
		{hours("../etc/passwd", day), "hours.zone", ErrBadZone},
		{hours("UTC", day, span(0, 0, 1)), "hours.spans[1].days", ErrNoDays},
		{hours("UTC", span(always, 5, 5)), "hours.spans[0].end", ErrEmptySpan},
		{Terms{Playback: PlaybackLimit{LastDays: -1}}, "playback.last_days", ErrBadDays},
		{Terms{Playback: PlaybackLimit{LastDays: MaxLastDays + 1}}, "playback.last_days", ErrBadDays},
	} {
		f := c.terms.Check(Terms{}, noon)
		if (f == nil) != (c.err == nil) || f != nil && (f.Field != c.field || !errors.Is(f, c.err)) {
			t.Errorf("%+v: %v; want %s %v", c.terms, f, c.field, c.err)
		}
	}
	grant := Grant{Channel: 1, Privileges: LiveView, Limits: []Limit{{LiveView, Validity{From: noon}}}}
	if f := grant.CheckLimits(nil, noon); f != nil {
		t.Error(f)
	}
	for field, limit := range map[string]Limit{
		"limits[1].privileges": {PTZ, Validity{From: noon}}, "limits[1]": {LiveView, Validity{}}, "limits[1].until": {LiveView, Validity{Until: noon}},
	} {
		grant := grant
		grant.Limits = append(grant.Limits[:1:1], limit)
		if f := grant.CheckLimits(nil, noon); f == nil || f.Field != field {
			t.Errorf("%v; want %s", f, field)
		}
	}
}

// FuzzValidity: whatever is read is written and read again, the same, and never panics.
func FuzzValidity(f *testing.F) {
	f.Add([]byte(`{"from":"2026-01-02T03:04:05Z","hours":{"zone":"Europe/Berlin","spans":[{"days":["mon","sun"],"start":"22:00","end":"24:00"}]}}`))
	f.Add([]byte(`{"until":"2026-01-02T03:04:05+14:00","hours":{"zone":"","spans":[]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v, again Validity
		if json.Unmarshal(data, &v) != nil {
			return
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return // a year that has no form
		}
		if err := json.Unmarshal(raw, &again); err != nil || !again.Equal(v) {
			t.Fatalf("%s became %s, %v", data, raw, err)
		}
		if fault := v.Check(Validity{}, time.Unix(0, 0)); fault == nil {
			v.HoldsAt(time.Unix(1_800_000_000, 0))
		}
		_ = fmt.Sprint(v)
	})
}

// TestTermsAnd: both terms hold at once exactly if the combined ones do; where that cannot
// be said, it is said.
func TestTermsAnd(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	night := Hours{Zone: "Europe/Berlin", Spans: []Span{span(127, at(22, 0), at(6, 0))}}
	day := Hours{Zone: "Europe/Berlin", Spans: []Span{span(127, at(6, 0), at(22, 0))}}
	terms := func(from, until int, h Hours, days int, since bool) (t Terms) {
		if from != 0 {
			t.From = noon.Add(time.Duration(from) * time.Hour)
		}
		if until != 0 {
			t.Until = noon.Add(time.Duration(until) * time.Hour)
		}
		t.Hours, t.Playback = h, PlaybackLimit{LastDays: days, SinceAcceptance: since}
		return t
	}
	for name, sc := range map[string]struct {
		a, b, want Terms
		ok         bool
	}{
		"none":           {Terms{}, Terms{}, Terms{}, true},
		"one":            {terms(1, 2, night, 3, true), Terms{}, terms(1, 2, night, 3, true), true},
		"the stricter":   {terms(1, 9, Hours{}, 7, false), terms(2, 5, night, 3, false), terms(2, 5, night, 3, false), true},
		"some of each":   {terms(3, 4, Hours{}, 0, true), terms(1, 9, Hours{}, 2, false), terms(3, 4, Hours{}, 2, true), true},
		"the same hours": {terms(0, 0, night, 0, false), terms(0, 0, night, 0, false), terms(0, 0, night, 0, false), true},
		"other hours":    {terms(0, 0, night, 0, false), terms(0, 5, day, 0, false), terms(0, 5, night, 0, false), false},
	} {
		if got, ok := sc.a.And(sc.b); ok != sc.ok || !got.Equal(sc.want) {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
		if got, ok := sc.b.And(sc.a); ok != sc.ok || ok && !got.Equal(sc.want) {
			t.Errorf("%s, the other way around: %+v, %v", name, got, ok)
		}
	}
}
