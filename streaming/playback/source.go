package playback

import (
	"context"
	"net/url"
	"regexp"
	"strings"
	"time"

	"latchkey/domain/ids"
	"latchkey/streaming/rtspclient"
)

// Source is where the recordings of a channel are. None of it may be logged or reach a
// viewer.
type Source struct {
	// URL is the address of the recordings. Unless Replay is set it depends on what is
	// to be played: see Track.
	URL                string
	Username, Password string
	// Certificate is that of rtsps, as the owner has confirmed it; zero: it must be valid.
	Certificate rtspclient.Fingerprint
	// Replay is set for an ONVIF replay address: the device must be required to replay.
	Replay bool
	// Ahead is how far the recorder's clock is ahead.
	Ahead time.Duration
	// Zone is the offset of the recorder's local time from UTC, by which its times may be
	// wrong: Z means UTC to some firmwares, and local time to others. See privilege.DoubtOf.
	Zone time.Duration

	times func(from, to time.Time) string // of the query; nil: none
}

// Sources finds recordings. It fails with ErrNoRecorder if a channel has none that can be
// played.
type Sources interface {
	// Recordings returns where the recordings of a channel are. With replay, they are
	// wanted by ONVIF replay.
	Recordings(ctx context.Context, device ids.Device, channel int, replay bool) (Source, error)
}

var (
	hikvisionLive = regexp.MustCompile(`(?i)^(.*/Streaming)/channels/([0-9]{1,4})[0-9]{2}/?$`)
	hikvisionOld  = regexp.MustCompile(`(?i)^(.*)/h264/ch([0-9]{1,2})/(?:main|sub)/av_stream/?$`)
)

// Track returns the source of the recordings of a channel, given the address of its live
// stream, for the recorders whose addresses are known: Hikvision's, such as
// /Streaming/tracks/101?starttime=….
func Track(live string) (Source, bool) {
	u, err := url.Parse(live)
	if err != nil || u.Host == "" || u.Scheme != "rtsp" && u.Scheme != "rtsps" {
		return Source{}, false
	}
	s := Source{times: hikvisionTimes}
	switch {
	case hikvisionLive.MatchString(u.Path):
		m := hikvisionLive.FindStringSubmatch(u.Path)
		u.Path, u.RawQuery = m[1]+"/tracks/"+m[2]+"01", ""
	case hikvisionOld.MatchString(u.Path):
		m := hikvisionOld.FindStringSubmatch(u.Path)
		u.Path, u.RawQuery = m[1]+"/Streaming/tracks/"+strings.TrimLeft(m[2], "0")+"01", ""
	default:
		return Source{}, false
	}
	u.RawPath, u.Fragment = "", ""
	s.URL = u.String()
	return s, true
}

func hikvisionTimes(from, to time.Time) string {
	const layout = "20060102T150405Z"
	text := "starttime=" + from.Format(layout)
	if !to.IsZero() {
		text += "&endtime=" + to.Format(layout)
	}
	return text
}

// address returns the address for an interval. Whole seconds are all that its query can
// express: begin is what it begins at, the start or up to a second before.
func (s Source) address(from, to time.Time) (address string, begin time.Time) {
	if s.times == nil {
		return s.URL, from
	}
	begin = from.Truncate(time.Second)
	if !to.IsZero() {
		to = s.theirs(to.Add(time.Second - 1).Truncate(time.Second))
	}
	sep := "?"
	if strings.Contains(s.URL, "?") {
		sep = "&"
	}
	return s.URL + sep + s.times(s.theirs(begin), to), begin
}

// theirs returns a time on the recorder's clock, ours one of the recorder's.
func (s Source) theirs(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Add(s.Ahead)
}

func (s Source) ours(t time.Time) time.Time { return t.Add(-s.Ahead) }
