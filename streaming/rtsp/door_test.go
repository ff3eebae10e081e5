package rtsp

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
)

func TestWatch(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	for _, transport := range []string{"tcp", "udp"} {
		p := h.watching(t, "/dev-1/1", annKey, transport)
		if err := p.receive(30); err != nil {
			t.Errorf("over %s: %v", transport, err)
		}
	}
}

func TestConfigFaultsAreToldTogether(t *testing.T) {
	_, err := New(Config{Address: "nonsense", UDPAddress: "127.0.0.1:5001"})
	for _, want := range []string{"address", "even port", "Access", "Secrets", "Upstreams"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %q", err, want)
		}
	}
}

func TestStatuses(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	h.grants.domains["ann/garden"] = "dev-1"
	h.grants.grant("ann", "dev-2", 1, privilege.Playback)
	h.grants.grant("ann", "dev-3", 1, privilege.LiveView) // no camera is known
	h.grants.key(access.Key{Name: "bound", Account: "ann", Device: "dev-2"}, "secret")
	h.grants.key(access.Key{Name: "homeless"}, "secret")
	for _, c := range []struct {
		path, key string
		want      int
	}{
		{"/dev-1/1", annKey, 200}, {"/garden/1", annKey, 200}, {"/dev-1/1/sub", annKey, 200},
		{"/dev-1/Streaming/Channels/101", annKey, 200}, {"/dev-1/Streaming/Channels/102?transportmode=unicast", annKey, 200},
		{"/dev-1/1", "", 401}, {"/dev-1/1", "homeless:secret", 401},
		{"/unknown/1", annKey, 404}, {"/dev-1", annKey, 404}, {"/dev-1/1/other", annKey, 404}, {"/dev-3/1", annKey, 404},
		{"/dev-1/1", "bound:secret", 404}, {"/dev-1/2", annKey, 403}, {"/dev-2/1", annKey, 403}, {"/dev-2/1", "bound:secret", 403},
		{"/dev-1/1/playback?starttime=20260101T100000Z", annKey, 403},
		{"/dev-2/1/playback?starttime=20260101T100000Z", annKey, 404}, {"/dev-2/1/playback", annKey, 457},
		{"/dev-2/Streaming/tracks/101?starttime=20260101T100000Z", annKey, 404},
		{"/unknown/1/playback?starttime=20260101T100000Z", annKey, 404},
	} {
		if got := h.status(t, c.path, c.key); got != c.want {
			t.Errorf("%s with %q: %d, want %d", c.path, c.key, got, c.want)
		}
	}
	h.grants.setSick(true)
	if got := h.status(t, "/dev-1/1", annKey); got != 503 {
		t.Errorf("not knowing who may what: %d, want 503", got)
	}
}

