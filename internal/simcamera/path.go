package simcamera

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// target is what an RTSP URL names.
type target struct {
	channel  int
	quality  quality
	playback bool
	replay   bool      // by ONVIF: start is that of the Range header
	start    time.Time // of playback
	end      time.Time // zero if the URL has none
}

var (
	errNoStream = errors.New("no such stream")
	errBadTime  = errors.New("the time is not valid")
	errBackward = errors.New("the end is not after the start")
)

var (
	livePath   = regexp.MustCompile(`(?i)^/(?:ISAPI/)?Streaming/channels/([0-9]{3,4})/?$`)
	trackPath  = regexp.MustCompile(`(?i)^/(?:ISAPI/)?Streaming/tracks/([0-9]{3,4})/?$`)
	replayPath = regexp.MustCompile(`^/onvif/replay/recording_([0-9]{1,2})/?$`)
	legacyPath = regexp.MustCompile(`(?i)^/h264/ch([0-9]{1,2})/(main|sub)/av_stream/?$`)
)

// parseTarget understands Hikvision's URLs for live pictures, old and new, and for
// playback.
func parseTarget(path, query string) (target, error) {
	if m := legacyPath.FindStringSubmatch(path); m != nil {
		n, _ := strconv.Atoi(m[1])
		q := mainStream
		if strings.EqualFold(m[2], "sub") {
			q = subStream
		}
		return target{channel: n, quality: q}, nil
	}
	if m := livePath.FindStringSubmatch(path); m != nil {
		return numbered(m[1])
	}
	if m := replayPath.FindStringSubmatch(path); m != nil {
		n, _ := strconv.Atoi(m[1])
		return target{channel: n, quality: mainStream, playback: true, replay: true}, nil
	}
	m := trackPath.FindStringSubmatch(path)
	if m == nil {
		return target{}, errNoStream
	}
	t, err := numbered(m[1])
	if err != nil {
		return target{}, err
	}
	return t.recorded(query)
}

func numbered(digits string) (target, error) {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return target{}, errNoStream
	}
	t := target{channel: n / 100, quality: quality(n % 100)}
	if t.quality != mainStream && t.quality != subStream {
		return target{}, errNoStream
	}
	return t, nil
}

// recorded adds the times of a playback URL's query.
func (t target) recorded(query string) (target, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return target{}, fmt.Errorf("%w: %w", errBadTime, err)
	}
	t.playback = true
	if t.start, err = parseTime(values.Get("starttime")); err != nil {
		return target{}, fmt.Errorf("starttime: %w", err)
	}
	if end := values.Get("endtime"); end != "" {
		if t.end, err = parseTime(end); err != nil {
			return target{}, fmt.Errorf("endtime: %w", err)
		}
		if !t.end.After(t.start) {
			return target{}, errBackward
		}
	}
	return t, nil
}

// timeLayouts are the forms that occur in URLs and in Range headers; fractions of a
// second are accepted after the seconds of each.
var timeLayouts = []string{"20060102T150405", "2006-01-02T15:04:05", "2006-01-02 15:04:05"}

// parseTime reads a time in UTC, with or without the Z, in either case. This camera's
// Z means UTC, as ISO 8601 has it.
func parseTime(s string) (time.Time, error) {
	if len(s) > 40 {
		return time.Time{}, errBadTime
	}
	s = strings.TrimSuffix(strings.ToUpper(s), "Z")
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
			return t, nil
		}
	}
	return time.Time{}, errBadTime
}

// span is a part of a recording; an end of zero is open.
type span struct{ start, end time.Time }

// parseRange reads the Range header of a PLAY request (RFC 2326 sections 3.6, 3.7 and
// 12.29) within the recording that the URL names. Relative times count from its start.
func parseRange(value string, t target) (span, error) {
	s := span{start: t.start, end: t.end}
	value, _, _ = strings.Cut(value, ";") // a time= parameter says when to begin; now is fine
	unit, spec, ok := strings.Cut(strings.TrimSpace(value), "=")
	if !ok {
		return span{}, fmt.Errorf("range without a unit: %w", errBadTime)
	}
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return span{}, fmt.Errorf("range without a dash: %w", errBadTime)
	}
	read := func(s string) (time.Time, error) { return readNPT(s, t.start) }
	switch strings.ToLower(strings.TrimSpace(unit)) {
	case "clock":
		read = parseTime
	case "npt":
	default:
		return span{}, fmt.Errorf("range in another unit: %w", errBadTime)
	}

	var err error
	if first = strings.TrimSpace(first); first != "" && first != "now" {
		if s.start, err = read(first); err != nil {
			return span{}, err
		}
	}
	if last = strings.TrimSpace(last); last != "" {
		if s.end, err = read(last); err != nil {
			return span{}, err
		}
		if !s.end.After(s.start) {
			return span{}, errBackward
		}
	}
	return s, nil
}

// readNPT reads seconds with a fraction, or h:mm:ss, after a beginning.
func readNPT(s string, from time.Time) (time.Time, error) {
	parts := strings.Split(s, ":")
	if len(s) > 20 || len(parts) > 3 {
		return time.Time{}, errBadTime
	}
	seconds := 0.0
	for _, p := range parts {
		v, err := strconv.ParseFloat(p, 64)
		if err != nil || !(v >= 0 && v < 1e8) {
			return time.Time{}, errBadTime
		}
		seconds = 60*seconds + v
	}
	if seconds > 1e8 {
		return time.Time{}, errBadTime
	}
	return from.Add(time.Duration(seconds * float64(time.Second))), nil
}

// parseScale reads the Scale header (RFC 2326 section 12.34): 1 when there is none.
func parseScale(value string) (float64, error) {
	if value == "" {
		return 1, nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || v == 0 || !(v >= -16 && v <= 16) {
		return 0, fmt.Errorf("scale %.20q: only -16 to 16, and not 0", value)
	}
	return v, nil
}
