package rtsp

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// TestOneUpstreamForAll: viewers who come together share one dial, and the
// camera is left some time after the last.
func TestOneUpstreamForAll(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			p, err := h.dial([]string{"/dev-1/1", "/dev-1/Streaming/Channels/101", "/dev-1/1/sub"}[n%3], annKey)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.close()
			if status, err := p.watch("tcp"); status != 200 {
				t.Error(status, err)
			} else if err := p.receive(5); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := camera.Dials.Load(); n != 1 {
		t.Errorf("the camera was dialled %d times", n)
	}
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
	if got := h.status(t, "/dev-1/1", annKey); got != 200 {
		t.Errorf("coming back: %d", got)
	}
}

func TestCameraThatDropsEndsItsViewers(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera)
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	camera.Close()
	if _, err := p.drain(); err == nil {
		t.Error("the viewer is not ended")
	}
	eventually(t, "the viewer is forgotten", func() bool { return h.viewers.count() == 0 })
	r, err := h.player(t, "/dev-1/1", annKey).describe()
	if err != nil || r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("the camera is away: %v, %v", r, err)
	}
	again := (&cameratest.Camera{Addr: camera.Addr}).Start(t)
	eventually(t, "the camera is back", func() bool { return h.status(t, "/dev-1/1", annKey) == 200 })
	again.Close()
}

func TestSilentCameraIsDead(t *testing.T) {
	camera := (&cameratest.Camera{Rate: 1000, Frame: 1_000_000}).Start(t) // a frame in a quarter of an hour
	h := open(t, camera, func(c *config) { c.Up.SilenceLimit = 300 * time.Millisecond })
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	if _, err := p.drain(); err == nil {
		t.Error("the viewer is not ended")
	}
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
}

