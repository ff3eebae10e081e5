package playback

import (
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/streaming/upstream"
)

// FuzzRange: the Range of a player or a recorder is read or refused, and what was read is
// written so that it is read again.
func FuzzRange(f *testing.F) {
	for _, v := range []string{
		"npt=0.000-", "npt=now-", "npt=10-20.5", "npt=1:02:03.25-", "npt=-5", "clock=20260101T100000Z-20260101T110000.250Z", "clock=20260101t100000z-",
		"clock=2026-01-01T10:00:00Z-", "smpte=0:10:20-", "npt=5-;time=20260101T100000Z", "clock=now-", "npt=1e9-", "npt==-", "-",
	} {
		f.Add(v)
	}
	origin := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, v string) {
		r, err := ParseRange(v, origin)
		if err != nil || r.Start.IsZero() {
			return
		}
		again, err := ParseRange(r.text(origin), origin)
		if ms := time.Millisecond; err == nil && (again.Start.Sub(r.Start).Abs() > ms || !r.End.IsZero() && again.End.Sub(r.End).Abs() > ms) {
			t.Errorf("%q is read as %+v, written %q and read as %+v", v, r, r.text(origin), again)
		}
	})
}

// FuzzResponse: a recorder's response to PLAY, whatever it says.
func FuzzResponse(f *testing.F) {
	f.Add("clock=20260101T100000Z-", "url=rtsp://192.0.2.1/Streaming/tracks/101/trackID=1;seq=1;rtptime=2,url=\"b\";seq=99999", "2.0", "no")
	f.Add("npt=0-", ";;;,,,=;seq=;rtptime=-1", "NaN", "maybe")
	f.Fuzz(func(t *testing.T, span, info, scale, rate string) {
		res := &base.Response{Header: base.Header{"Range": {span}, "Scale": {scale}, "Speed": {scale}, "Rate-Control": {rate}}}
		s, err := heard(res, Source{Ahead: time.Second}, day)
		if err != nil && (!s.start.IsZero() || s.scale != 0) {
			t.Errorf("%v, and %+v", err, s)
		}
		r := &run{start: day, places: make([]place, 1)}
		r.speeds(2, s.scale)
		if r.speed == 0 || len(r.hard) == 0 {
			t.Errorf("speed %v, %v", r.speed, r.hard)
		}
		if n := len(parseRTPInfo(info)); n > maxInfos {
			t.Errorf("%d tracks", n)
		}
	})
}

// FuzzPacket: what a recorder sends as RTP.
func FuzzPacket(f *testing.F) {
	f.Add([]byte("\x90\xe0\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\xab\xac\x00\x03\xea\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x65abc"))
	f.Add([]byte("\xbf\x60\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x7c\x85\x00\xff"))
	f.Add([]byte("\x80\x60\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x78\x00\x02\x67\x00\x00\x02\x65\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ok := partsOf(data)
		if !ok {
			return
		}
		p.answers(1)
		r := &run{start: day, speed: 1, places: make([]place, 1)}
		r.begin(0, 90000, data, p.shows())
		r.shows(0, 90000, upstream.Timestamp(data), 1)
		for _, of := range []format.Format{&format.H264{}, &format.H265{}, &format.MJPEG{}, &format.Generic{}} {
			upstream.Begins(of, p.payload)
		}
	})
}
