package rtsp

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"

	"latchkey/streaming/cameratest"
)

// setupAt is a SETUP of a track over TCP.
func (p *player) setupAt(url string, headers ...string) (*reply, error) {
	if len(headers) == 0 {
		headers = []string{"Transport: RTP/AVP/TCP;unicast;interleaved=0-1"}
	}
	return p.do("SETUP", url, headers...)
}

// wants fails the test if a response has another status.
func (p *player) wants(status int, what string, r *reply, err error) *reply {
	p.t.Helper()
	switch {
	case err != nil:
		p.t.Fatalf("%s: %v", what, err)
	case r.status != status:
		p.t.Fatalf("%s: status %d, want %d", what, r.status, status)
	}
	return r
}

func TestPlayersWriteAddressesTheirWay(t *testing.T) {
	t.Parallel()
	h := open(t, (&cameratest.Camera{}).Start(t))
	for name, c := range map[string]struct{ describe, setup, play string }{
		"slash at the end":            {"/dev-1/1/", "/dev-1/1//trackID=0", "/dev-1/1/"},
		"slash from Content-Base":     {"/dev-1/1", "/dev-1/1/trackID=0", "/dev-1/1/"},
		"only track":                  {"/dev-1/1", "/dev-1/1/trackID=0", "/dev-1/1/trackID=0"},
		"no track":                    {"/dev-1/1", "/dev-1/1", "/dev-1/1"},
		"query of Hikvision, ffmpeg":  {"/dev-1/Streaming/Channels/101?transportmode=unicast", "/dev-1/Streaming/Channels/101?transportmode=unicast/trackID=0", "/dev-1/Streaming/Channels/101?transportmode=unicast/"},
		"query of Hikvision, RFC1808": {"/dev-1/Streaming/Channels/101?transportmode=unicast", "/dev-1/Streaming/Channels/101/trackID=0", "/dev-1/Streaming/Channels/101/"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, digest := range []bool{false, true} {
				p := h.player(t, "", annKey)
				p.digest = digest
				if digest {
					p.challenged(t)
				}
				base := p.url
				r, err := p.do("DESCRIBE", base+c.describe)
				r = p.wants(200, "DESCRIBE", r, err)
				if got := r.header.Get("Content-Base"); strings.HasSuffix(got, "//") || !strings.HasSuffix(got, "/") {
					t.Errorf("Content-Base is %q", got)
				}
				r, err = p.setupAt(base + c.setup)
				p.wants(200, "SETUP", r, err)
				r, err = p.do("PLAY", base+c.play)
				p.wants(200, "PLAY", r, err)
				if err := p.receive(3); err != nil {
					t.Error(err)
				}
				for _, method := range []string{"SET_PARAMETER", "GET_PARAMETER", "OPTIONS", "PAUSE", "TEARDOWN"} {
					r, err = p.do(method, base+c.play)
					p.wants(200, method, r, err)
				}
			}
		})
	}
}

// challenged gets the nonce of the connection.
func (p *player) challenged(t *testing.T) {
	t.Helper()
	p.nonce = "none"
	r, err := p.do("DESCRIBE", p.url+"/dev-1/1")
	r = p.wants(401, "DESCRIBE", r, err)
	_, rest, _ := strings.Cut(r.header.Get("Www-Authenticate"), `nonce="`)
	p.nonce, _, _ = strings.Cut(rest, `"`)
}

