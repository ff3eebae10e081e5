package rtspclient

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestPlays(t *testing.T) {
	var k taken
	f := newFake(t, func(conn net.Conn, _ int, r asked) string {
		if r.method != "PLAY" {
			return ""
		}
		return framed(0, packet(96, 1, 0, 7)) + reply(r, "200 OK") + framed(0, packet(96, 2, 3000, 7)) + framed(2, packet(0, 1, 0, 8))
	})
	f.sdp = head + video + audio
	c, d, err := playing(t, f.url(), k.options())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the packets", func() bool { return k.count(d.Tracks[0]) == 2 && k.count(d.Tracks[1]) == 1 })
	c.Close()
	if n := len(f.requests("TEARDOWN")); n > 1 || !errors.Is(c.Err(), ErrClosed) {
		t.Errorf("%d TEARDOWN, %v", n, c.Err())
	}
}

// TestBetween: what may lie between the responses and the packets.
func TestBetween(t *testing.T) {
	good := func(seq uint16) string { return framed(0, packet(96, seq, 0, 7)) }
	for name, between := range map[string]string{
		"nothing":            "",
		"empty lines":        "\r\n\r\n",
		"zeros":              "\x00\x00\x00",
		"junk":               "\x01\x02junk of a firmware, with a $ in it\xff",
		"an empty frame":     "$\x00\x00\x00",
		"half a frame":       "$\x00\x01\x00" + strings.Repeat("x", 100),
		"a request":          "OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 9\r\n\r\n",
		"an ANNOUNCE":        "ANNOUNCE rtsp://x/ RTSP/1.0\r\nCSeq: 9\r\nContent-Length: 3\r\n\r\nabc",
		"a web server":       "HTTP/1.1 400 Bad\r\nX: y\r\n\r\n",
		"a stray response":   "RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n",
		"a large frame":      framed(0, append(packet(96, 9, 0, 7), make([]byte, 60000)...)),
		"an unknown channel": framed(9, packet(13, 9, 0, 7)),
	} {
		t.Run(name, func(t *testing.T) {
			var k taken
			f := newFake(t, func(conn net.Conn, _ int, r asked) string {
				if r.method != "PLAY" {
					return ""
				}
				return reply(r, "200 OK") + good(1) + between + good(2) + good(3) + good(4)
			})
			_, d, err := playing(t, f.url(), k.options())
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"half a frame": 1}[name] // what follows belongs to it
			if want == 0 {
				want = 4
			}
			eventually(t, "the packets", func() bool { return k.count(d.Tracks[0]) >= want })
		})
	}
}

// TestAPacketKeepsNoOther: what is kept of a camera is as large as its packets, whatever
// comes between them.
func TestAPacketKeepsNoOther(t *testing.T) {
	const packets, between = 500, 60_000
	from, to := io.Pipe()
	go func() {
		for range packets {
			_, _ = io.WriteString(to, framed(0, packet(96, 1, 0, 7))+framed(1, make([]byte, between)))
		}
		to.Close()
	}()
	r := newReader(from, func(channel int) bool { return channel < 2 })
	var kept [][]byte
	for {
		in, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if in.channel == 0 {
			kept = append(kept, in.frame)
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if len(kept) != packets || m.HeapAlloc > packets*between/2 {
		t.Errorf("%d packets of %d bytes keep %d bytes", len(kept), len(kept[0]), m.HeapAlloc)
	}
	runtime.KeepAlive(kept)
}

// TestNoise: junk without end ends the client.
func TestNoise(t *testing.T) {
	f := newFake(t, func(conn net.Conn, _ int, r asked) string {
		if r.method == "PLAY" {
			return reply(r, "200 OK") + strings.Repeat("x", maxNoise+1000)
		}
		return ""
	})
	var k taken
	c, _, err := playing(t, f.url(), k.options())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", func() bool { return errors.Is(c.Err(), ErrNoise) })
}

func TestUDP(t *testing.T) {
	for _, status := range []string{"461 Unsupported Transport", "400 Bad Request", "406 Not Acceptable", "500 Internal Server Error"} {
		t.Run(status, func(t *testing.T) {
			var k taken
			to := ""
			f := newFake(t, func(conn net.Conn, _ int, r asked) string {
				transport := r.header.Get("Transport")
				switch {
				case r.method == "SETUP" && strings.Contains(transport, "TCP"):
					return reply(r, status)
				case r.method == "SETUP":
					_, ports, _ := strings.Cut(transport, "client_port=")
					to, _, _ = strings.Cut(ports, "-")
				case r.method == "PLAY":
					out, err := net.Dial("udp", "127.0.0.1:"+to)
					if err != nil {
						t.Error(err)
						return ""
					}
					defer out.Close()
					for _, seq := range []uint16{1, 3, 2, 4, 4, 6} {
						_, _ = out.Write(packet(96, seq, 0, 7))
					}
				}
				return ""
			})
			_, d, err := playing(t, f.url(), k.options())
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the packets", func() bool { return k.count(d.Tracks[0]) == 5 })
			k.mu.Lock()
			defer k.mu.Unlock()
			for i, want := range []uint16{1, 2, 3, 4, 6} {
				if seq := be16(k.packets[d.Tracks[0]][i][2:]); seq != want {
					t.Errorf("packet %d is %d", i, seq)
				}
			}
			if k.lost != 1 {
				t.Errorf("%d lost", k.lost)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, sc := range map[string]struct {
		say  string
		want error
	}{
		"a web server": {"HTTP/1.1 400 Bad Request\r\n\r\n", ErrNotRTSP},
		"no status":    {"RTSP/1.0\r\n\r\n", ErrNotRTSP},
		"closes":       {"close", ErrEnded},
		"too large":    {"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", ErrTooLarge},
		"endless":      {"RTSP/1.0 200 OK\r\nX: " + strings.Repeat("x", 2*bufferSize), ErrTooLarge},
		"silence":      {"silence", ErrMute},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(net.Conn, int, asked) string { return sc.say })
			var k taken
			o := k.options()
			if name == "silence" {
				o.ResponseTimeout = 50 * time.Millisecond
			}
			c, err := Dial(context.Background(), f.url(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err = c.Describe(context.Background(), nil); !errors.Is(err, sc.want) {
				t.Errorf("%v, want %v", err, sc.want)
			}
		})
	}
}

// TestNoReportsWhilePaused: servers end the connection for what is no request then.
func TestNoReportsWhilePaused(t *testing.T) {
	var k taken
	f := newFake(t, func(_ net.Conn, _ int, r asked) string {
		if r.method != "PLAY" {
			return ""
		}
		return reply(r, "200 OK") + framed(0, packet(96, 1, 0, 7))
	})
	c, d, err := playing(t, f.url(), k.options())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the packet", func() bool { return k.count(d.Tracks[0]) == 1 })
	frames := func() int {
		if _, err := c.Options(t.Context()); err != nil { // what was sent before it was read
			t.Fatal(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.frames
	}
	c.reportAll(1)
	before := frames()
	if before == 0 {
		t.Error("nothing is reported while it plays")
	}
	if _, err := c.Pause(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	c.reportAll(1)
	if n := frames() - before; n != 0 {
		t.Errorf("%d reports while it is paused", n)
	}
	if _, err := c.Play(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	c.reportAll(1)
	if frames() == before {
		t.Error("nothing is reported when it plays again")
	}
}
