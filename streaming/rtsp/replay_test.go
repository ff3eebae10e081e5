package rtsp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/internal/simcamera"
	"latchkey/streaming/playback"
	"latchkey/streaming/upstream"
)

// withRecorder is a house whose device dev-1 is a simulated recorder.
func withRecorder(t *testing.T, change ...func(*simcamera.Config)) *house {
	t.Helper()
	cfg := simcamera.Config{RTSP: "127.0.0.1:0", Username: "admin", Password: "camera-pass", Channels: 1, Silent: true}
	for _, f := range change {
		f(&cfg)
	}
	cam, err := simcamera.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cam.Close() })
	h := open(t, nil)
	h.sources.set("dev-1", 1, upstream.Main, upstream.Source{URL: cam.URL(1, false), Username: "admin", Password: "camera-pass"})
	h.grants.grant("ann", "dev-1", 1, privilege.Playback|privilege.LiveView)
	return h
}

const recorded = "/dev-1/1/playback?starttime=20260101T100000Z&endtime=20260101T110000Z"

var ten = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)

// replaying starts a player that is set up.
func (h *house) replaying(t *testing.T, path, transport string) *player {
	t.Helper()
	p := h.player(t, path, annKey)
	for _, step := range []func() (*reply, error){p.describe, func() (*reply, error) { return p.setup(transport) }} {
		if r, err := step(); err != nil || r.status != 200 {
			t.Fatalf("%v, %v", r, err)
		}
	}
	return p
}

// TestPlaysBack: what a player is told of a recording is right.
func TestPlaysBack(t *testing.T) {
	h := withRecorder(t)
	for _, transport := range []string{"tcp", "udp"} {
		p := h.replaying(t, recorded, transport)
		if !strings.Contains(p.sdp, "a=range:npt=0.000-3600.000\r\n") {
			t.Errorf("description %q", p.sdp)
		}
		for _, c := range []struct {
			headers []string
			want    string
		}{
			{[]string{"Range: npt=0.000-"}, "npt=0.000-3600.000"},
			{[]string{"Range: clock=20260101T103000.500Z-"}, "clock=20260101T103000.500Z-20260101T110000.000Z"},
			{[]string{"Range: npt=60-120", "Scale: 2"}, "npt=60.000-120.000"},
			{[]string{"Range: clock=20260101T103000Z-", "Scale: -1"}, "clock=20260101T103000.000Z-20260101T100000.000Z"},
		} {
			r, err := p.do("PLAY", p.url, c.headers...)
			if err != nil || r.status != 200 || r.header.Get("Range") != c.want {
				t.Fatalf("%v over %s: %+v, %v", c.headers, transport, r, err)
			}
			if len(c.headers) > 1 && "Scale: "+r.header.Get("Scale") != c.headers[1] {
				t.Errorf("Scale %q", r.header.Get("Scale"))
			}
			var seq uint16
			var timestamp uint32
			info := r.header.Get("RTP-Info")
			if _, err := fmt.Sscanf(info, "url="+p.controls[0]+";seq=%d;rtptime=%d", &seq, &timestamp); err != nil {
				t.Fatalf("RTP-Info %q for %q: %v", info, p.controls[0], err)
			}
			packet, err := p.rtp()
			if err != nil || len(packet) < 12 {
				t.Fatal(err)
			}
			for n := 0; n < 100 && transport == "udp" && upstream.Sequence(packet) != seq; n++ { // of before the PLAY
				if packet, err = p.rtp(); err != nil {
					t.Fatal(err)
				}
			}
			if upstream.Sequence(packet) != seq || upstream.Timestamp(packet) != timestamp {
				t.Errorf("%v over %s: begins with %d at %d, not %d at %d", c.headers, transport, upstream.Sequence(packet), upstream.Timestamp(packet), seq, timestamp)
			}
			if err := p.receive(20); err != nil {
				t.Error(err)
			}
		}
		if r, err := p.do("PLAY", p.url, "Range: smpte=0:10-"); err != nil || r.status != 457 {
			t.Errorf("frame numbers: %+v, %v", r, err)
		}
		if err := p.receive(60); err != nil {
			t.Errorf("what played does not go on: %v", err)
		}
		p.close()
	}
}

// rtp reads the next RTP packet.
func (p *player) rtp() ([]byte, error) {
	for {
		if p.udp[0] != nil {
			buf := make([]byte, 2048)
			_ = p.udp[0].SetReadDeadline(time.Now().Add(udpPatience))
			n, err := p.udp[0].Read(buf)
			return buf[:n], err
		}
		packet, err := p.packet()
		if err != nil || packet[1] < 192 || packet[1] > 223 {
			return packet, err
		}
	}
}

