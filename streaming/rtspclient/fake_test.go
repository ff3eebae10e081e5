package rtspclient

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"go.uber.org/goleak"

	"latchkey/streaming/cameratest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var eventually = cameratest.Eventually

// asked is a request that a fake camera has received.
type asked struct {
	method, uri string
	header      textproto.MIMEHeader
}

// fake is a camera of which every response can be written by hand.
type fake struct {
	addr string
	// say returns the response to a request, "" for the usual one. It is called with the
	// number of the connection.
	say func(conn net.Conn, n int, r asked) string

	sdp string

	mu     sync.Mutex
	got    []asked
	conns  int
	frames int // between the requests
}

const video = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
const audio = "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:trackID=1\r\n"
const head = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"

func newFake(t testing.TB, say func(conn net.Conn, n int, r asked) string) *fake {
	f := &fake{say: say, sdp: head + video}
	f.addr = cameratest.Listen(t, f.serve)
	return f
}

func (f *fake) url() string { return "rtsp://" + f.addr + "/live" }

func (f *fake) serve(conn net.Conn) {
	f.mu.Lock()
	f.conns++
	n := f.conns
	f.mu.Unlock()
	br := bufio.NewReader(conn)
	for {
		if c, err := br.Peek(1); err == nil && c[0] == '$' {
			var frame base.InterleavedFrame
			if frame.Unmarshal(br) != nil {
				return
			}
			f.mu.Lock()
			f.frames++
			f.mu.Unlock()
			continue
		}
		in := textproto.NewReader(br)
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		header, err := in.ReadMIMEHeader()
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		r := asked{fields[0], fields[1], header}
		f.mu.Lock()
		f.got = append(f.got, r)
		f.mu.Unlock()
		text := ""
		if f.say != nil {
			text = f.say(conn, n, r)
		}
		if text == "" {
			text = f.usual(r)
		}
		if text == "close" {
			return
		}
		if text == "silence" {
			continue
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

// usual is how a good camera responds.
func (f *fake) usual(r asked) string {
	switch r.method {
	case "DESCRIBE":
		return reply(r, "200 OK", "Content-Type: application/sdp", "Content-Length: "+strconv.Itoa(len(f.sdp)), "", f.sdp)
	case "SETUP":
		return reply(r, "200 OK", "Session: 12345;timeout=60", "Transport: "+r.header.Get("Transport"))
	case "OPTIONS":
		return reply(r, "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
	default:
		return reply(r, "200 OK", "Session: 12345")
	}
}

// reply returns a response; after an empty header line comes the body.
func reply(r asked, status string, lines ...string) string {
	body := ""
	for i, line := range lines {
		if line == "" {
			body = strings.Join(lines[i+1:], "")
			lines = lines[:i]
			break
		}
	}
	return "RTSP/1.0 " + status + "\r\n" + strings.Join(append([]string{"CSeq: " + r.header.Get("CSeq")}, lines...), "\r\n") + "\r\n\r\n" + body
}

// requests returns those that came, by method.
func (f *fake) requests(method string) []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []asked
	for _, r := range f.got {
		if r.method == method {
			list = append(list, r)
		}
	}
	return list
}

// taken are the packets that a client hands on.
type taken struct {
	mu      sync.Mutex
	packets map[*Track][][]byte
	reports []SenderReport
	odd     int
	lost    int
}

func (k *taken) count(t *Track) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.packets[t])
}

// options returns those of a test's client, which keep what comes.
func (k *taken) options() Options {
	k.packets = map[*Track][][]byte{}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return Options{
		Dial: dialer.DialContext, UserAgent: "test", ResponseTimeout: 5 * time.Second,
		Packet: func(t *Track, data []byte, _ time.Time) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.packets[t] = append(k.packets[t], data)
		},
		Report: func(_ *Track, r SenderReport) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.reports = append(k.reports, r)
		},
		Odd:  func() { k.mu.Lock(); defer k.mu.Unlock(); k.odd++ },
		Lost: func(n int) { k.mu.Lock(); defer k.mu.Unlock(); k.lost += n },
	}
}

// playing goes through DESCRIBE, SETUP of every track, and PLAY.
func playing(t testing.TB, address string, o Options) (*Client, *Description, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	c, err := Dial(ctx, address, o)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(c.Close)
	d, err := c.Describe(ctx, nil)
	if err != nil {
		return c, nil, err
	}
	for _, track := range d.Tracks {
		if err := c.Setup(ctx, track, nil); err != nil {
			return c, d, err
		}
	}
	_, err = c.Play(ctx, nil)
	return c, d, err
}

// packet returns an RTP packet.
func packet(pt uint8, seq uint16, ts, ssrc uint32) []byte {
	return []byte{
		0x80, pt, byte(seq >> 8), byte(seq), byte(ts >> 24), byte(ts >> 16), byte(ts >> 8), byte(ts),
		byte(ssrc >> 24), byte(ssrc >> 16), byte(ssrc >> 8), byte(ssrc), 1, 2, 3, 4,
	}
}

// framed returns a packet as an interleaved frame.
func framed(channel int, data []byte) string {
	return string([]byte{'$', byte(channel), byte(len(data) >> 8), byte(len(data))}) + string(data)
}
