package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// startHLS begins a viewer, and returns the path of its playlist.
func startHLS(u *user, device, query string) (playlist string, err error) {
	var started struct{ Playlist string }
	err = u.call("POST", "/devices/"+device+"/channels/1/hls"+query, nil, &started)
	return strings.TrimPrefix(started.Playlist, "/api/v1"), err
}

// TestHLSPlaysWhatCamerasSend: ffmpeg plays H.264 with B-frames, H.265, and groups of pictures
// that are longer than a segment, as a player does, and decodes all of it, with the sound.
func TestHLSPlaysWhatCamerasSend(t *testing.T) {
	t.Parallel()
	s, secure := serveRTSPS(t)
	owner := s.register(t, "owner")
	for _, c := range []struct {
		name, seconds string
		frames        int
		args          []string
	}{
		{"H.264 with B-frames and PCMU", "5", 120, []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "25", "-pix_fmt", "yuv420p", "-threads", "1", "-c:a", "pcm_mulaw"}},
		{"H.265 and AAC", "5", 120, []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=25:bframes=2:pools=none:frame-threads=1", "-pix_fmt", "yuv420p", "-c:a", "aac"}},
		{"key frames far apart", "8", 195, []string{"-c:v", "libx264", "-preset", "veryfast", "-g", "225", "-keyint_min", "225", "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-threads", "1", "-c:a", "pcm_alaw"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			device := published(t, s, secure, owner, c.args...)
			var playlist string
			eventually(t, "the camera plays", func() (ok bool) {
				var err error
				playlist, err = startHLS(owner, device, "")
				return err == nil
			})
			cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-xerror", "-nostats", "-progress", "pipe:1", "-headers", "Authorization: Bearer "+owner.token+"\r\n",
				"-i", "http://"+s.http+"/api/v1"+playlist, "-t", c.seconds, "-f", "null", "-")
			var said strings.Builder
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil || said.Len() > 0 {
				t.Errorf("ffmpeg: %v: %s", err, said.String())
			}
			frames := 0
			if at := strings.LastIndex(string(out), "frame="); at >= 0 {
				_, _ = fmt.Sscanf(string(out)[at:], "frame=%d", &frames)
			}
			if frames < c.frames {
				t.Errorf("%d frames of %s seconds were decoded", frames, c.seconds)
			}
			owner.must("DELETE", playlist[:strings.LastIndex(playlist, "/")], nil, nil)
		})
	}
}

// TestHLSEndsWithWhatItNeeds: a viewer is its account's and its session's, is listed once,
// says why it was ended, and ends with its session, or by itself.
func TestHLSEndsWithWhatItNeeds(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.3.15")
	s := serve(t, binary, t.TempDir())
	owner, rita := s.register(t, "olga"), s.register(t, "rita")
	var added struct{ ID string }
	owner.must("POST", "/devices", simCamera(cam, "Door"), &added)
	device := added.ID
	share := owner.share(rita, device, "live_view")
	if _, err := startHLS(rita, device, ""); !hasCode(err, "device_not_found") {
		t.Errorf("before it is accepted: %v", err)
	}
	rita.accept(share, device)

	get := func(u *user, path string) (status int, code, body string) {
		t.Helper()
		r, err := http.NewRequest("GET", "http://"+s.http+"/api/v1"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+u.token)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		raw, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		var p struct{ Code string }
		_ = json.Unmarshal(raw, &p)
		return a.StatusCode, p.Code, string(raw)
	}
	plays := func(u *user, query string) (playlist, segment string) {
		t.Helper()
		playlist, err := startHLS(u, device, query)
		if err != nil {
			t.Fatal(err)
		}
		status, _, list := get(u, playlist)
		if status != http.StatusOK {
			t.Fatalf("the playlist: %d %s", status, list)
		}
		at := strings.LastIndex(playlist, "/") + 1
		for line := range strings.Lines(list) {
			if !strings.HasPrefix(line, "#") {
				segment = playlist[:at] + strings.TrimSpace(line)
			}
		}
		if status, _, body := get(u, segment); status != http.StatusOK || len(body) < 1000 {
			t.Fatalf("%s: %d, %d bytes", segment, status, len(body))
		}
		return playlist, segment
	}
	refused := func(u *user, path, code string) {
		t.Helper()
		if _, got, body := get(u, path); got != code {
			t.Errorf("%s: %.200s, want %s", path, body, code)
		}
	}
	viewers := func() (list []struct{ ID, Transport, Share, Address string }) {
		var page struct {
			Items []struct{ ID, Transport, Share, Address string }
		}
		owner.must("GET", "/devices/"+device+"/viewers", nil, &page)
		return page.Items
	}

	playlist, segment := plays(rita, "?stream=sub")
	if list := viewers(); len(list) != 1 || list[0].Transport != "hls" || list[0].Share != share || list[0].Address != "127.0.0.1" {
		t.Errorf("the viewers: %+v", list)
	}
	again := s.login(t, "rita")
	for _, u := range []*user{owner, again} {
		for _, path := range []string{playlist, segment} {
			refused(u, path, "viewer_not_found")
		}
		if err := u.call("DELETE", strings.TrimSuffix(playlist, "/index.m3u8"), nil, nil); !hasCode(err, "viewer_not_found") {
			t.Errorf("the end of somebody else's viewer: %v", err)
		}
	}
	refused(rita, strings.TrimSuffix(playlist, "index.m3u8")+"x.m4s", "not_found")
	owner.must("DELETE", "/devices/"+device+"/viewers/"+viewers()[0].ID, nil, nil)
	refused(rita, playlist, "viewer_ended")
	refused(rita, segment, "viewer_ended")

	playlist, segment = plays(rita, "")
	owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"playback"}}}}, nil)
	refused(rita, playlist, "privilege_missing")
	refused(rita, segment, "privilege_missing")
	if _, err := startHLS(rita, device, ""); !hasCode(err, "privilege_missing") {
		t.Errorf("without live view: %v", err)
	}

	playlist, _ = plays(owner, "")
	owner.must("DELETE", strings.TrimSuffix(playlist, "/index.m3u8"), nil, nil)
	refused(owner, playlist, "viewer_not_found")
	plays(owner, "")
	if list := viewers(); len(list) != 1 {
		t.Errorf("the viewers: %+v", list)
	}
	began := time.Now()
	eventually(t, "a viewer that asks no more ends", func() bool { return len(viewers()) == 0 })
	if after := time.Since(began); after < 10*time.Second {
		t.Errorf("it has ended after %v", after)
	}
	playlist, _ = plays(owner, "")
	owner.must("DELETE", "/sessions/current", nil, nil)
	refused(owner, playlist, "unauthenticated")
}