// TestHostileCameras: whatever a camera says, viewers get 503 in bounded time,
// and nothing is left behind.
func TestHostileCameras(t *testing.T) {
	var elsewhere atomic.Int32
	other := cameratest.Listen(t, func(conn net.Conn) {
		text, _ := io.ReadAll(conn)
		if strings.Contains(string(text), "uthorization") {
			elsewhere.Add(1)
		}
	})
	ok := func(cseq string) string { return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\n" }
	for name, say := range map[string]func(method, cseq string) string{
		"endless headers": func(_, cseq string) string {
			return ok(cseq) + strings.Repeat("X: "+strings.Repeat("x", 2000)+"\r\n", 1000)
		},
		"a giant header": func(_, cseq string) string { return ok(cseq) + "X: " + strings.Repeat("x", 10<<20) },
		"a giant SDP": func(_, cseq string) string {
			return cameratest.WithSDP(cseq, cameratest.SDP+strings.Repeat("a=x\r\n", 20000))
		},
		"a giant length":  func(_, cseq string) string { return ok(cseq) + "Content-Length: 99999999999\r\n\r\n" },
		"garbage":         func(_, _ string) string { return strings.Repeat("\x00\xff\x80garbage", 1000) },
		"frames too soon": func(_, _ string) string { return "$\x00\x00\x04abcd" },
		"a redirect": func(_, cseq string) string {
			return "RTSP/1.0 301 Moved\r\nCSeq: " + cseq + "\r\nLocation: rtsp://" + other + "/x\r\n\r\n"
		},
		"a redirect of DESCRIBE": func(method, cseq string) string {
			if method == "OPTIONS" {
				return ok(cseq) + "\r\n"
			}
			return "RTSP/1.0 302 Found\r\nCSeq: " + cseq + "\r\nLocation: rtsp://" + other + "/x\r\n\r\n"
		},
		"no media": func(_, cseq string) string { return cameratest.WithSDP(cseq, "v=0\r\ns=x\r\nt=0 0\r\n") },
		"only metadata": func(_, cseq string) string {
			return cameratest.WithSDP(cseq, strings.Replace(cameratest.SDP, "m=video", "m=application", 1))
		},
		"another method": func(_, _ string) string {
			return "ANNOUNCE rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"
		},
		"closes": func(_, _ string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			addr := cameratest.Listen(t, func(conn net.Conn) { cameratest.Script(conn, say) })
			h := open(t, nil, func(c *config) { c.Up.DialTimeout = time.Second })
			h.sources.set("dev-1", 1, upstream.Main, upstream.Source{URL: "rtsp://" + addr + "/x", Username: "camera-user", Password: "camera-password"})
			r, err := h.player(t, "/dev-1/1", annKey).describe()
			if err != nil || r.status != 503 || r.body != "" || strings.Contains(fmt.Sprint(r.header), "camera") {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("credentials were sent to where a camera redirects to")
	}
}

// TestBrokenPackets: a camera that sends garbage as RTP and RTCP ends nothing
// but, perhaps, its own stream.
func TestBrokenPackets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	addr := cameratest.Listen(t, func(conn net.Conn) {
		cameratest.Script(conn, func(method, cseq string) string {
			head := "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: x;timeout=4294967295\r\n"
			switch method {
			case "DESCRIBE":
				return cameratest.WithSDP(cseq, cameratest.SDP+"m=video 0 RTP/AVP 97 97 98\r\na=rtpmap:97 H265/90000\r\na=rtpmap:98 x/0\r\na=control:trackID=1\r\n")
			case "SETUP":
				n := 0
				if cseq != "3" {
					n = 2
				}
				return fmt.Sprintf("%sTransport: RTP/AVP/TCP;unicast;source=203.0.113.9;interleaved=%d-%d\r\n\r\n", head, n, n+1)
			case "PLAY":
				var b strings.Builder
				b.WriteString(head + "\r\n")
				for range 3000 {
					body := make([]byte, rng.IntN(3000))
					for i := range body {
						body[i] = byte(rng.Uint32())
					}
					if len(body) > 2 {
						body[0], body[1] = 0x80|body[0]&0x3f, byte(96+rng.IntN(3))
					}
					b.WriteString(string([]byte{'$', byte(rng.IntN(5)), byte(len(body) >> 8), byte(len(body))}))
					b.Write(body)
				}
				return b.String()
			default:
				return head + "\r\n"
			}
		})
	})
	h := open(t, nil, func(c *config) { c.Up.SilenceLimit = time.Second })
	h.sources.set("dev-1", 1, upstream.Main, upstream.Source{URL: "rtsp://" + addr + "/x"})
	p := h.player(t, "/dev-1/1", annKey)
	if status, err := p.watch("tcp"); status != 200 {
		t.Fatalf("%d, %v", status, err)
	}
	_, _ = p.drain() // until it is given up
	eventually(t, "the upstream is over", func() bool { return h.upstreams(t, "flowing")+h.upstreams(t, "dialing") == 0 })
}

// TestNeverTwoDialsAtOnce: however many viewers ask for however many channels of
// a camera that fails in every way, it is dialled once at a time, ever more
// seldom, and viewers hear so at once.
func TestNeverTwoDialsAtOnce(t *testing.T) {
	var now, most, dials atomic.Int32
	addr := cameratest.Listen(t, func(conn net.Conn) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		switch dials.Add(1) % 3 {
		case 0: // closes at once
		case 1:
			_, _ = io.ReadFull(conn, make([]byte, 10))
			_, _ = io.WriteString(conn, "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		default: // says nothing
			_, _ = io.Copy(io.Discard, conn)
		}
	})
	h := open(t, nil, func(c *config) { c.Up.DialTimeout = 300 * time.Millisecond })
	for ch := 1; ch <= 4; ch++ {
		h.grants.grant("ann", "dev-1", ch, privilege.LiveView)
		h.sources.set("dev-1", ch, upstream.Main, upstream.Source{URL: "rtsp://" + addr + "/x"})
	}
	end := time.Now().Add(3 * time.Second)
	var wg sync.WaitGroup
	var asked atomic.Int32
	for n := range 8 {
		wg.Go(func() {
			for time.Now().Before(end) {
				if got := h.status(t, fmt.Sprintf("/dev-1/%d", n%4+1), annKey); got != 503 {
					t.Errorf("status %d", got)
					return
				}
				asked.Add(1)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d connections at once", most.Load())
	}
	if n := dials.Load(); n < 2 || n > 20 {
		t.Errorf("%d dials in three seconds", n)
	}
	if asked.Load() < 10*dials.Load() {
		t.Errorf("%d answers for %d dials: viewers wait", asked.Load(), dials.Load())
	}
}
