package privilege

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // hours mean the same on every machine
)

// Forever is an instant that never comes, in nanoseconds since 1970.
const Forever = math.MaxInt64

// lastYear is the last one whose instants fit into nanoseconds since 1970.
const lastYear = 2261

// Nanos returns an instant in nanoseconds since 1970; Forever if it is later than that
// can express.
func Nanos(t time.Time) int64 {
	switch {
	case t.Year() > lastYear:
		return Forever
	case t.Year() < 1970:
		return 0
	}
	return t.UnixNano()
}

// Condition says when some privileges, on a channel or on all of them, hold.
type Condition struct {
	Channel    int `json:"channel,omitempty"` // 0: every channel
	Privileges Set `json:"privileges"`
	Validity
	LastDays  int       `json:"last_days,omitempty"` // of playback; 0: any number
	NotBefore time.Time `json:"not_before,omitzero"` // of what is played back
}

// Conditions returns what terms, of the share and of the device, and the limits of grants
// amount to. accepted is when the device was accepted.
func Conditions(share, device Terms, accepted time.Time, grants []Grant) []Condition {
	var list []Condition
	for _, t := range []Terms{share, device} {
		if !t.Validity.IsZero() {
			list = append(list, Condition{Privileges: All, Validity: t.Validity})
		}
		if t.Playback != (PlaybackLimit{}) {
			c := Condition{Privileges: Playback, LastDays: t.Playback.LastDays}
			if t.Playback.SinceAcceptance {
				c.NotBefore = accepted
			}
			list = append(list, c)
		}
	}
	for _, g := range grants {
		for _, l := range g.Limits {
			list = append(list, Condition{Channel: g.Channel, Privileges: l.Privileges, Validity: l.Validity})
		}
	}
	return list
}

// Concern reports whether one of the conditions concerns a channel.
func Concern(list []Condition, channel int) bool {
	return slices.ContainsFunc(list, func(c Condition) bool { return c.Channel == 0 || c.Channel == channel })
}

// Clocked are conditions that are ready to be checked. It is never changed.
type Clocked struct {
	list []clocked
}

type clocked struct {
	Condition
	from, until int64 // nanoseconds since 1970
	hours       *week // nil: always
}

// Ready prepares conditions. Hours that cannot be understood never hold.
func Ready(list []Condition) *Clocked {
	c := &Clocked{list: make([]clocked, len(list))}
	for i, one := range list {
		c.list[i] = clocked{Condition: one, until: Forever}
		if !one.From.IsZero() {
			c.list[i].from = Nanos(one.From)
		}
		if !one.Until.IsZero() {
			c.list[i].until = Nanos(one.Until)
		}
		if !one.Hours.IsZero() {
			c.list[i].hours = one.Hours.week()
		}
	}
	return c
}

// Hold reports whether all of the privileges hold on the channel at a time, and until
// when, in nanoseconds since 1970, that stays so; the time of a change at the latest.
func (c *Clocked) Hold(channel int, p Set, now time.Time) (holds bool, until int64) {
	holds, until = true, Forever
	at := now.UnixNano()
	for i := range c.list {
		one := &c.list[i]
		if one.Channel != 0 && one.Channel != channel || one.Privileges&p == None {
			continue
		}
		does, changes := one.hold(at, now)
		holds = holds && does
		until = min(until, changes)
	}
	return holds, until
}

func (c *clocked) hold(at int64, now time.Time) (holds bool, until int64) {
	switch {
	case at >= c.until:
		return false, Forever
	case at < c.from:
		return false, c.from
	case c.hours == nil:
		return true, c.until
	}
	holds, until = c.hours.hold(now)
	return holds, min(until, c.until)
}

