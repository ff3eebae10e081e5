package rtspclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/streaming/cameratest"
)

// TestCamerasAsTheyAre: ways in which cameras respond that are not the standard's, and
// play all the same.
func TestCamerasAsTheyAre(t *testing.T) {
	for name, say := range map[string]func(r asked) string{
		"no reason": func(r asked) string {
			if r.method == "PLAY" {
				return "RTSP/1.0 200\r\nCSeq: " + r.header.Get("CSeq") + "\r\n\r\n"
			}
			return ""
		},
		"no CSeq":       func(r asked) string { return on(r, "PLAY", "RTSP/1.0 200 OK\r\n\r\n") },
		"always CSeq 1": func(r asked) string { return on(r, "PLAY", "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n") },
		"line feeds":    func(r asked) string { return on(r, "PLAY", "RTSP/1.0 200 OK\nSession: x\n\n") },
		"lines of its own": func(r asked) string {
			return on(r, "PLAY", "RTSP/1.0 200 OK\r\nwhat\r\n: x\r\nX:\r\n continued\r\n\r\n")
		},
		"a response too many": func(r asked) string { return on(r, "SETUP", reply(r, "200 OK", "Session: 1")+reply(r, "200 OK")) },
		"100 Continue":        func(r asked) string { return on(r, "PLAY", "RTSP/1.0 100 Continue\r\n\r\nRTSP/1.0 200 OK\r\n\r\n") },
		"no Transport":        func(r asked) string { return on(r, "SETUP", reply(r, "200 OK", "Session: 1")) },
		"other sessions": func(r asked) string {
			if r.method == "PLAY" && r.header.Get("Session") != "1" {
				return reply(r, "454 Session Not Found")
			}
			return on(r, "SETUP", reply(r, "200 OK", "Session: "+map[bool]string{true: "1", false: "2"}[strings.HasSuffix(r.uri, "0")]))
		},
		"no Session":       func(r asked) string { return on(r, "SETUP", reply(r, "200 OK")) },
		"a broken Session": func(r asked) string { return on(r, "SETUP", reply(r, "200 OK", "Session: ;timeout")) },
		"no ports": func(r asked) string {
			return on(r, "SETUP", reply(r, "200 OK", "Session: 1", "Transport: RTP/AVP/TCP;unicast"))
		},
		"a lower-case transport": func(r asked) string {
			return on(r, "SETUP", reply(r, "200 OK", "session: 1 ; Timeout=60", "transport: rtp/avp/tcp; Unicast; Interleaved=0-1"))
		},
		"no range": func(r asked) string {
			return when(r, "PLAY", r.header.Get("Range") != "", reply(r, "457 Invalid Range"))
		},
		"by track": func(r asked) string {
			return when(r, "PLAY", !strings.HasSuffix(r.uri, "trackID=0"), reply(r, "459 Aggregate Operation Not Allowed"))
		},
		"no OPTIONS": func(r asked) string { return on(r, "OPTIONS", reply(r, "405 Method Not Allowed")) },
		"no keepalive": func(r asked) string {
			return on(r, "OPTIONS", reply(r, "501 Not Implemented")) + on(r, "GET_PARAMETER", reply(r, "454 Session Not Found")) + on(r, "SET_PARAMETER", reply(r, "400 Bad Request"))
		},
		"another control URL": func(r asked) string {
			return when(r, "SETUP", !strings.HasSuffix(r.uri, "/trackID=0") || strings.Contains(r.uri, "live"), reply(r, "404 Not Found"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(_ net.Conn, _ int, r asked) string {
				text := say(r)
				if r.method == "PLAY" && (text == "" || strings.Contains(text, " 200")) {
					if text == "" {
						text = reply(r, "200 OK")
					}
					text = framed(0, packet(96, 1, 0, 7)) + text + framed(0, packet(96, 2, 0, 7))
				}
				return text
			})
			if name == "other sessions" {
				f.sdp += audio
			}
			var k taken
			c, d, err := playing(t, f.url(), k.options())
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				c.ping()
			}
			eventually(t, "the packets", func() bool { return k.count(d.Tracks[0]) == 2 })
			if err := c.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPlayedByTrack: what the camera says of each track is returned.
func TestPlayedByTrack(t *testing.T) {
	f := newFake(t, func(_ net.Conn, _ int, r asked) string {
		switch {
		case r.method != "PLAY":
			return ""
		case strings.HasSuffix(r.uri, "trackID=0"):
			return reply(r, "200 OK", "Range: npt=7-", "RTP-Info: url=trackID=0;rtptime=1")
		case strings.HasSuffix(r.uri, "trackID=1"):
			return reply(r, "200 OK", "Range: npt=8-", "RTP-Info: url=trackID=1;rtptime=2")
		}
		return reply(r, "459 Aggregate Operation Not Allowed")
	})
	f.sdp += audio
	c, _, err := playing(t, f.url(), (&taken{}).options())
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Play(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(res.Header["Range"], res.Header["RTP-Info"]); got != "[npt=7- npt=8-] [url=trackID=0;rtptime=1 url=trackID=1;rtptime=2]" {
		t.Error(got)
	}
}

// on returns the text for requests of a method, when also under a condition.
func on(r asked, method, text string) string { return when(r, method, true, text) }

func when(r asked, method string, condition bool, text string) string {
	if r.method != method || !condition {
		return ""
	}
	return text
}

// TestChannels: the camera sends the packets of picture and sound on channels of its own.
func TestChannels(t *testing.T) {
	for name, sc := range map[string]struct {
		transports   []string // "": as asked
		video, sound int      // where it sends
	}{
		"as asked":         {nil, 0, 2},
		"others, told":     {[]string{"interleaved=10-11", "interleaved=20-21"}, 10, 20},
		"one for each":     {[]string{"interleaved=4", "interleaved=5"}, 4, 5},
		"both on one":      {[]string{"interleaved=0-1", "interleaved=0-1"}, 0, 0},
		"others, untold":   {nil, 7, 9},
		"swapped":          {nil, 2, 0},
		"on those of RTCP": {nil, 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			f := newFake(t, func(_ net.Conn, _ int, r asked) string {
				switch {
				case r.method == "SETUP" && sc.transports != nil:
					n++
					return reply(r, "200 OK", "Session: 1", "Transport: RTP/AVP/TCP;unicast;"+sc.transports[n-1])
				case r.method == "PLAY":
					return reply(r, "200 OK") + framed(sc.video, packet(96, 1, 0, 7)) + framed(sc.sound, packet(0, 1, 0, 8)) + framed(sc.video, packet(96, 2, 0, 7))
				}
				return ""
			})
			f.sdp = head + video + audio
			var k taken
			_, d, err := playing(t, f.url(), k.options())
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the packets", func() bool { return k.count(d.Tracks[0]) == 2 && k.count(d.Tracks[1]) == 1 })
		})
	}
}

// TestLogins: a camera that closes the connection after each response, or after a 401.
func TestLogins(t *testing.T) {
	for name, header := range map[string]string{"told": "Connection: close", "untold": "X: y"} {
		t.Run(name, func(t *testing.T) {
			g := &guarded{offers: []string{`Digest realm="r", nonce="%s"`}, password: "right"}
			f := newFake(t, func(conn net.Conn, n int, r asked) string {
				text := g.say(conn, n, r)
				if strings.Contains(text, " 401 ") {
					text = strings.Replace(text, "CSeq", header+"\r\nCSeq", 1)
					_, _ = conn.Write([]byte(text))
					return "close"
				}
				return text
			})
			var k taken
			o := k.options()
			o.Username, o.Password = "admin", "right"
			if _, _, err := playing(t, f.url(), o); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	other := newFake(t, nil)
	g := &guarded{offers: []string{`Basic realm="r"`}, password: "right"}
	elsewhere := &fake{say: g.say, sdp: head + video}
	elsewhere.addr = strings.Replace(cameratest.Listen(t, elsewhere.serve), "127.0.0.1", "localhost", 1)
	for name, sc := range map[string]struct {
		status, location string
		want             error
	}{
		"moved":                 {"301 Moved", other.url(), nil},
		"found":                 {"302 Found", other.url(), nil},
		"see other":             {"303 See Other", other.url(), nil},
		"temporarily":           {"307 Temporary Redirect", other.url(), nil},
		"for ever":              {"308 Permanent Redirect", other.url(), nil},
		"with credentials":      {"302 Found", strings.Replace(other.url(), "://", "://u:p@", 1), nil},
		"in a circle":           {"302 Found", "/live", ErrRedirect},
		"nowhere":               {"302 Found", "", ErrRedirect},
		"to the web":            {"302 Found", "http://127.0.0.1/", ErrRedirect},
		"to whom it is not for": {"302 Found", "rtsp://" + elsewhere.addr + "/live", ErrRedirect},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(_ net.Conn, _ int, r asked) string {
				return reply(r, sc.status, "Location: "+sc.location)
			})
			var k taken
			o := k.options()
			o.Username, o.Password = "admin", "right"
			if _, _, err := playing(t, f.url(), o); !errors.Is(err, sc.want) {
				t.Errorf("%v, want %v", err, sc.want)
			}
			if n := len(f.requests("DESCRIBE")); n > 4 {
				t.Errorf("%d requests", n)
			}
		})
	}
	if g.basic != 0 {
		t.Error("the password was sent to another host")
	}
}

// TestStreamsOfOneServer: one that is redirected does not take the next one elsewhere.
func TestStreamsOfOneServer(t *testing.T) {
	other := newFake(t, nil)
	f := newFake(t, func(_ net.Conn, _ int, r asked) string {
		return when(r, "DESCRIBE", strings.HasSuffix(r.uri, "/live"), reply(r, "302 Found", "Location: "+other.url()))
	})
	var k taken
	c, err := Dial(t.Context(), f.url(), k.options())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Describe(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.DescribeAt(t.Context(), f.url()+"2", nil); err != nil {
			t.Fatal(err)
		}
	}
	if n, m := len(f.requests("DESCRIBE")), len(other.requests("DESCRIBE")); n != 3 || m != 1 || f.conns != 2 {
		t.Errorf("%d and %d requests, %d connections", n, m, f.conns)
	}
	if _, err := c.DescribeAt(t.Context(), other.url(), nil); !errors.Is(err, ErrAddress) {
		t.Errorf("another server: %v", err)
	}
}

// TestCertificates: that of a camera is its own, and the owner confirms it.
func TestCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "camera"}, NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{sdp: head + video}
	version := uint16(tls.VersionTLS12)
	f.addr = cameratest.Listen(t, func(conn net.Conn) {
		f.serve(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS10, MaxVersion: version}))
	})
	var k taken
	o := k.options()
	address := "rtsps://" + f.addr + "/live"
	_, _, err = playing(t, address, o)
	var untrusted *CertificateError
	if !errors.As(err, &untrusted) || untrusted.Pinned || untrusted.Fingerprint != Fingerprint(sha256.Sum256(der)) {
		t.Fatalf("%v", err)
	}
	o.Certificate = untrusted.Fingerprint
	c, _, err := playing(t, address, o)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	o.Certificate[0]++
	if _, _, err = playing(t, address, o); !errors.As(err, &untrusted) || !untrusted.Pinned {
		t.Errorf("another certificate: %v", err)
	}
	if len(f.requests("DESCRIBE")) != 1 {
		t.Error("something was sent to a camera that is not trusted")
	}
	o.Certificate[0]--
	version = tls.VersionTLS11
	if _, _, err = playing(t, address, o); !errors.Is(err, ErrNoTLS) {
		t.Errorf("an old TLS: %v", err)
	}
}

