package streaming

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtp"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/domain/privilege"
)

// TestOneUpstreamForAll: viewers who come together share one dial, and the
// camera is left some time after the last.
func TestOneUpstreamForAll(t *testing.T) {
	camera := (&fakeCamera{}).start(t)
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
	if n := camera.dials.Load(); n != 1 {
		t.Errorf("the camera was dialled %d times", n)
	}
	eventually(t, "the camera is left", func() bool { return camera.open.Load() == 0 })
	if got := h.status(t, "/dev-1/1", annKey); got != 200 {
		t.Errorf("coming back: %d", got)
	}
}

// TestCamerasAsTheyAre: with Basic, with Digest, and one that refuses TCP.
func TestCamerasAsTheyAre(t *testing.T) {
	for name, camera := range map[string]*fakeCamera{
		"basic":    {user: "admin", password: "p@ss w/rd", methods: []auth.VerifyMethod{auth.VerifyMethodBasic}},
		"digest":   {user: "admin", password: "p@ss:w/rd", methods: []auth.VerifyMethod{auth.VerifyMethodDigestMD5}},
		"UDP only": {noTCP: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, camera.start(t))
			p := h.watching(t, "/dev-1/1", annKey, "tcp")
			if err := p.receive(30); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCameraThatDropsEndsItsViewers(t *testing.T) {
	camera := (&fakeCamera{}).start(t)
	h := open(t, camera)
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	camera.close()
	if _, err := p.drain(); err == nil {
		t.Error("the viewer is not ended")
	}
	eventually(t, "the viewer is forgotten", func() bool { return h.viewers.count() == 0 })
	r, err := h.player(t, "/dev-1/1", annKey).describe()
	if err != nil || r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("the camera is away: %v, %v", r, err)
	}
	again := (&fakeCamera{addr: camera.addr}).start(t)
	eventually(t, "the camera is back", func() bool { return h.status(t, "/dev-1/1", annKey) == 200 })
	again.close()
}

// listenAs is a camera by hand: serve is called for each connection.
func listenAs(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(t.Context(), func() { conn.Close() })
				defer stop()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// TestNeverTwoDialsAtOnce: however many viewers ask for however many channels of
// a camera that fails in every way, it is dialled once at a time, ever more
// seldom, and viewers hear so at once.
func TestNeverTwoDialsAtOnce(t *testing.T) {
	var now, most, dials atomic.Int32
	addr := listenAs(t, func(conn net.Conn) {
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
	h := open(t, nil, func(c *Config) { c.DialTimeout = 300 * time.Millisecond })
	for ch := 1; ch <= 4; ch++ {
		h.grants.grant("ann", "dev-1", ch, privilege.LiveView)
		h.sources.set("dev-1", ch, Main, Source{URL: "rtsp://" + addr + "/x"})
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

func TestBackoffGrows(t *testing.T) {
	var b backoff
	now := time.Unix(1e9, 0)
	for n, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000, 30000, 30000, 30000} {
		want *= time.Millisecond
		b.failed(now)
		if wait := b.until.Sub(now); wait < want/2 || wait > want {
			t.Errorf("failure %d: %v, want %v to %v", n+1, wait, want/2, want)
		}
	}
}

func TestSilentCameraIsDead(t *testing.T) {
	camera := (&fakeCamera{rate: 1000, frame: 1_000_000}).start(t) // a frame in a quarter of an hour
	h := open(t, camera, func(c *Config) { c.SilenceLimit = 300 * time.Millisecond })
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	if _, err := p.drain(); err == nil {
		t.Error("the viewer is not ended")
	}
	eventually(t, "the camera is left", func() bool { return camera.open.Load() == 0 })
}

// TestPolicyIsAskedOfTheResolvedAddress: and nothing is dialled that it denies.
func TestPolicyIsAskedOfTheResolvedAddress(t *testing.T) {
	camera := (&fakeCamera{}).start(t)
	var mu sync.Mutex
	var asked []netip.Addr
	h := open(t, camera, func(c *Config) {
		c.Allow = func(a netip.Addr) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, a)
			return errors.New("no")
		}
	})
	_, port, _ := net.SplitHostPort(camera.addr)
	h.sources.set("dev-1", 1, Main, Source{URL: "rtsp://localhost:" + port + "/x"})
	if got := h.status(t, "/dev-1/1", annKey); got != 503 {
		t.Errorf("status %d", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) == 0 || !asked[0].IsLoopback() || camera.dials.Load() != 0 {
		t.Errorf("asked of %v, dialled %d times", asked, camera.dials.Load())
	}
}

// script answers each request of a client with what say gives for its method.
func script(conn net.Conn, say func(method, cseq string) string) {
	in := textproto.NewReader(bufio.NewReader(conn))
	for {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		h, err := in.ReadMIMEHeader()
		if err != nil {
			return
		}
		method, _, _ := strings.Cut(line, " ")
		if _, err := io.WriteString(conn, say(method, h.Get("CSeq"))); err != nil {
			return
		}
	}
}

const someSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"

func withSDP(cseq, sdp string) string {
	return fmt.Sprintf("RTSP/1.0 200 OK\r\nCSeq: %s\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", cseq, len(sdp), sdp)
}

// TestHostileCameras: whatever a camera says, viewers get 503 in bounded time,
// and nothing is left behind.
func TestHostileCameras(t *testing.T) {
	var elsewhere atomic.Int32
	other := listenAs(t, func(net.Conn) { elsewhere.Add(1) })
	ok := func(cseq string) string { return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\n" }
	for name, say := range map[string]func(method, cseq string) string{
		"endless headers": func(_, cseq string) string {
			return ok(cseq) + strings.Repeat("X: "+strings.Repeat("x", 2000)+"\r\n", 1000)
		},
		"a giant header":  func(_, cseq string) string { return ok(cseq) + "X: " + strings.Repeat("x", 10<<20) },
		"a giant SDP":     func(_, cseq string) string { return withSDP(cseq, someSDP+strings.Repeat("a=x\r\n", 20000)) },
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
		"no media": func(_, cseq string) string { return withSDP(cseq, "v=0\r\ns=x\r\nt=0 0\r\n") },
		"only metadata": func(_, cseq string) string {
			return withSDP(cseq, strings.Replace(someSDP, "m=video", "m=application", 1))
		},
		"another method": func(_, _ string) string {
			return "ANNOUNCE rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"
		},
		"closes": func(_, _ string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			addr := listenAs(t, func(conn net.Conn) { script(conn, say) })
			h := open(t, nil, func(c *Config) { c.DialTimeout = time.Second })
			h.sources.set("dev-1", 1, Main, Source{"rtsp://" + addr + "/x", "camera-user", "camera-password"})
			r, err := h.player(t, "/dev-1/1", annKey).describe()
			if err != nil || r.status != 503 || r.body != "" || strings.Contains(fmt.Sprint(r.header), "camera") {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestBrokenPackets: a camera that sends garbage as RTP and RTCP ends nothing
// but, perhaps, its own stream.
func TestBrokenPackets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	addr := listenAs(t, func(conn net.Conn) {
		script(conn, func(method, cseq string) string {
			head := "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: x;timeout=4294967295\r\n"
			switch method {
			case "DESCRIBE":
				return withSDP(cseq, someSDP+"m=video 0 RTP/AVP 97 97 98\r\na=rtpmap:97 H265/90000\r\na=rtpmap:98 x/0\r\na=control:trackID=1\r\n")
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
	h := open(t, nil, func(c *Config) { c.SilenceLimit = time.Second })
	h.sources.set("dev-1", 1, Main, Source{URL: "rtsp://" + addr + "/x"})
	p := h.player(t, "/dev-1/1", annKey)
	if status, err := p.watch("tcp"); status != 200 {
		t.Fatalf("%d, %v", status, err)
	}
	_, _ = p.drain() // until it is given up
	eventually(t, "the upstream is over", func() bool { f, d, _ := h.pool.states(); return f+d == 0 })
}

// TestTame: what a camera must not make the library do.
func TestTame(t *testing.T) {
	res := &base.Response{Header: base.Header{
		"Location":  {"rtsp://elsewhere/"},
		"Session":   {"abc;timeout=99999999"},
		"Transport": {"RTP/AVP;unicast;source=203.0.113.9;client_port=5000-5001;server_port=6000-6001"},
	}, Body: make([]byte, maxSDP+1)}
	tame(res)
	var s headers.Session
	var tr headers.Transport
	if err := errors.Join(s.Unmarshal(res.Header["Session"]), tr.Unmarshal(res.Header["Transport"])); err != nil {
		t.Fatal(err)
	}
	if res.Header["Location"] != nil || res.Body != nil || *s.Timeout != maxSessionTimeout || tr.Source != nil || tr.ServerPorts[0] != 6000 {
		t.Errorf("%v, timeout %v", res, *s.Timeout)
	}
}

// FuzzPacket holds what the library does with a packet in its own goroutines,
// where a panic could not be caught.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x78, 0, 1, 0x65})
	f.Add([]byte{0x80, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x60, 1, 0, 1, 0x40})
	f.Add([]byte{0xb0, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 0x40, 0, 0, 0})
	formats := []format.Format{&format.H264{}, &format.H265{}, &format.MJPEG{}, &format.MPEG4Audio{}, &format.Opus{}, &format.VP8{}, &format.AV1{}, &format.Generic{}}
	f.Fuzz(func(_ *testing.T, data []byte) {
		var pkt rtp.Packet
		if pkt.Unmarshal(data) != nil {
			return
		}
		for _, form := range formats {
			form.PTSEqualsDTS(&pkt)
		}
		_, _ = pkt.MarshalTo(make([]byte, 1472))
	})
}