// TestNothingIsSaidBeforeAuthentication: without a key every path is the same,
// and nobody publishes.
func TestNothingIsSaidBeforeAuthentication(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	for method, want := range map[string]int{
		"OPTIONS": 200, "GET_PARAMETER": 200, "DESCRIBE": 401, "SETUP": 401, "PLAY": 454, "ANNOUNCE": 401, "RECORD": 454,
		"SET_PARAMETER": 200, "NONSENSE": 501,
	} {
		answers := map[string]bool{}
		for _, path := range []string{"/dev-1/1", "/unknown/1", "/x"} {
			p := h.player(t, path, "")
			r, err := p.do(method, p.url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
			if err != nil || r.status != want {
				t.Errorf("%s %s: %v, %v; want %d", method, path, r, err, want)
				continue
			}
			r.header.Del("Www-Authenticate") // the nonce
			r.header.Del("Session")
			answers[strings.Join(append(r.header["Content-Type"], r.body, r.header.Get("Public")), "|")] = true
		}
		if len(answers) > 1 {
			t.Errorf("%s tells paths apart: %v", method, answers)
		}
	}
}

// TestTransportsOutOfBounds: numbers that are no ports and no channels are refused, and
// the viewer may try again.
func TestTransportsOutOfBounds(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.player(t, "/dev-1/1", annKey)
	if r, err := p.describe(); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	for _, transport := range []string{
		"RTP/AVP;unicast;client_port=70000-70001", "RTP/AVP;unicast;client_port=0-1", "RTP/AVP;unicast;client_port=65535-65536",
		"RTP/AVP/TCP;unicast;interleaved=255-256", "RTP/AVP/TCP;unicast;interleaved=256-257",
	} {
		if r, err := p.do("SETUP", p.controls[0], "Transport: "+transport); err != nil || r.status != 400 {
			t.Fatalf("%s: %v, %v; want 400", transport, r, err)
		}
	}
	if r, err := p.setup("tcp"); err != nil || r.status != 200 {
		t.Errorf("after that: %v, %v", r, err)
	}
}

// TestDescriptionIsMadeAnew: viewers see formats, and nothing else of a camera.
func TestDescriptionIsMadeAnew(t *testing.T) {
	camera := (&cameratest.Camera{User: "camera-user", Password: "camera-password", Medias: []*description.Media{
		{Type: description.MediaTypeVideo, ID: "camera0", Formats: []format.Format{cameratest.H264}},
		{Type: description.MediaTypeAudio, ID: "camera1", Formats: []format.Format{&format.G711{PayloadTyp: 8, MULaw: false, SampleRate: 8000, ChannelCount: 1}}},
		{Type: description.MediaTypeAudio, ID: "camera2", IsBackChannel: true, Formats: []format.Format{&format.G711{PayloadTyp: 0, MULaw: true, SampleRate: 8000, ChannelCount: 1}}},
		{Type: description.MediaTypeApplication, ID: "camera3", Formats: []format.Format{&format.Generic{PayloadTyp: 107, RTPMa: "vnd.onvif.metadata/90000", ClockRat: 90000}}},
	}}).Start(t)
	h := open(t, camera)
	p := h.player(t, "/dev-1/1", annKey)
	r, err := p.do("DESCRIBE", p.url, "Require: www.onvif.org/ver20/backchannel")
	if err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	for _, secret := range []string{"secret", "camera", camera.Addr, "PCMU", "sendonly", "metadata"} {
		if strings.Contains(r.body, secret) || strings.Contains(strings.Join(r.header["Content-Base"], ""), "camera") {
			t.Errorf("the description tells %q:\n%s", secret, r.body)
		}
	}
	if strings.Count(r.body, "m=") != 2 || !strings.Contains(r.body, "H264/90000") || !strings.Contains(r.body, "PCMA/8000") {
		t.Errorf("the description lacks something:\n%s", r.body)
	}
	for _, track := range []string{"2", "3", "99", "x"} {
		q := h.player(t, "/dev-1/1", annKey)
		r, err := q.do("SETUP", q.url+"/trackID="+track, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Require: www.onvif.org/ver20/backchannel")
		if err != nil || r.status == 200 {
			t.Errorf("setting up track %s: %v, %v", track, r, err)
		}
	}
}

// TestHalfRequestsEnd: whoever does not finish a request, or has no key and
// keeps talking, loses the connection.
func TestHalfRequestsEnd(t *testing.T) {
	h := open(t, nil, func(c *config) { c.IdleTimeout = 300 * time.Millisecond })
	for name, text := range map[string]string{
		"silence": "", "half a line": "DESCR", "half a header": "OPTIONS * RTSP/1.0\r\nCSe", "garbage": "\x00\xff\r\n\r\n", "a frame": "$\x00\x00\x04abcd",
		"half a body": "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 9\r\n\r\nabc",
	} {
		p := h.player(t, "/dev-1/1", "")
		if _, err := io.WriteString(p.conn, text); err != nil {
			t.Fatal(err)
		}
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, p.conn); errors.Is(err, errTimeout(err)) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
	p := h.player(t, "/dev-1/1", "")
	for {
		if _, err := p.do("OPTIONS", p.url); err != nil {
			if errors.Is(err, errTimeout(err)) {
				t.Error("no answer and no end")
			}
			break
		}
	}
	eventually(t, "every connection is given back", func() bool { return h.listener.places.Taken() == 0 })
}

// errTimeout is err where it is a time-out.
func errTimeout(err error) error {
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		return err
	}
	return errors.New("no time-out")
}

func TestConnectionLimits(t *testing.T) {
	h := open(t, nil, func(c *config) { c.MaxConnectionsPerAddress = 3 })
	var kept []*player
	for range 3 {
		p := h.player(t, "/dev-1/1", "")
		if _, err := p.do("OPTIONS", p.url); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, p)
	}
	// One too many is refused at once: maybe before the dial has returned.
	if p, err := h.dial("/dev-1/1", ""); err == nil {
		if _, err := p.do("OPTIONS", p.url); err == nil {
			t.Error("a connection too many is served")
		}
		p.close()
	}
	kept[0].close()
	eventually(t, "a place is free again", func() bool {
		p, err := h.dial("/dev-1/1", "")
		if err != nil {
			return false
		}
		defer p.close()
		_, err = p.do("OPTIONS", p.url)
		return err == nil
	})
}

// TestASessionBelongsToItsConnection: whoever learns its id can do nothing with it.
func TestASessionBelongsToItsConnection(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	h.grants.key(access.Key{Name: "bob", Account: "bob"}, "secret")
	mine := h.player(t, "/dev-1/1", annKey)
	if _, err := mine.describe(); err != nil {
		t.Fatal(err)
	}
	if r, err := mine.setup("udp"); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	for _, key := range []string{"", "bob:secret", annKey} {
		other := h.player(t, "/dev-1/1", key)
		other.session = mine.session
		for _, method := range []string{"PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER"} {
			if r, err := other.do(method, other.url); err == nil && r.status == 200 && method != "GET_PARAMETER" {
				t.Errorf("%s with %q works", method, key)
			}
		}
	}
	if r, err := mine.play(); err != nil || r.status != 200 {
		t.Errorf("the owner of the session: %v, %v", r, err)
	}
	mine.key = "bob:secret" // another key on the same connection
	if r, err := mine.play(); err != nil || r.status == 200 {
		t.Errorf("another key: %v, %v", r, err)
	}
}

func TestPauseAndPlayAgain(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	if err := p.receive(5); err != nil {
		t.Fatal(err)
	}
	if r, err := p.do("PAUSE", p.url); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	if r, err := p.play(); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	if err := p.receive(5); err != nil {
		t.Fatal(err)
	}
	if r, err := p.do("GET_PARAMETER", p.url); err != nil || r.status != 200 {
		t.Errorf("keepalive: %v, %v", r, err)
	}
	if r, err := p.do("TEARDOWN", p.url); err != nil || r.status != 200 {
		t.Errorf("%v, %v", r, err)
	}
	eventually(t, "the viewer is gone", func() bool { return h.viewers.count() == 0 })
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.Metrics = r })
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	if err := p.receive(20); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			got[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, least := range map[string]float64{
		"latchkey_rtsp_viewers": 1, "latchkey_rtsp_upstreams": 1, "latchkey_rtsp_camera_dials_total": 1, "latchkey_rtsp_plays_total": 1,
		"latchkey_rtsp_viewer_packets_total": 10, "latchkey_rtsp_viewer_bytes_total": 12000,
	} {
		if got[name] < least {
			t.Errorf("%s is %v, want at least %v", name, got[name], least)
		}
	}
}
