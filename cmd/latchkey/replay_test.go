package main

import (
	"bytes"
	bigendian "encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/internal/simcamera"
	"latchkey/streaming/rtspclient"
)

// onvifOf is the ONVIF side of a camera that says of another one that it replays.
func onvifOf(t testing.TB, cam *simcamera.Camera, replays string) string {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: cam.HTTPAddr()})
	proxy.ModifyResponse = func(res *http.Response) error {
		body, err := io.ReadAll(res.Body)
		body = bytes.ReplaceAll(body, []byte(cam.RTSPAddr()), []byte(replays))
		res.Body = io.NopCloser(bytes.NewReader(body))
		res.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return err
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL + "/onvif/device_service"
}

// replayPlayer plays a recording by ONVIF replay.
type replayPlayer struct {
	*rtspclient.Client
	t testing.TB

	mu    sync.Mutex
	times []time.Time // of the pictures since the last response to PLAY, as their packets say
	ended bool
}

// replaying connects to an address and sets up the picture.
func replaying(t testing.TB, address string) *replayPlayer {
	t.Helper()
	p := &replayPlayer{t: t}
	client, err := rtspclient.Dial(t.Context(), address, rtspclient.Options{
		Dial:   new(net.Dialer).DialContext,
		Packet: func(_ *rtspclient.Track, data []byte, _ time.Time) { p.take(data) },
		Bye:    func(*rtspclient.Track) { p.end() },
		Response: func(res *base.Response) {
			if res.Header["RTP-Info"] != nil {
				p.begin()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	p.Client = client
	d, err := client.Describe(t.Context(), requireReplay)
	if err == nil {
		err = client.Setup(t.Context(), d.Tracks[0], requireReplay)
	}
	if err != nil {
		t.Fatalf("setting up %s: %v", address, err)
	}
	return p
}

var requireReplay = base.Header{"Require": {"onvif-replay"}}

func (p *replayPlayer) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times, p.ended = nil, false
}

func (p *replayPlayer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// take reads the time of a packet: an NTP timestamp in ONVIF's extension of the header.
func (p *replayPlayer) take(packet []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(packet) < 28 || packet[0]&0x10 == 0 || bigendian.BigEndian.Uint16(packet[12:]) != 0xabac {
		p.t.Errorf("a packet without a time: %x", packet[:min(len(packet), 28)])
		return
	}
	const epoch = 2208988800 // Unix's, since 1900
	seconds, fraction := bigendian.BigEndian.Uint32(packet[16:]), bigendian.BigEndian.Uint32(packet[20:])
	at := time.Unix(int64(seconds)-epoch, int64(fraction)*1e9>>32).Round(time.Millisecond)
	if n := len(p.times); n == 0 || !p.times[n-1].Equal(at) {
		p.times = append(p.times, at)
	}
}

// seen returns the times of the pictures so far, and whether it is over.
func (p *replayPlayer) seen() ([]time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times, p.ended
}

// play plays with these headers, and waits for n pictures; 0: for the end.
func (p *replayPlayer) play(n int, header base.Header) (times []time.Time, res *base.Response) {
	p.t.Helper()
	all := base.Header{"Require": requireReplay["Require"], "Range": nil}
	for name, value := range header {
		all[name] = value
	}
	res, err := p.Play(p.t.Context(), all)
	if err != nil {
		p.t.Fatalf("playing %v: %v", header, err)
	}
	eventually(p.t, "it plays", func() (done bool) {
		var ended bool
		times, ended = p.seen()
		return ended || n > 0 && len(times) >= n
	})
	return times, res
}

// TestReplayFromGStreamer: who may play back plays, seeks and pauses what GStreamer's camera
// replays by ONVIF, and faster; up to the end of what was asked for or may be seen, and as long
// as it may.
func TestReplayFromGStreamer(t *testing.T) {
	t.Parallel()
	const delay = time.Hour
	gst := startGstCamera(t, "digest")
	cam := startSimCamera(t, "127.0.0.1")
	s := serve(t, binary, t.TempDir(), "--playback-delay", delay.String())
	owner, guest := s.register(t, "owner"), s.register(t, "guest")
	var device deviceAnswer
	owner.must("POST", "/devices", map[string]any{
		"name": "Door", "rtsp_url": "rtsp://" + gst.addr + "/h264", "onvif_url": onvifOf(t, cam, gst.addr), "username": cameraUser, "password": cameraPassword,
	}, &device)
	share := owner.share(guest, device.ID, "playback")
	guest.accept(share, device.ID)
	key := guest.streamKey()
	address := func(query string) string {
		return "rtsp://" + key + "@" + s.rtsp + "/" + device.ID + "/1/playback?" + query
	}
	day := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	from := func(seconds int) string {
		return "clock=" + day.Add(time.Duration(seconds)*time.Second).Format("20060102T150405Z") + "-"
	}
	starts := func(what string, times []time.Time, want time.Time) {
		t.Helper()
		if len(times) == 0 || !times[0].Equal(want) {
			t.Errorf("%s: %v, want it from %v", what, times, want)
		}
	}

	p := replaying(t, address("starttime=20260101T100000Z&endtime=20260101T100100Z"))
	times, _ := p.play(0, base.Header{"Range": {from(5) + from(6)[len("clock="):len(from(6))-1]}})
	starts("a second", times, day.Add(5*time.Second))
	if len(times) != 25 {
		t.Errorf("%d pictures of a second: %v", len(times), times)
	}
	times, _ = p.play(5, base.Header{"Range": {from(10)}})
	starts("open", times, day.Add(10*time.Second))
	times, _ = p.play(5, base.Header{"Range": {from(30)}})
	starts("a seek", times, day.Add(30*time.Second))
	if _, err := p.Pause(t.Context(), requireReplay); err != nil {
		t.Fatal(err)
	}
	times, _ = p.seen()
	last := times[len(times)-1]
	times, _ = p.play(5, nil)
	if gap := times[0].Sub(last); gap < 0 || gap > 200*time.Millisecond {
		t.Errorf("after the pause it goes on at %v, having stopped at %v", times[0], last)
	}
	times, res := p.play(0, base.Header{"Range": {from(58)}, "Scale": {"2"}})
	starts("twice as fast", times, day.Add(58*time.Second))
	if n := len(times); n != 50 {
		t.Errorf("%d pictures up to the end of what was asked for: %v; %v", n, times, res)
	}
	p.Close()

	edge := time.Now().Add(-delay)
	begin := edge.Add(-2 * time.Second).Truncate(time.Second)
	p = replaying(t, address("starttime="+begin.UTC().Format("20060102T150405Z")))
	times, _ = p.play(75, base.Header{"Rate-Control": {"no"}}) // all at once up to the edge, then as that moves
	starts("what is almost too new", times, begin)
	if last := times[len(times)-1]; last.After(time.Now().Add(-delay)) {
		t.Errorf("it may be seen up to %v, and shows %v", time.Now().Add(-delay), last)
	}
	owner.must("PUT", "/shares/"+share+"/devices/"+device.ID, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Error("it plays on without the privilege")
	}
}
