package privilege

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validity is when grants hold: from a time, until a time, and in certain hours of the
// week. All that are given must hold. The zero value is always.
type Validity struct {
	From  time.Time `json:"from,omitzero"`  // the first instant
	Until time.Time `json:"until,omitzero"` // the first instant after it
	Hours Hours     `json:"hours,omitzero"`
}

// Hours are spans of the week, by the clocks of a time zone. Without spans it is always.
type Hours struct {
	Zone  string `json:"zone"` // an IANA name, such as Europe/Berlin
	Spans []Span `json:"spans"`
}

// Span is a time of day on some days of the week. It is the time that clocks show: where
// they skip its start, it begins after the jump, and an hour that they show twice is in it
// twice.
type Span struct {
	Days  Days  `json:"days"` // on which it starts
	Start Clock `json:"start"`
	End   Clock `json:"end"` // the first minute after it; on the next day unless it is after Start
}

// Limit restricts some of the privileges of a grant.
type Limit struct {
	Privileges Set `json:"privileges"`
	Validity
}

// PlaybackLimit restricts playback to recordings that are not older than some days, or than
// the acceptance. The zero value is all recordings.
type PlaybackLimit struct {
	LastDays        int  `json:"last_days,omitempty"` // 0: any number
	SinceAcceptance bool `json:"since_acceptance,omitempty"`
}

// Terms are the conditions of a share, or of a device in it.
type Terms struct {
	Validity
	Playback PlaybackLimit `json:"playback,omitzero"`
}

// Bounds of terms.
const (
	MaxSpans    = 50       // of the hours of one validity
	MaxLimits   = 8        // of one grant
	MaxLastDays = 10 * 365 // of playback
)

// Days is a set of days of the week. The bit of each day is not stored.
type Days uint8

var dayNames = [...]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// Has reports whether a day is in the set, counted from Monday, 0.
func (d Days) Has(day int) bool { return d&(1<<day) != 0 }

// String returns the names with commas.
func (d Days) String() string {
	var list []string
	for i, n := range dayNames {
		if d.Has(i) {
			list = append(list, n)
		}
	}
	return strings.Join(list, ",")
}