func TestARefusedRequestHasAnAnswer(t *testing.T) {
	t.Parallel()
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.player(t, "/dev-1/1", annKey)
	answers := func(status int, method string, more ...string) *reply {
		t.Helper()
		r, err := p.do(method, p.url, more...)
		return p.wants(status, method+" "+strings.Join(more, " "), r, err)
	}
	const tcp = "Transport: RTP/AVP/TCP;unicast;interleaved="
	answers(501, "FOO")
	answers(501, "get")
	if r := answers(501, "REDIRECT"); !strings.Contains(r.header.Get("Public"), "SET_PARAMETER") {
		t.Errorf("Public is %q", r.header.Get("Public"))
	}
	answers(403, "ANNOUNCE", "Content-Type: application/sdp")
	for _, method := range []string{"PLAY", "PAUSE", "TEARDOWN", "RECORD"} {
		answers(454, method)
		answers(454, method, "Session: 12345678")
	}
	for _, method := range []string{"SETUP", "GET_PARAMETER", "SET_PARAMETER", "OPTIONS"} {
		answers(454, method, "Session: 12345678", tcp+"0-1")
	}
	answers(400, "SETUP")
	answers(400, "SETUP", tcp+"0-300")
	answers(400, "SETUP", tcp+"255")
	answers(400, "SETUP", tcp+"4-9")
	answers(400, "SETUP", "Transport: RTP/AVP;unicast;client_port=0-1")
	answers(400, "SETUP", "Transport: RTP/AVP;unicast;client_port=65535-65536")
	answers(400, "SETUP", "Transport: RTP/AVP;unicast")
	answers(461, "SETUP", "Transport: RTP/AVP;multicast")
	answers(461, "SETUP", "Transport: RTP/SAVP;unicast;client_port=4000-4001")
	r, err := p.setupAt(p.url + "/trackID=7")
	p.wants(404, "SETUP of a track that is not there", r, err)
	answers(200, "SETUP", "Transport: nonsense,RTP/AVP;multicast,RTP/AVP/TCP;unicast;interleaved=8-300", "Transport: \x80rtp/avp/tcp;interleaved=8;destination=192.0.2.1")
	r, err = p.setupAt(p.url + "/trackID=0")
	p.wants(455, "SETUP of the same track", r, err)
	good := p.session
	p.session = good + ";timeout=60"
	r, err = p.do("PLAY", strings.Replace(p.url, "dev-1/1", "dev-1/2", 1))
	p.wants(400, "PLAY at another address", r, err)
	answers(200, "PLAY")
	for _, method := range []string{"PLAY", "PAUSE"} {
		r, err = p.do(method, strings.Replace(p.url, "dev-1/1", "dev-1/2", 1))
		p.wants(400, method+" at another address while playing", r, err)
	}
	p.session = good
	r, err = p.setupAt(p.url + "/trackID=1")
	p.wants(455, "SETUP while playing", r, err)
	p.session = "other"
	answers(454, "TEARDOWN")
	p.session = good
	answers(200, "TEARDOWN")
	answers(454, "TEARDOWN")
}

func TestAMessageIsReadAsItWasMeant(t *testing.T) {
	t.Parallel()
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.player(t, "/dev-1/1", "")
	for what, c := range map[string]struct {
		sent   string
		status int
		cseq   string
	}{
		"line feeds alone":     {"OPTIONS " + p.url + " RTSP/1.0\nCSeq: 7\n\n", 200, "7"},
		"a line without colon": {"OPTIONS * RTSP/1.0\r\ncseq:8\r\nnothing\r\n: x\r\n\r\n", 200, "8"},
		"two CSeqs":            {"OPTIONS * RTSP/1.0\r\nCSeq: 9\r\nCSeq: 10\r\n\r\n", 200, "9"},
		"a folded line":        {"OPTIONS * RTSP/1.0\r\nX-Long: a\r\n  b\r\nCSeq: 11\r\n\r\n", 200, "11"},
		"no CSeq":              {"OPTIONS * RTSP/1.0\r\n\r\n", 400, "0"},
		"a path alone":         {"GET_PARAMETER /dev-1/1 RTSP/1.0\r\nCSeq: 12\r\n\r\n", 200, "12"},
		"a long header":        {"OPTIONS * RTSP/1.0\r\nX-Long: " + strings.Repeat("x", 5000) + "\r\nCSeq: 13\r\n\r\n", 200, "13"},
		"a body":               {"SET_PARAMETER " + p.url + " RTSP/1.0\r\nCSeq: 14\r\nContent-Length: 4\r\n\r\nping", 200, "14"},
		"RTSP/2.0":             {"OPTIONS * RTSP/2.0\r\nCSeq: 15\r\n\r\n", 505, "15"},
		"no address":           {"DESCRIBE * RTSP/1.0\r\nCSeq: 16\r\n\r\n", 400, "16"},
		"a bad address":        {"DESCRIBE rtsp://%zz/ RTSP/1.0\r\nCSeq: 17\r\n\r\n", 400, "17"},
		"a long address":       {"DESCRIBE " + p.url + strings.Repeat("/", 3000) + " RTSP/1.0\r\nCSeq: 18\r\n\r\n", 414, "18"},
		"an answer first":      {"\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 2\r\n\r\nokOPTIONS * RTSP/1.0\r\nCSeq: 19\r\n\r\n", 200, "19"},
		"a frame first":        {"$\x01\x00\x04rtcpOPTIONS * RTSP/1.0\r\nCSeq: 20\r\n\r\n", 200, "20"},
	} {
		_ = p.conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(p.conn, c.sent); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		r, err := p.reply()
		if r = p.wants(c.status, what, r, err); r.header.Get("Cseq") != c.cseq {
			t.Errorf("%s: CSeq is %q, want %q", what, r.header.Get("Cseq"), c.cseq)
		}
	}
}

