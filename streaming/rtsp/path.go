package rtsp

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"latchkey/domain/privilege"
	"latchkey/streaming/upstream"
)

// maxDeviceName is the length of a serial of 64 bytes with its generation.
const maxDeviceName = 80

// target is the meaning of a path.
type target struct {
	device   string // an id or a device domain, in lower case
	channel  int
	quality  upstream.Quality
	playback bool
	from, to time.Time // playback: zero if missing or invalid in the query
}

// privilege returns what an account needs to watch the target.
func (t target) privilege() privilege.Set {
	if t.playback {
		return privilege.Playback
	}
	return privilege.LiveView
}

// parseTarget reads the path and query of a request:
//
//	/<device>/<channel>
//	/<device>/<channel>/sub
//	/<device>/<channel>/playback?starttime=…&endtime=…
//	/<device>/Streaming/Channels/<channel><01|02>?transportmode=…
//	/<device>/Streaming/tracks/<channel>01?starttime=…&endtime=…
//
// It returns false for everything else.
func parseTarget(path, query string) (target, bool) {
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	if len(parts) < 3 || parts[0] != "" {
		return target{}, false
	}
	t := target{device: strings.ToLower(parts[1])}
	if !validDeviceName(t.device) {
		return target{}, false
	}
	var ok bool
	switch rest := parts[2:]; {
	case len(rest) == 1:
		t.channel, ok = parseChannel(rest[0])
	case len(rest) == 2 && rest[1] == "sub":
		t.quality = upstream.Sub
		t.channel, ok = parseChannel(rest[0])
	case len(rest) == 2 && rest[1] == "playback":
		t.playback = true
		t.channel, ok = parseChannel(rest[0])
	case len(rest) == 3 && strings.EqualFold(rest[0], "Streaming") && strings.EqualFold(rest[1], "Channels"):
		t.channel, t.quality, ok = parseStream(rest[2])
	case len(rest) == 3 && strings.EqualFold(rest[0], "Streaming") && strings.EqualFold(rest[1], "tracks"):
		t.playback = true
		t.channel, t.quality, ok = parseStream(rest[2])
		ok = ok && t.quality == upstream.Main
	}
	if !ok {
		return target{}, false
	}
	if t.playback {
		t.from, t.to = parseTimes(query)
	}
	return t, true
}

func validDeviceName(s string) bool {
	if s == "" || len(s) > maxDeviceName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && (c != '.' || i == 0) {
			return false
		}
	}
	return true
}

// parseChannel reads a channel number in canonical form.
func parseChannel(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= privilege.MaxChannel && strconv.Itoa(n) == s
}

// parseStream reads Hikvision's stream numbers: the channel and two digits, 01 for the
// main stream and 02 for the sub stream.
func parseStream(s string) (int, upstream.Quality, bool) {
	if len(s) < 3 {
		return 0, upstream.Main, false
	}
	channel, ok := parseChannel(s[:len(s)-2])
	switch s[len(s)-2:] {
	case "01":
		return channel, upstream.Main, ok
	case "02":
		return channel, upstream.Sub, ok
	default:
		return 0, upstream.Main, false
	}
}

// parseTimes reads starttime and endtime of a query, such as
// 20260101T100000Z. The Z may be missing or in lower case.
func parseTimes(query string) (from, to time.Time) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return from, to
	}
	return parseTime(values.Get("starttime")), parseTime(values.Get("endtime"))
}

func parseTime(s string) time.Time {
	t, err := time.Parse("20060102T150405", strings.TrimRight(s, "Zz"))
	if err != nil {
		return time.Time{}
	}
	return t
}