// MarshalJSON writes the list of names.
func (d Days) MarshalJSON() ([]byte, error) {
	list := []string{}
	for i, n := range dayNames {
		if d.Has(i) {
			list = append(list, n)
		}
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads a list of names, each given once.
func (d *Days) UnmarshalJSON(data []byte) error {
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("reading days: %w", err)
	}
	*d = 0
	for _, name := range list {
		i := slices.Index(dayNames[:], name)
		if i < 0 || d.Has(i) {
			return fmt.Errorf("%q is not a day, or is given twice", name)
		}
		*d |= 1 << i
	}
	return nil
}

// Clock is a time of day in minutes, from 0 to MaxClock.
type Clock int

// MaxClock is the end of a day, 24:00.
const MaxClock Clock = 24 * 60

// String is the time as HH:MM.
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", c/60, c%60) }

// MarshalText writes the time as HH:MM.
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads HH:MM, at most 24:00.
func (c *Clock) UnmarshalText(text []byte) error {
	hour, minute, ok := strings.Cut(string(text), ":")
	h, err1 := strconv.ParseUint(hour, 10, 8)
	m, err2 := strconv.ParseUint(minute, 10, 8)
	read := Clock(h*60 + m)
	if !ok || err1 != nil || err2 != nil || m > 59 || read > MaxClock || read.String() != string(text) {
		return fmt.Errorf("%q is not a time of day such as 08:30", text)
	}
	*c = read
	return nil
}

// IsZero reports whether the hours are no restriction.
func (h Hours) IsZero() bool { return h.Zone == "" && len(h.Spans) == 0 }

// IsZero reports whether the validity is always.
func (v Validity) IsZero() bool { return v.From.IsZero() && v.Until.IsZero() && v.Hours.IsZero() }

// IsZero reports whether the terms are no restriction.
func (t Terms) IsZero() bool { return t.Validity.IsZero() && t.Playback == PlaybackLimit{} }

// Equal reports whether two validities are the same.
func (v Validity) Equal(w Validity) bool {
	return v.From.Equal(w.From) && v.Until.Equal(w.Until) && v.Hours.Zone == w.Hours.Zone && slices.Equal(v.Hours.Spans, w.Hours.Spans)
}

// Equal reports whether two terms are the same.
func (t Terms) Equal(u Terms) bool { return t.Validity.Equal(u.Validity) && t.Playback == u.Playback }

// Equal reports whether two limits are the same.
func (l Limit) Equal(m Limit) bool {
	return l.Privileges == m.Privileges && l.Validity.Equal(m.Validity)
}

// Equal reports whether two grants are the same.
func (g Grant) Equal(h Grant) bool {
	return g.Channel == h.Channel && g.Privileges == h.Privileges && slices.EqualFunc(g.Limits, h.Limits, Limit.Equal)
}

// UTC returns the validity with its times in UTC.
func (v Validity) UTC() Validity {
	v.From, v.Until = v.From.UTC(), v.Until.UTC()
	return v
}

// UTC returns the terms with their times in UTC.
func (t Terms) UTC() Terms {
	t.Validity = t.Validity.UTC()
	return t
}

// And returns the terms that hold when both do. ok is false if that cannot be said: both
// have hours, and not the same ones; the hours are then those of t.
func (t Terms) And(u Terms) (both Terms, ok bool) {
	both = t
	if u.From.After(both.From) {
		both.From = u.From
	}
	if !u.Until.IsZero() && (both.Until.IsZero() || u.Until.Before(both.Until)) {
		both.Until = u.Until
	}
	ok = true
	switch {
	case both.Hours.IsZero():
		both.Hours = u.Hours
	case !u.Hours.IsZero():
		ok = u.Hours.Zone == t.Hours.Zone && slices.Equal(u.Hours.Spans, t.Hours.Spans)
	}
	if n := u.Playback.LastDays; n != 0 && (both.Playback.LastDays == 0 || n < both.Playback.LastDays) {
		both.Playback.LastDays = n
	}
	both.Playback.SinceAcceptance = both.Playback.SinceAcceptance || u.Playback.SinceAcceptance
	return both, ok
}

// Fault is what is wrong with terms or limits.
type Fault struct {
	Field string // path of names and indexes, such as hours.spans[2].end
	Err   error
}

// Error returns the path and what is wrong with it.
func (f *Fault) Error() string { return f.Field + " " + f.Err.Error() }

// Unwrap returns what is wrong.
func (f *Fault) Unwrap() error { return f.Err }

// What may be wrong with terms or limits. The subject is the field.
var (
	ErrPast         = errors.New("must be in the future")
	ErrBackwards    = errors.New("must be after from")
	ErrBadZone      = errors.New("is not a time zone such as Europe/Berlin")
	ErrNoSpans      = errors.New("has no spans")
	ErrTooManySpans = errors.New("has more than " + strconv.Itoa(MaxSpans) + " spans")
	ErrNoDays       = errors.New("names no day")
	ErrEmptySpan    = errors.New("must not be the same as start")
	ErrBadDays      = errors.New("must be from 1 to " + strconv.Itoa(MaxLastDays))
	ErrNoLimit      = errors.New("restricts nothing")
	ErrNotGranted   = errors.New("names a privilege that is not granted")
	ErrTooMany      = errors.New("has more than " + strconv.Itoa(MaxLimits) + " entries")
)

// Check returns what is wrong with a validity that somebody sets at a time in the place of
// another one, or nil. An end that stays may have passed.
func (v Validity) Check(was Validity, now time.Time) *Fault {
	switch {
	case !v.Until.IsZero() && !v.Until.After(now) && !v.Until.Equal(was.Until):
		return &Fault{"until", ErrPast}
	case !v.Until.IsZero() && !v.Until.After(v.From):
		return &Fault{"until", ErrBackwards}
	}
	return v.Hours.check()
}

func (h Hours) check() *Fault {
	switch {
	case h.IsZero():
		return nil
	case len(h.Spans) == 0:
		return &Fault{"hours.spans", ErrNoSpans}
	case len(h.Spans) > MaxSpans:
		return &Fault{"hours.spans", ErrTooManySpans}
	}
	if _, err := zoneOf(h.Zone); err != nil {
		return &Fault{"hours.zone", ErrBadZone}
	}
	for i, s := range h.Spans {
		at := fmt.Sprintf("hours.spans[%d]", i)
		switch {
		case s.Days == 0:
			return &Fault{at + ".days", ErrNoDays}
		case s.Start == s.End || s.Start == MaxClock:
			return &Fault{at + ".end", ErrEmptySpan}
		}
	}
	return nil
}

// Check returns what is wrong with terms that somebody sets at a time in the place of
// others, or nil.
func (t Terms) Check(was Terms, now time.Time) *Fault {
	if d := t.Playback.LastDays; d < 0 || d > MaxLastDays {
		return &Fault{"playback.last_days", ErrBadDays}
	}
	return t.Validity.Check(was.Validity, now)
}

// CheckLimits returns what is wrong with the limits of a grant that somebody sets at a
// time in the place of others, or nil. A limit that stays, for all of its privileges or for
// some, may have ended.
func (g Grant) CheckLimits(was []Limit, now time.Time) *Fault {
	if len(g.Limits) > MaxLimits {
		return &Fault{"limits", ErrTooMany}
	}
	for i, l := range g.Limits {
		at := fmt.Sprintf("limits[%d]", i)
		switch {
		case l.Privileges == None || l.Privileges.Without(g.Privileges) != None:
			return &Fault{at + ".privileges", ErrNotGranted}
		case l.Validity.IsZero():
			return &Fault{at, ErrNoLimit}
		}
		stays := slices.ContainsFunc(was, func(w Limit) bool { return w.Validity.Equal(l.Validity) && l.Privileges.Without(w.Privileges) == None })
		if stays {
			continue
		}
		if f := l.Validity.Check(Validity{}, now); f != nil {
			f.Field = at + "." + f.Field
			return f
		}
	}
	return nil
}