// TestKeepAlives come before a session ends, and not more often than each half second.
func TestKeepAlives(t *testing.T) {
	for session, want := range map[string][2]time.Duration{
		"1;timeout=1":   {500 * time.Millisecond, 500 * time.Millisecond},
		"1;timeout=2":   {time.Second, time.Second},
		"1;timeout=5":   {time.Second, 2500 * time.Millisecond},
		"1;timeout=60":  {time.Second, 30 * time.Second},
		"1;timeout=999": {time.Second, time.Minute},
	} {
		_, timeout := parseSession(session)
		if got := [2]time.Duration{keepAliveAfter(timeout, true), keepAliveAfter(timeout, false)}; got != want {
			t.Errorf("%s: %v, want %v", session, got, want)
		}
	}
	f := newFake(t, func(_ net.Conn, _ int, r asked) string {
		return on(r, "SETUP", reply(r, "200 OK", "Session: 1;timeout=1", "Transport: "+r.header.Get("Transport")))
	})
	var k taken
	if _, _, err := playing(t, f.url(), k.options()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "keepalives", func() bool { return len(f.requests("OPTIONS")) == 1 && len(f.requests("GET_PARAMETER")) > 0 })
}

// TestPlayback: a recording is played, paused, and sought in the same session, with the
// headers of ONVIF.
func TestPlayback(t *testing.T) {
	f := newFake(t, nil)
	var k taken
	c, _, err := playing(t, f.url(), k.options())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, clock := range []string{"clock=20260101T100000Z-", "clock=20260101T110000Z-20260101T120000Z"} {
		if _, err := c.Play(ctx, base.Header{"Range": {clock}, "Scale": {"2.0"}, "Rate-Control": {"no"}, "Require": {"onvif-replay"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Pause(ctx, base.Header{"Require": {"onvif-replay"}}); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	plays := f.requests("PLAY")
	if len(plays) != 3 || len(f.requests("PAUSE")) != 2 {
		t.Fatalf("%d PLAY, %d PAUSE", len(plays), len(f.requests("PAUSE")))
	}
	last := plays[2].header
	if last.Get("Range") != "clock=20260101T110000Z-20260101T120000Z" || last.Get("Scale") != "2.0" || last.Get("Rate-Control") != "no" || last.Get("Require") != "onvif-replay" || last.Get("Session") != "12345" {
		t.Errorf("%v", last)
	}
	eventually(t, "the end is told", func() bool { return len(f.requests("TEARDOWN")) == 1 })
}

// TestTalk: packets go to the camera on its back channel.
func TestTalk(t *testing.T) {
	f := newFake(t, nil)
	f.sdp = head + video + strings.Replace(audio, "a=control", "a=sendonly\r\na=control", 1)
	var k taken
	c, d, err := playing(t, f.url(), k.options())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(d.Tracks, func(t *Track) bool { return t.Media.IsBackChannel })
	if i < 0 {
		t.Fatal("there is no back channel")
	}
	if err := c.SendRTP(d.Tracks[i], packet(0, 1, 0, 7)); err != nil {
		t.Error(err)
	}
	if _, err := c.Pause(context.Background(), nil); err != nil { // the camera still reads requests
		t.Error(err)
	}
}

// TestSenderReports: the fraction is passed as it is, and junk is none.
func TestSenderReports(t *testing.T) {
	sr := []byte{0x80, 200, 0, 6, 0, 0, 0, 7, 0xe0, 0, 0, 1, 0x80, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1}
	want := SenderReport{SSRC: 7, NTP: 0xe000000180000001, RTP: 9}
	for name, data := range map[string][]byte{
		"alone":            sr,
		"with others":      append(slices.Clone(sr), 0x81, 202, 0, 1, 0, 0, 0, 7),
		"after others":     append([]byte{0x80, 201, 0, 1, 0, 0, 0, 7}, sr...),
		"counted too long": append([]byte{0x80, 200, 0, 99}, sr[4:]...),
	} {
		if got := senderReports(data); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := senderReports(append([]byte{0x80, 200, 0, 1}, sr[4:8]...)); len(got) != 0 {
		t.Errorf("a short one: %v", got)
	}
}
