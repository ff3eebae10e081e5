package simcamera

import (
	"encoding/xml"
	"math"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/internal/simcamera/picture"
)

func FuzzParseTarget(f *testing.F) {
	f.Add("/Streaming/Channels/101", "")
	f.Add("/Streaming/tracks/1601", "starttime=20190703T105010Z&endtime=20190703T110010Z")
	f.Add("/streaming/tracks/102/", "starttime=2019-07-03t10:50:10.5z")
	f.Add("/h264/ch1/main/av_stream", "transportmode=unicast")
	f.Fuzz(func(t *testing.T, path, query string) {
		target, err := parseTarget(path, query)
		if err != nil {
			return
		}
		if target.channel < 0 || target.channel > 99 || target.quality != mainStream && target.quality != subStream {
			t.Fatalf("%+v", target)
		}
		if target.playback == target.start.IsZero() || !target.end.IsZero() && !target.end.After(target.start) {
			t.Fatalf("%+v", target)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"npt=0.000-", "npt=now-", "npt=10.5-20", "npt=1:02:03.5-", "clock=20260101T100000.5Z-",
		"clock=20260101T100000Z-20260101T100010Z;time=19970123T143720Z", "smpte=0:10:20-", "npt=-", "npt=1e300-"} {
		f.Add(s)
	}
	recording := target{start: time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC), end: time.Date(2026, 1, 1, 11, 0, 0, 0, time.UTC)}
	f.Fuzz(func(t *testing.T, value string) {
		s, err := parseRange(value, recording)
		if err != nil {
			return
		}
		if y := s.start.Year(); y < 1970 || y > 2200 {
			t.Fatalf("%q begins at %v", value, s.start)
		}
		again, err := parseRange(s.String(), recording)
		if err != nil && s.end.After(s.start.Add(time.Millisecond)) {
			t.Fatalf("%q is written as %q: %v", value, s, err)
		}
		if err == nil && again.start.Sub(s.start).Abs() > time.Millisecond {
			t.Fatalf("%q is written as %q", value, s)
		}
	})
}

func FuzzParseScale(f *testing.F) {
	f.Add("2")
	f.Add("-0.5")
	f.Add("NaN")
	f.Fuzz(func(t *testing.T, value string) {
		v, err := parseScale(value)
		if err == nil && !(math.Abs(v) <= 16 && v != 0) {
			t.Fatalf("%q is %v", value, v)
		}
	})
}

func FuzzParsePTZ(f *testing.F) {
	f.Add([]byte("<PTZData><pan>60</pan><tilt>-60</tilt><zoom>0</zoom></PTZData>"))
	f.Add([]byte(`<PTZData xmlns="x"><pan>1</pan><Momentary><duration>500</duration></Momentary></PTZData>`))
	f.Add([]byte("<PTZData><AbsoluteHigh><elevation>1</elevation><azimuth>2</azimuth><absoluteZoom>3</absoluteZoom></AbsoluteHigh></PTZData>"))
	f.Add([]byte("<PTZData><pan>NaN</pan></PTZData>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parsePTZ(text)
		if err != nil {
			return
		}
		h := newHead(1)
		h.move(velocity{d.Pan, d.Tilt, d.Zoom}, 0)
		if d.Absolute != nil {
			h.turn("turn", func(picture.View) picture.View {
				return picture.View{Pan: d.Absolute.Azimuth, Tilt: d.Absolute.Elevation, Zoom: d.Absolute.Zoom}
			})
		}
		v := h.at(time.Now().Add(time.Hour))
		if !(v.Pan >= 0 && v.Pan < 360) || math.Abs(v.Tilt) > picture.MaxTilt || !(v.Zoom >= 1 && v.Zoom <= picture.MaxZoom) {
			t.Fatalf("looks at %+v", v)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add(`Digest username="admin", realm="IP Camera", nonce="1.2", uri="/", qop=auth, nc=00000001, cnonce="x", response="00"`)
	f.Add(`Basic YWRtaW46cGE1NQ==`)
	f.Add(`Digest ="`)
	f.Fuzz(func(t *testing.T, header string) {
		g := newDigestGuard(nil)
		given := parseDigest(header)
		if g.fresh(given["nonce"], time.Now()) {
			t.Fatal("a nonce that this guard did not give is good")
		}
		if g.right(given, httptest.NewRequest("GET", "/", nil), "admin", "a password that the corpus does not know") {
			t.Fatal("a response that nobody computed is right")
		}
	})
}

func FuzzParseSim(f *testing.F) {
	f.Add("channel=1&type=VMD&for=5s")
	f.Add("times=3&by=200ms")
	f.Fuzz(func(t *testing.T, query string) {
		o, err := parseSim(query)
		if err != nil {
			return
		}
		if o.channel < 1 || o.times < 1 || o.times > 1000 || o.lasting < 0 || o.lasting > maxFor || o.by < 0 || o.by > maxFor || len(o.kind) > 64 {
			t.Fatalf("%+v", o)
		}
		if _, err := xml.Marshal(newNotification(alarm{channel: o.channel, kind: o.kind})); err != nil {
			t.Fatal(err)
		}
	})
}
