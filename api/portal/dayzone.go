package portal

import (
	"sort"
	"strings"
	"time"
)

// dayZone is the zone by whose clocks a page shows a day: a place of the zone database, or
// an offset from UTC.
type dayZone struct {
	*time.Location
	query  string // as the page's address has it
	offset bool
}

// readZone reads a zone such as Europe/Berlin or +02:00; not ok if it is neither.
func readZone(text string) (z dayZone, ok bool) {
	if at, err := time.Parse("-07:00", text); err == nil {
		_, seconds := at.Zone()
		name := "UTC"
		if seconds != 0 {
			name += text
		}
		return dayZone{time.FixedZone(name, seconds), text, true}, true
	}
	if text == "" || text == "Local" || len(text) > 64 {
		return z, false
	}
	place, err := time.LoadLocation(text)
	return dayZone{place, text, false}, err == nil
}

// offsetAt is the zone's offset from UTC at an instant, such as +02:00.
func (z dayZone) offsetAt(t time.Time) string { return t.In(z.Location).Format("-07:00") }

// day returns the first instant of a day, given at midnight in UTC, and of the next: days
// have 23 or 25 hours, or begin at one o'clock, where clocks are changed.
func (z dayZone) day(date time.Time) (from, to time.Time) {
	return z.begin(date), z.begin(date.AddDate(0, 0, 1))
}

func (z dayZone) begin(date time.Time) time.Time {
	const farthest = 26 * time.Hour // no zone is farther from UTC
	first := date.Add(-farthest)
	n := sort.Search(int(2*farthest/time.Second), func(i int) bool {
		y, m, d := first.Add(time.Duration(i) * time.Second).In(z.Location).Date()
		return !time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Before(date)
	})
	return first.Add(time.Duration(n) * time.Second)
}

// offset is one of a zone's from an instant on, both in milliseconds.
type offset struct {
	From   int64 `json:"from"`
	Offset int64 `json:"offset"`
}

// offsets are those of a time, in their order: more than one if clocks are changed in it.
func (z dayZone) offsets(from, to time.Time) (list []offset) {
	for at := from; ; {
		_, seconds := at.In(z.Location).Zone()
		if n := len(list); n == 0 || list[n-1].Offset != int64(seconds)*1000 {
			list = append(list, offset{at.UnixMilli(), int64(seconds) * 1000})
		}
		_, end := at.In(z.Location).ZoneBounds()
		if end.IsZero() || !end.Before(to) {
			return list
		}
		at = end
	}
}

// clock is the time of day at an instant, with the offset on a day on which it changes.
func (z dayZone) clock(t time.Time, d recordedDay) string {
	layout := "15:04:05"
	if z.offsetAt(d.from) != z.offsetAt(d.to.Add(-time.Second)) {
		layout += " -07:00"
	}
	text := t.In(z.Location).Format(layout)
	if t.Equal(d.to) && strings.HasPrefix(text, "00:00:00") { // of the same day
		text = "24" + text[2:]
	}
	return text
}