// TestONVIFReplay: what a player requires and gets of ONVIF replay passes.
func TestONVIFReplay(t *testing.T) {
	h := withRecorder(t)
	live, _ := h.sources.Camera(t.Context(), "dev-1", 1, upstream.Main)
	h.sources.replay = playback.Source{URL: strings.Replace(live.URL, "Streaming/Channels/101", "onvif/replay/recording_1", 1), Username: "admin", Password: "camera-pass", Replay: true}
	h.grants.setWindow(ten.Add(10*time.Second), ten.Add(time.Hour))
	p := h.replaying(t, recorded, "tcp")
	for _, c := range []struct{ asked, want string }{
		{"clock=20260101T100020.500Z-", "clock=20260101T100020.500Z-20260101T110000.000Z"},
		{"clock=20260101T100000.000Z-", "clock=20260101T100010.000Z-20260101T110000.000Z"}, // clipped
	} {
		r, err := p.do("PLAY", p.url, "Require: onvif-replay", "Range: "+c.asked)
		if err != nil || r.status != 200 || r.header.Get("Range") != c.want {
			t.Fatalf("%+v, %v", r, err)
		}
		packet, err := p.rtp()
		if err != nil || packet[0]&0x10 == 0 || packet[12] != 0xab || packet[13] != 0xac || packet[25] != byte(p.seq) {
			t.Errorf("a packet without its extension: %x, %v", packet[:min(len(packet), 32)], err)
		}
	}
	if err := p.receive(20); err != nil {
		t.Error(err)
	}
}

// TestPlaybackStatuses: what is refused, and how.
func TestPlaybackStatuses(t *testing.T) {
	h := withRecorder(t)
	h.grants.setWindow(ten, ten.Add(2*time.Hour))
	for path, want := range map[string]int{
		recorded: 200, "/dev-1/Streaming/tracks/101?starttime=20260101T100000Z": 200, "/dev-1/1/playback?starttime=20260101T080000": 200, // clipped
		"/dev-1/1/playback": 457, "/dev-1/1/playback?starttime=19691231T235959Z": 457, "/dev-1/1/playback?starttime=20260101T100000Z&endtime=20260101T100000Z": 457,
		"/dev-1/1/playback?starttime=20260101T130000Z":                          404,
		"/dev-1/1/playback?starttime=20260101T080000Z&endtime=20260101T090000Z": 404,
	} {
		if got := h.status(t, path, annKey); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	p := h.replaying(t, recorded, "tcp")
	for _, c := range []struct {
		header string
		want   int
	}{
		{"Range: smpte=0:10-", 457}, {"Range: npt=x-", 457}, {"Range: npt=20-10", 457}, {"Range: clock=20260101T130000Z-20260101T140000Z", 404},
		{"Scale: fast", 400}, {"Scale: 0", 400}, {"Speed: -1", 400}, {"Require: onvif-replay", 551}, {"Range: npt=0-", 200},
	} {
		if r, err := p.do("PLAY", p.url, c.header); err != nil || r.status != c.want {
			t.Errorf("%s: %+v, %v", c.header, r, err)
		}
	}
	if r, err := h.player(t, recorded, annKey).do("SETUP", "rtsp://"+h.addr+recorded+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Require: onvif-replay"); err != nil || r.status != 551 || r.header.Get("Unsupported") != "onvif-replay" {
		t.Errorf("ONVIF replay: %+v, %v", r, err)
	}
	live := h.player(t, "/dev-1/1", annKey)
	for method, path := range map[string]string{"DESCRIBE": "/dev-1/1", "SETUP": "/dev-1/1/trackID=0"} {
		if r, err := live.do(method, "rtsp://"+h.addr+path, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Require: onvif-replay"); err != nil || r.status != 551 || r.header.Get("Unsupported") != "onvif-replay" {
			t.Errorf("ONVIF replay of what is live: %s: %+v, %v", method, r, err)
		}
	}
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
	if r, err := h.player(t, recorded, annKey).do("SETUP", "rtsp://"+h.addr+recorded+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"); err != nil || r.status != 403 {
		t.Errorf("a blind SETUP: %+v, %v", r, err)
	}
}

// TestPlaybackIsTakenAlone: without playback the recording ends, and live view goes on.
func TestPlaybackIsTakenAlone(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "udp"} {
		h := withRecorder(t)
		back := h.replaying(t, recorded, transport)
		if r, err := back.play(); err != nil || r.status != 200 {
			t.Fatal(r, err)
		}
		live := h.watching(t, "/dev-1/1", annKey, "tcp")
		if err := back.receive(10); err != nil {
			t.Fatal(err)
		}
		h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
		h.recheck(t, "ann", "dev-1", "")
		for n := 0; back.receive(1) == nil; n++ {
			if n > 100 {
				t.Fatal("it plays on")
			}
		}
		if err := live.receive(30); err != nil {
			t.Errorf("live view ended, too: %v", err)
		}
		if held := h.grants.Permits.InUse("dev-1"); len(held) != 1 || held[0].Privilege != privilege.LiveView {
			t.Errorf("permits: %+v", held)
		}
	}
}