// Oldest returns the time before which nothing may be played back on the channel, the
// zero time if there is none: the first instant of a validity, the first of the last days,
// or the acceptance. Of what is later, Playable says what may be.
func (c *Clocked) Oldest(channel int, now time.Time) (oldest time.Time) {
	for _, one := range c.list {
		if one.Channel != 0 && one.Channel != channel || !one.Privileges.Has(Playback) {
			continue
		}
		if one.LastDays > 0 {
			if t := now.AddDate(0, 0, -one.LastDays); t.After(oldest) {
				oldest = t
			}
		}
		for _, t := range []time.Time{one.NotBefore, one.From} {
			if t.After(oldest) {
				oldest = t
			}
		}
	}
	return oldest
}

// HoldsAt reports whether the validity holds at a time.
func (v Validity) HoldsAt(now time.Time) bool {
	holds, _ := v.Holding(now)
	return holds
}

// Holding reports whether the validity holds at a time, and until when, in nanoseconds
// since 1970, that stays so; the time of a change at the latest.
func (v Validity) Holding(now time.Time) (holds bool, until int64) {
	if v.IsZero() {
		return true, Forever
	}
	return Ready([]Condition{{Privileges: All, Validity: v}}).Hold(1, All, now)
}

const (
	daySeconds  = 24 * 60 * 60
	weekSeconds = 7 * daySeconds
	// mondayOffset is from the Monday before 1970 to 1970, a Thursday.
	mondayOffset = 3 * daySeconds
)

// week is the spans of a week by a zone's clocks, in seconds since Monday 00:00, in order
// and apart from each other. Without a zone it never holds.
type week struct {
	zone  *time.Location
	spans [][2]int64
}

func (h Hours) week() *week {
	zone, err := zoneOf(h.Zone)
	if err != nil {
		return &week{}
	}
	w := &week{zone: zone}
	for _, s := range h.Spans {
		for day := range len(dayNames) {
			if s.Days.Has(day) {
				w.add(int64(day)*daySeconds+int64(s.Start)*60, s.length())
			}
		}
	}
	slices.SortFunc(w.spans, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	apart := w.spans[:0]
	for _, s := range w.spans {
		if n := len(apart); n > 0 && s[0] <= apart[n-1][1] {
			apart[n-1][1] = max(apart[n-1][1], s[1])
			continue
		}
		apart = append(apart, s)
	}
	w.spans = apart
	return w
}

// length is how long the span is by the clocks, in seconds.
func (s Span) length() int64 {
	n := int64(s.End-s.Start) * 60
	if n <= 0 {
		n += daySeconds
	}
	return n
}

// add adds a span, in two parts if it goes on in the next week.
func (w *week) add(start, length int64) {
	end := start + length
	w.spans = append(w.spans, [2]int64{start, min(end, weekSeconds)})
	if end > weekSeconds {
		w.spans = append(w.spans, [2]int64{0, end - weekSeconds})
	}
}

// hold reports whether a time is in one of the spans, and until when that stays so: to
// the next start or end, or until the clocks are changed.
func (w *week) hold(now time.Time) (holds bool, until int64) {
	if w.zone == nil {
		return false, Forever
	}
	local := now.In(w.zone)
	_, offset := local.Zone()
	seconds := now.Unix()
	at := mod(seconds+int64(offset)+mondayOffset, weekSeconds)
	change := weekSeconds - at // the week ends, and the first span may begin
	for _, s := range w.spans {
		switch {
		case at < s[0]:
			change = min(change, s[0]-at)
		case at < s[1]:
			holds, change = true, min(change, s[1]-at)
		}
	}
	until = Nanos(time.Unix(seconds+change, 0))
	if _, end := local.ZoneBounds(); !end.IsZero() {
		until = min(until, Nanos(end))
	}
	return holds, until
}

func mod(a, n int64) int64 { return (a%n + n) % n }

var errNoZone = errors.New("not a time zone")

// zones are those that were loaded; there are a few hundred names.
var zones sync.Map

// Zone returns the time zone of an IANA name, such as Europe/Berlin.
func Zone(name string) (*time.Location, error) { return zoneOf(name) }

// zoneOf returns the time zone of a name. The zone of the machine is none.
func zoneOf(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, errNoZone
	}
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location), nil
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	zones.Store(name, z)
	return z, nil
}
