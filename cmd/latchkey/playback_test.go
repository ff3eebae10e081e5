package main

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"latchkey/internal/simcamera/picture"
)

// TestPlaybackIsNoLiveView: whoever may play back and not view live gets recordings once
// they are as old as --playback-delay says, and is shown that; the owner, and whoever may
// view live, get all; since the acceptance, there is nothing yet.
func TestPlaybackIsNoLiveView(t *testing.T) {
	const delay = 20 * time.Minute
	s := serve(t, binary, t.TempDir(), "--playback-delay", delay.String())
	owner, guest := s.register(t, "owner"), s.register(t, "guest")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", cameraUser, cameraPassword)
	share := owner.share(guest, device, "playback")
	guest.accept(share, device)
	type check struct {
		Allowed  bool
		Reason   string
		Playback struct{ From, To time.Time }
	}
	ask := func(who *user) (c check) {
		t.Helper()
		who.must("GET", "/privileges/check?channel=1&privilege=playback&device="+device, nil, &c)
		return c
	}
	upTo := func(when string, c check, held time.Duration) {
		t.Helper()
		if off := time.Since(c.Playback.To.Add(held)); !c.Allowed || !c.Playback.From.IsZero() || off < 0 || off > time.Minute {
			t.Errorf("%s: %+v", when, c)
		}
	}
	shown := func(who *user) int {
		t.Helper()
		var of struct {
			Devices []struct {
				Channels []struct {
					PlaybackDelay int `json:"playback_delay"`
				}
			}
		}
		who.must("GET", "/shares/"+share, nil, &of)
		return of.Devices[0].Channels[0].PlaybackDelay
	}
	put := func(body map[string]any) {
		t.Helper()
		owner.must("PUT", "/shares/"+share+"/devices/"+device, body, nil)
	}
	channel := func(privileges ...string) []any {
		return []any{map[string]any{"channel": 1, "privileges": privileges}}
	}
	upTo("playback alone", ask(guest), delay)
	upTo("the owner", ask(owner), 0)
	if a, b := shown(guest), shown(owner); a != 1200 || b != 1200 {
		t.Errorf("the delay is shown as %d and %d seconds", a, b)
	}
	put(map[string]any{"channels": channel("playback", "live_view")})
	upTo("with live view", ask(guest), 0)
	if n := shown(guest); n != 0 {
		t.Errorf("with live view a delay of %d seconds is shown", n)
	}
	put(map[string]any{"channels": channel("playback"), "terms": map[string]any{"playback": map[string]any{"since_acceptance": true}}})
	if c := ask(guest); c.Allowed || c.Reason != "not_now" {
		t.Errorf("since the acceptance, a moment ago: %+v", c)
	}
	put(map[string]any{"channels": channel("playback", "live_view")})
	if c := ask(guest); !c.Allowed || c.Playback.From.IsZero() || time.Since(c.Playback.From) > time.Hour {
		t.Errorf("since the acceptance, with live view: %+v", c)
	}
	put(map[string]any{"channels": channel("live_view")})
	if c := ask(guest); c.Allowed || c.Reason != "not_granted" {
		t.Errorf("no playback: %+v", c)
	}
}

// showing plays a recording with ffmpeg, which ends by itself, and returns what its
// pictures show.
func showing(t *testing.T, url string) (list []time.Time) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "timeout", "60", "ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", url,
		"-an", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	const size = 640 * 360
	for i := 0; i+size <= len(out); i += size {
		at, err := picture.ReadClock(out[i:], 640, 360)
		if err != nil {
			t.Fatalf("picture %d: %v", i/size, err)
		}
		list = append(list, at)
	}
	return list
}

// TestFFmpegPlaysBack: the owner three seconds of a day; a recipient whose playback begins
// with the acceptance nothing from before it.
func TestFFmpegPlaysBack(t *testing.T) {
	cam := startSimCamera(t, "127.2.1.9")
	s := serve(t, binary, t.TempDir())
	owner, guest := s.register(t, "owner"), s.register(t, "guest")
	var device deviceAnswer
	owner.must("POST", "/devices", simCamera(cam, "Door"), &device)
	share := owner.share(guest, device.ID, "playback", "live_view")
	owner.must("PUT", "/shares/"+share+"/devices/"+device.ID, map[string]any{
		"channels": []any{map[string]any{"channel": 1, "privileges": []string{"playback", "live_view"}}},
		"terms":    map[string]any{"playback": map[string]any{"since_acceptance": true}},
	}, nil)
	accepted := time.Now().Truncate(100 * time.Millisecond) // as pictures show it
	guest.accept(share, device.ID)
	url := func(key string, from, to time.Time) string {
		const layout = "20060102T150405Z"
		return fmt.Sprintf("rtsp://%s@%s/%s/1/playback?starttime=%s&endtime=%s", key, s.rtsp, device.ID, from.UTC().Format(layout), to.UTC().Format(layout))
	}
	day := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	if list := showing(t, url(owner.streamKey(), day, day.Add(3*time.Second))); len(list) != 75 || !list[0].Equal(day) {
		t.Errorf("the owner sees %d pictures from %v", len(list), list)
	}
	list := showing(t, url(guest.streamKey(), accepted.Add(-time.Minute), accepted.Add(3*time.Second)))
	if len(list) < 25 {
		t.Errorf("the guest sees %d pictures", len(list))
	}
	for _, at := range list {
		if at.Before(accepted) || at.After(accepted.Add(3*time.Second)) {
			t.Fatalf("the guest sees %v, having accepted at %v", at, accepted)
		}
	}
	if status := describeStatus(t, s.rtsp, "/"+device.ID+"/1/playback?starttime=20260101T100000Z&endtime=20260101T110000Z", guest.streamKey()); status != 404 {
		t.Errorf("what is before the acceptance: status %d", status)
	}
}