// Receiver reports go on while a player pauses, and a flood of them is read slowly.
func TestReportsOfAPlayer(t *testing.T) {
	t.Parallel()
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	report := "$\x01\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x00"
	r, err := p.do("PAUSE", p.url)
	p.wants(200, "PAUSE", r, err)
	if _, err := io.WriteString(p.conn, strings.Repeat(report, 20)); err != nil {
		t.Fatal(err)
	}
	r, err = p.play()
	p.wants(200, "PLAY", r, err)
	if err := p.receive(3); err != nil {
		t.Fatal(err)
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	flood, sent := []byte(strings.Repeat(report, 10000)), 0
	for err = nil; err == nil && sent < 64<<20; {
		var n int
		n, err = p.conn.Write(flood)
		sent += n
	}
	if err == nil {
		t.Error("a flood of reports was read at once")
	}
}

func TestChooseTransport(t *testing.T) {
	t.Parallel()
	udp, tcp := gortsplib.TransportUDP, gortsplib.TransportTCP
	for _, c := range []struct {
		offered string
		has     *gortsplib.Transport
		want    string
	}{
		{"RTP/AVP;unicast;client_port=4000-4001", nil, "RTP/AVP;unicast;client_port=4000-4001"},
		{"RTP/AVP;unicast;client_port=4000", nil, "RTP/AVP;unicast;client_port=4000-4001"},
		{"RTP/AVP/UDP;unicast;client_port=4000-4001;source=x.example", nil, "RTP/AVP;unicast;client_port=4000-4001"},
		{"rtp/avp/tcp", nil, "RTP/AVP/TCP;unicast"},
		{`RTP/AVP/TCP;unicast;interleaved=2-3;mode="PLAY"`, nil, "RTP/AVP/TCP;unicast;interleaved=2-3"},
		{"RTP/AVP;multicast;port=1-2,RTP/AVP;unicast;client_port=6-7,RTP/AVP/TCP", nil, "RTP/AVP;unicast;client_port=6-7"},
		{"RTP/AVP;unicast;client_port=6-7,RTP/AVP/TCP;interleaved=4-5", &tcp, "RTP/AVP/TCP;unicast;interleaved=4-5"},
		{"RTP/AVP/TCP, RTP/AVP;unicast;client_port=6-7", &udp, "RTP/AVP;unicast;client_port=6-7"},
		{"RTP/AVP/TCP", &udp, "461"},
		{"RAW/RAW/UDP;client_port=6-7", nil, "461"},
		{"RTP/AVP/TCP;mode=RECORD", nil, "400"},
		{"RTP/AVP;unicast;client_port=-1", nil, "400"},
		{"RTP/AVP;unicast;client_port=70000-70001,RTP/AVP/TCP", nil, "RTP/AVP/TCP;unicast"},
	} {
		chosen, refused := chooseTransport(base.HeaderValue{c.offered}, c.has, headers.TransportModePlay, false)
		got := ""
		if refused != nil {
			got = fmt.Sprint(int(refused.status))
		} else {
			chosen.Mode = nil
			got = chosen.Marshal()[0]
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.offered, got, c.want)
		}
	}
}

func FuzzChooseTransport(f *testing.F) {
	f.Add("RTP/AVP;unicast;client_port=4000-4001,RTP/AVP/TCP;interleaved=0-1")
	f.Fuzz(func(t *testing.T, s string) {
		chosen, refused := chooseTransport(base.HeaderValue{s}, nil, headers.TransportModePlay, false)
		if refused != nil {
			return
		}
		var again headers.Transports
		if err := again.Unmarshal(chosen.Marshal()); err != nil || len(again) != 1 {
			t.Errorf("%q: the server does not read %q: %v", s, chosen.Marshal(), err)
		}
	})
}

func FuzzInlet(f *testing.F) {
	f.Add([]byte("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x00\x00\x01x\r\nANNOUNCE /a RTSP/1.0\nCSeq: 2\nContent-Length: 1\n\nx"), false)
	f.Add([]byte("FOO rtsp://h/a b RTSP/1.0\r\nCSeq: 1\r\nX: a\r\n b\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, sent []byte, frames bool) {
		i := newInlet(bytes.NewReader(sent), "rtsp://h", func() bool { return frames }, func(int) error { return nil })
		for range 1000 {
			if err := i.next(); err != nil {
				return
			}
			if len(i.out) == 0 {
				continue
			}
			if i.out[0] == base.InterleavedFrameMagicByte {
				if !frames {
					t.Fatal("a frame was handed on")
				}
			} else if head := string(i.out); !strings.HasSuffix(head, "\r\n\r\n") || strings.Count(head, "\r\n\r\n") != 1 {
				t.Fatalf("%q is not one request", head)
			}
			rest := i.rest
			i.out, i.rest = nil, 0
			if n, _ := i.in.Discard(rest); n < rest {
				return
			}
		}
	})
}
