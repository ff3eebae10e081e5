package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// pageViewer watches as a page does, by Media Source Extensions.
type pageViewer struct {
	mu       sync.Mutex
	mime     string
	file     []byte
	parts    int
	code     string // of the end
	closed   bool
	lastPart time.Time
}

// watchMSE opens the WebSocket of a channel.
func watchMSE(t testing.TB, u *user, device, query string) *pageViewer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ws, _, err := websocket.Dial(ctx, "ws://"+u.api.host+"/api/v1/devices/"+device+"/channels/1/mse"+query, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + u.token}},
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ws.SetReadLimit(16 << 20)
	v := &pageViewer{}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			kind, data, err := ws.Read(ctx)
			v.mu.Lock()
			if err != nil {
				v.closed = true
				v.mu.Unlock()
				return
			}
			if kind == websocket.MessageText {
				var told struct {
					MIME string
					End  struct{ Code string }
				}
				_ = json.Unmarshal(data, &told)
				v.mime, v.code = told.MIME, told.End.Code
			} else {
				v.file = append(v.file, data...)
				v.parts++
				v.lastPart = time.Now()
			}
			v.mu.Unlock()
		}
	})
	t.Cleanup(func() { cancel(); _ = ws.CloseNow(); reading.Wait() })
	return v
}

func (v *pageViewer) seen() (mime, code string, parts int, file []byte, closed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mime, v.code, v.parts, bytes.Clone(v.file), v.closed
}

func (v *pageViewer) count() int { _, _, n, _, _ := v.seen(); return n }

// ends waits until the viewer is told why it ends.
func (v *pageViewer) ends(t testing.TB, want string) {
	t.Helper()
	eventually(t, "the viewer ends", func() bool { _, _, _, _, closed := v.seen(); return closed })
	if _, code, _, _, _ := v.seen(); code != want {
		t.Errorf("the viewer ended with %q, want %q", code, want)
	}
}

// published is a camera of the owner that ffmpeg plays, encoded as the arguments say.
func published(t *testing.T, s *service, secure string, owner *user, args ...string) (device string) {
	t.Helper()
	var added struct{ ID string }
	owner.must("POST", "/devices", map[string]any{"name": "Barn", "published": true}, &added)
	var key struct{ Name, Secret string }
	owner.must("POST", "/stream-keys", map[string]any{"device": added.ID, "publish_channel": 1, "label": "barn"}, &key)
	at := (&url.URL{Scheme: "rtsps", User: url.UserPassword(key.Name, key.Secret), Host: secure, Path: "/" + added.ID + "/1"}).String()
	camera := newProcess("ffmpeg", append(append([]string{"-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000"}, args...),
		"-f", "rtsp", "-rtsp_transport", "tcp", at)...)
	camera.launch(t)
	return added.ID
}

// serveRTSPS starts a service that cameras can publish to.
func serveRTSPS(t *testing.T, more ...string) (s *service, secure string) {
	t.Helper()
	certFile, keyFile := doorCertificate(t)
	secure = freeAddr(t)
	return serve(t, binary, t.TempDir(), append([]string{"--rtsps", secure, "--rtsps-cert", certFile, "--rtsps-key", keyFile}, more...)...), secure
}