// TestPlaybackAddresses: players append the track to the Content-Base, or resolve it.
func TestPlaybackAddresses(t *testing.T) {
	t.Parallel()
	h := withRecorder(t)
	const query = "?starttime=20260101T100000Z&endtime=20260101T110000Z"
	for name, c := range map[string]struct{ base, setup, play string }{
		"ffmpeg":             {"/dev-1/1/playback/" + query + "/", "/dev-1/1/playback/" + query + "/trackID=0", "/dev-1/1/playback/" + query + "/"},
		"GStreamer":          {"/dev-1/1/playback/" + query + "/", "/dev-1/1/playback/trackID=0", "/dev-1/1/playback/" + query + "/"},
		"Hikvision's":        {"/dev-1/Streaming/tracks/101/" + query + "/", "/dev-1/Streaming/tracks/101/trackID=0" + query, "/dev-1/Streaming/tracks/101" + query},
		"without the answer": {"/dev-1/1/playback/" + query + "/", "/dev-1/1/playback" + query + "/trackID=0", "/dev-1/1/playback" + query},
	} {
		p := h.player(t, "", annKey)
		p.digest = true
		p.challenged(t)
		path, _, _ := strings.Cut(c.base, "/?")
		r, err := p.do("DESCRIBE", p.url+path+query)
		r = p.wants(200, name+": DESCRIBE", r, err)
		if got := r.header.Get("Content-Base"); got != p.url+c.base {
			t.Errorf("%s: Content-Base %q", name, got)
		}
		r, err = p.setupAt(p.url + c.setup)
		p.wants(200, name+": SETUP", r, err)
		r, err = p.do("PLAY", p.url+c.play)
		p.wants(200, name+": PLAY", r, err)
		if got := r.header.Get("RTP-Info"); !strings.HasPrefix(got, "url="+p.url+c.setup+";") {
			t.Errorf("%s: RTP-Info %q", name, got)
		}
		if err := p.receive(3); err != nil {
			t.Error(err)
		}
		p.close()
	}
}

// TestPlaybackEnds: at the end players are told, and sent away if they stay.
func TestPlaybackEnds(t *testing.T) {
	t.Parallel()
	h := withRecorder(t)
	h.grants.setWindow(ten, ten.Add(time.Second))
	p := h.replaying(t, recorded, "tcp")
	if r, err := p.play(); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	packets, byes := 0, 0
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		packet, err := p.packet()
		if err != nil {
			break
		}
		switch packet[1] {
		case 201: // a receiver report, with BYE
			byes++
		case 96 | 0x80:
			packets++
		}
	}
	if packets != 25 || byes != 1 {
		t.Errorf("%d pictures and %d BYE", packets, byes)
	}
}

// TestPlaybackPauses: nothing comes while it is paused, and then it goes on.
func TestPlaybackPauses(t *testing.T) {
	h := withRecorder(t)
	p := h.replaying(t, recorded, "tcp")
	if r, err := p.play(); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	if err := p.receive(30); err != nil {
		t.Fatal(err)
	}
	if r, err := p.do("PAUSE", p.url); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	if r, err := p.do("PLAY", p.url); err != nil || r.status != 200 || !strings.HasPrefix(r.header.Get("Range"), "clock=20260101T10000") {
		t.Fatal(r, err)
	}
	if err := p.receive(30); err != nil {
		t.Fatal(err)
	}
	h.grants.revokeKey("kann")
	h.recheck(t, "", "", "kann")
	eventually(t, "the end", func() bool { return len(h.grants.Permits.InUse("dev-1")) == 0 })
}

// TestDescribedAndLeft: what was described and not set up ends with the connection, and
// with the privilege.
func TestDescribedAndLeft(t *testing.T) {
	h := withRecorder(t)
	var last *player
	for range 8 { // more than one account may play
		last = h.player(t, recorded, annKey)
		eventually(t, "the description", func() bool {
			r, err := last.describe()
			return err == nil && r.status == 200
		})
		last.close()
	}
	var list []*player
	for n := range 6 {
		p := h.player(t, recorded, annKey)
		list = append(list, p)
		want := 200
		if n >= 4 {
			want = 453
		}
		eventually(t, "the description", func() bool {
			r, err := p.describe()
			return err == nil && r.status == want
		})
	}
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
	h.recheck(t, "ann", "dev-1", "")
	if r, err := list[0].setup("tcp"); err != nil || r.status != 403 {
		t.Errorf("setting up what was taken away: %+v, %v", r, err)
	}
	h.grants.grant("ann", "dev-1", 1, privilege.Playback)
	eventually(t, "the description", func() bool {
		r, err := list[5].describe()
		return err == nil && r.status == 200
	})
}
