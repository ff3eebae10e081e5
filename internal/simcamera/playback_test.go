package simcamera

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"

	"latchkey/internal/simcamera/picture"
)

// recorded decodes a whole playback and returns the instants that its pictures show.
func recorded(t *testing.T, url, transport string) []time.Time {
	t.Helper()
	out := tool(t, "ffmpeg", "-nostdin", "-v", "warning", "-rtsp_transport", transport, "-i", url, "-an",
		"-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-")
	const size = 640 * 360
	var at []time.Time
	for i := 0; i+size <= len(out); i += size {
		clock, err := picture.ReadClock(out[i:], 640, 360)
		if err != nil {
			t.Fatalf("picture %d: %v", i/size, err)
		}
		at = append(at, clock)
	}
	return at
}

func TestPlaybackBeginsAndEndsAsAsked(t *testing.T) {
	c := start(t, nil)
	from := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	for _, transport := range []string{"tcp", "udp"} {
		at := recorded(t, fmt.Sprintf("rtsp://%s/Streaming/tracks/101?starttime=20260101T100000Z&endtime=20260101T100002Z",
			c.RTSPAddr()), transport)
		if len(at) != 50 {
			t.Fatalf("%s: %d pictures of 2 s", transport, len(at))
		}
		for i, clock := range at {
			want := from.Add(time.Duration(i) * 40 * time.Millisecond).Truncate(100 * time.Millisecond)
			if !clock.Equal(want) {
				t.Fatalf("%s: picture %d shows %v, want %v", transport, i, clock, want)
			}
		}
	}
}

func TestGStreamerPlaysBack(t *testing.T) {
	c := start(t, nil)
	from := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	const size, pictures = 640 * 360, 20
	out := beginning(t, size*pictures, "gst-launch-1.0", "-q", "rtspsrc", "protocols=tcp", "latency=50",
		"location=rtsp://"+c.RTSPAddr()+"/Streaming/tracks/101?starttime=20260101T100000Z&endtime=20260101T100010Z",
		"!", "rtph264depay", "!", "h264parse", "!", "avdec_h264", "!",
		"videoconvert", "!", "video/x-raw,format=GRAY8", "!", "fdsink")
	for i := range pictures {
		at, err := picture.ReadClock(out[i*size:], 640, 360)
		if err != nil {
			t.Fatalf("picture %d: %v", i, err)
		}
		if at.Before(from) || at.After(from.Add(10*time.Second)) {
			t.Errorf("picture %d shows %v", i, at)
		}
	}
}

// TestPlaybackTakesLeave: a client that does not heed the RTCP BYE is sent away.
func TestPlaybackTakesLeave(t *testing.T) {
	c := start(t, nil)
	cl, packets := watch(t, fmt.Sprintf("rtsp://%s/Streaming/tracks/102?starttime=20260101T100000Z&endtime=20260101T100001Z",
		c.RTSPAddr()))
	if err := cl.Wait(); err == nil {
		t.Error("the session ended without an error")
	}
	if len(packets) == 0 {
		t.Error("nothing was sent")
	}
}

// client is a connected RTSP client of the library that Latchkey itself uses.
func client(t *testing.T, url string) (*gortsplib.Client, *base.URL) {
	t.Helper()
	u, err := base.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	tcp := gortsplib.TransportTCP
	cl := &gortsplib.Client{Transport: &tcp}
	if err := cl.Start(u.Scheme, u.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl, u
}

// playHeader adds a header to PLAY requests: gortsplib's client has no argument for it.
func playHeader(cl *gortsplib.Client, name, value string) {
	cl.OnRequest = func(r *base.Request) {
		if r.Method == base.Play {
			r.Header[name] = base.HeaderValue{value}
		}
	}
}

func TestPlaybackSeeksAndScales(t *testing.T) {
	c := start(t, nil)
	for name, s := range map[string]struct {
		header, value string
		want          string
		code          base.StatusCode
	}{
		"absolute":       {"Range", "clock=20260101T103000.500Z-", "clock=20260101T103000.500Z-20260101T110000.000Z", 200},
		"relative":       {"Range", "npt=60.5-120", "clock=20260101T100100.500Z-20260101T100200.000Z", 200},
		"from the start": {"Range", "npt=0.000-", "clock=20260101T100000.000Z-20260101T110000.000Z", 200},
		"nonsense":       {"Range", "clock=soon-", "", base.StatusInvalidRange},
		"the future":     {"Range", "clock=21000101T000000Z-", "", base.StatusInvalidRange},
		"too fast":       {"Scale", "1000", "", base.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			cl, u := client(t, fmt.Sprintf("rtsp://%s/Streaming/tracks/101?starttime=20260101T100000Z&endtime=20260101T110000Z",
				c.RTSPAddr()))
			d, _, err := cl.Describe(u)
			if err != nil {
				t.Fatal(err)
			}
			if err := cl.SetupAll(d.BaseURL, d.Medias); err != nil {
				t.Fatal(err)
			}
			playHeader(cl, s.header, s.value)
			res, err := cl.Play(nil)
			if s.code != base.StatusOK {
				if err == nil {
					t.Fatalf("answered %v", res.StatusCode)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := res.Header["Range"]; len(got) != 1 || got[0] != s.want {
				t.Errorf("Range: %v, want %s", got, s.want)
			}
		})
	}
}

func TestPlaybackResumesWhereItPaused(t *testing.T) {
	c := start(t, nil)
	cl, packets := watch(t, fmt.Sprintf("rtsp://%s/Streaming/tracks/101?starttime=20260101T100000Z", c.RTSPAddr()))
	from := func(res *base.Response) time.Time {
		t.Helper()
		var r headers.Range
		if err := r.Unmarshal(res.Header["Range"]); err != nil {
			t.Fatal(err)
		}
		return r.Value.(*headers.RangeUTC).Start
	}
	first := receive(t, "a packet", packets).Timestamp
	until(t, "some pictures", func() bool {
		p := receive(t, "a packet", packets)
		return p.Timestamp-first > 10*3600
	})
	if _, err := cl.Pause(); err != nil {
		t.Fatal(err)
	}
	playHeader(cl, "Range", "npt=now-")
	res, err := cl.Play(nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	if at := from(res); !at.After(began) || at.After(began.Add(time.Minute)) {
		t.Errorf("resumed at %v", at)
	}
}

func TestUnknownPathsAreRefused(t *testing.T) {
	c := start(t, nil)
	for path, code := range map[string]base.StatusCode{
		"/Streaming/Channels/301": http.StatusNotFound,
		"/Streaming/Channels/103": http.StatusNotFound,
		"/Streaming/Channels/1":   http.StatusNotFound,
		"/":                       http.StatusNotFound,
		"/Streaming/tracks/101":   http.StatusBadRequest,
		"/Streaming/tracks/101?starttime=20260101T100000Z&endtime=20260101T090000Z": http.StatusBadRequest,
		"/Streaming/tracks/101?starttime=21260101T100000Z":                          http.StatusNotFound,
		"/Streaming/channels/201":                                                   http.StatusOK,
		"/h264/ch2/sub/av_stream":                                                   http.StatusOK,
	} {
		cl, u := client(t, "rtsp://"+c.RTSPAddr()+path)
		_, res, _ := cl.Describe(u)
		if res == nil || res.StatusCode != code {
			t.Errorf("%s: %+v, want %d", path, res, code)
		}
	}
}
