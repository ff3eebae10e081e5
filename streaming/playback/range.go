package playback

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Range is what a Range header asks for (RFC 2326, sections 3.6, 3.7 and 12.29). A zero
// time was not given.
type Range struct {
	Start, End time.Time
	NPT        bool // it counts from the beginning of the recording that the address names
}

// ErrRange is returned for a Range that is not valid, or is in units that are not known.
var ErrRange = errors.New("not a valid range")

const (
	maxRange = 256 // bytes; no player sends that many
	// maxNPT is the largest relative time, in seconds: a decade.
	maxNPT = 10 * 366 * 24 * 3600
)

// ParseRange reads the value of a Range header. Relative times count from origin. Frame
// numbers (smpte) are refused, as they say nothing of times.
func ParseRange(value string, origin time.Time) (Range, error) {
	if len(value) > maxRange {
		return Range{}, ErrRange
	}
	value, _, _ = strings.Cut(value, ";") // when to begin: at once
	unit, spec, ok := strings.Cut(value, "=")
	if !ok {
		return Range{}, ErrRange
	}
	first, last, ok := strings.Cut(spec, "-")
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if !ok || first == "" && last == "" {
		return Range{}, ErrRange
	}
	r := Range{}
	var read func(string) (time.Time, error)
	switch strings.ToLower(strings.TrimSpace(unit)) {
	case "clock":
		read = ParseTime
	case "npt":
		r.NPT = true
		read = func(text string) (time.Time, error) { return parseNPT(text, origin) }
	default:
		return Range{}, ErrRange
	}
	var err error
	if first != "" && !strings.EqualFold(first, "now") { // now: from where it is
		if r.Start, err = read(first); err != nil {
			return Range{}, err
		}
	}
	if last != "" {
		if r.End, err = read(last); err != nil {
			return Range{}, err
		}
	}
	if !r.Start.IsZero() && r.Start.Equal(r.End) {
		return Range{}, ErrRange
	}
	return r, nil
}

// ParseTime reads a time such as 20260101T100000.250Z. The Z may be missing, or in lower
// case: it is UTC in any case.
func ParseTime(text string) (time.Time, error) {
	text = strings.TrimRight(text, "Zz")
	if len(text) > 40 {
		return time.Time{}, ErrRange
	}
	for _, layout := range []string{"20060102T150405", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
			return t, nil
		}
	}
	return time.Time{}, ErrRange
}

// parseNPT reads seconds with a fraction, or h:mm:ss with one.
func parseNPT(text string, origin time.Time) (time.Time, error) {
	parts := strings.Split(text, ":")
	if len(text) > 24 || len(parts) > 3 {
		return time.Time{}, ErrRange
	}
	seconds := 0.0
	for _, p := range parts {
		if p == "" || strings.Trim(p, "0123456789.") != "" {
			return time.Time{}, ErrRange
		}
		n, err := strconv.ParseFloat(p, 64)
		if err != nil {
			return time.Time{}, ErrRange
		}
		seconds = 60*seconds + n
	}
	if seconds > maxNPT {
		return time.Time{}, ErrRange
	}
	return origin.Add(time.Duration(math.Round(seconds*1000)) * time.Millisecond), nil
}

// text returns the range as a header gives it, relative times from origin.
func (r Range) text(origin time.Time) string {
	if r.NPT {
		npt := func(t time.Time) string {
			return strconv.FormatFloat(max(t.Sub(origin).Seconds(), 0), 'f', 3, 64)
		}
		text := "npt=" + npt(r.Start) + "-"
		if !r.End.IsZero() {
			text += npt(r.End)
		}
		return text
	}
	text := "clock=" + clock(r.Start) + "-"
	if !r.End.IsZero() {
		text += clock(r.End)
	}
	return text
}

func clock(t time.Time) string { return t.UTC().Format("20060102T150405.000Z") }

// maxSpeed is how many times faster than it was recorded anything may be played.
const maxSpeed = 256

// ParseSpeed reads the value of a Scale or Speed header (RFC 2326, sections 12.34 and
// 12.35).
func ParseSpeed(value string) (float64, bool) {
	if len(value) > 32 {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return f, err == nil && f != 0 && f >= -maxSpeed && f <= maxSpeed && math.Abs(f) >= 1.0/maxSpeed
}

func formatSpeed(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
