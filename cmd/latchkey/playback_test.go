package main

import (
	"testing"
	"time"
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