// TestMSEPlaysWhatCamerasSend: the real binary shows H.264 with B-frames and H.265 such
// that ffmpeg decodes all of it, with the sound as it was.
func TestMSEPlaysWhatCamerasSend(t *testing.T) {
	t.Parallel()
	s, secure := serveRTSPS(t)
	owner := s.register(t, "owner")
	for _, c := range []struct {
		name, mime string
		args       []string
	}{
		{"H.264 with B-frames and PCMU", `video/mp4; codecs="avc1.`, []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "25", "-pix_fmt", "yuv420p", "-threads", "1", "-c:a", "pcm_mulaw"}},
		{"H.265 and AAC", `video/mp4; codecs="hvc1.`, []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=25:bframes=2:pools=none:frame-threads=1", "-pix_fmt", "yuv420p", "-c:a", "aac"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			device := published(t, s, secure, owner, c.args...)
			var v *pageViewer
			eventually(t, "the camera plays", func() bool {
				v = watchMSE(t, owner, device, "")
				eventually(t, "something comes", func() bool { _, code, n, _, _ := v.seen(); return code != "" || n > 0 })
				_, code, _, _, _ := v.seen()
				return code == ""
			})
			eventually(t, "some seconds are played", func() bool { return v.count() > 200 })
			mime, _, _, file, _ := v.seen()
			if !strings.HasPrefix(mime, c.mime) || !strings.Contains(mime, ",") {
				t.Errorf("the type is %s", mime)
			}
			cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-xerror", "-i", "-", "-f", "null", "-")
			cmd.Stdin = bytes.NewReader(file)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("ffmpeg: %v: %s", err, out)
			}
			probe := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "csv=p=0", "-")
			probe.Stdin = bytes.NewReader(file)
			out, err := probe.Output()
			var frames [2]int
			for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
				if name, n, ok := strings.Cut(line, ","); ok && i < 2 {
					t.Logf("%s: %s frames", name, n)
					_, _ = fmt.Sscan(n, &frames[i])
				}
			}
			if err != nil || frames[0] < 50 || frames[1] < 10 {
				t.Errorf("decoded: %v, %v", frames, err)
			}
		})
	}
}

// TestMSEEndsWithWhatItNeeds: a viewer is listed and recorded, gets nothing after the answer
// of the command that takes live view away, and ends with its session and by the owner.
func TestMSEEndsWithWhatItNeeds(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.3.14")
	s := serve(t, binary, t.TempDir())
	owner, rita := s.register(t, "olga"), s.register(t, "rita")
	var added struct{ ID string }
	owner.must("POST", "/devices", simCamera(cam, "Door"), &added)
	device := added.ID
	share := owner.share(rita, device, "live_view")
	watchMSE(t, rita, device, "").ends(t, "device_not_found")
	rita.accept(share, device)

	plays := func(u *user, query string) *pageViewer {
		t.Helper()
		v := watchMSE(t, u, device, query)
		eventually(t, "pictures come", func() bool { return v.count() > 20 })
		return v
	}
	viewers := func() (list []struct{ ID, Transport, Share, Address string }) {
		var page struct {
			Items []struct{ ID, Transport, Share, Address string }
		}
		owner.must("GET", "/devices/"+device+"/viewers", nil, &page)
		return page.Items
	}
	cutWhile := func(v *pageViewer, what string, command func()) {
		t.Helper()
		command()
		at := time.Now()
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.lastPart.After(at) {
			t.Errorf("%s: something came after the answer", what)
		}
	}

	first := plays(rita, "?stream=sub")
	if list := viewers(); len(list) != 1 || list[0].Transport != "mse" || list[0].Share != share || list[0].Address != "127.0.0.1" {
		t.Errorf("the viewers: %+v", list)
	}
	cutWhile(first, "ended by the owner", func() { owner.must("DELETE", "/devices/"+device+"/viewers/"+viewers()[0].ID, nil, nil) })
	first.ends(t, "viewer_ended")

	second := plays(rita, "")
	cutWhile(second, "live view taken away", func() {
		owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"playback"}}}}, nil)
	})
	n := second.count()
	second.ends(t, "privilege_missing")
	if after := second.count(); after != n {
		t.Errorf("%d parts came after the answer", after-n)
	}
	watchMSE(t, rita, device, "").ends(t, "privilege_missing")

	third := plays(owner, "")
	cutWhile(third, "the session ended", func() { owner.must("DELETE", "/sessions/current", nil, nil) })
	third.ends(t, "unauthenticated")

	if res, err := http.Get("http://" + s.http + "/api/v1/devices/" + device + "/channels/1/mse"); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a session: %v, %v", res, err)
	}
	if err := rita.call("GET", "/devices/"+device+"/channels/1/mse", nil, nil); !hasCode(err, "privilege_missing") {
		t.Errorf("a request that is none for a WebSocket, without live view: %v", err)
	}
}
