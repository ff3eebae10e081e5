package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/domain/ids"
	"latchkey/streaming/cameratest"
)

// scripted returns a pool whose device 1 is a camera that responds to each method with
// what say returns; "" for the usual response.
func scripted(t *testing.T, say func(method, cseq string) string, change ...func(*Config)) *house {
	t.Helper()
	addr := cameratest.Listen(t, func(conn net.Conn) {
		cameratest.Script(conn, func(method, cseq string) string {
			if text := say(method, cseq); text != "" {
				return text
			}
			switch method {
			case "DESCRIBE":
				return cameratest.WithSDP(cseq, cameratest.SDP)
			case "SETUP":
				return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: x\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
			default:
				return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: x\r\n\r\n"
			}
		})
	})
	h := open(t, nil, change...)
	h.sources.set("dev-1", 1, Source{URL: "rtsp://" + addr + "/live", Username: "admin", Password: "hunter2"})
	return h
}

// TestFaults: the owner is told why a camera is not played, in words of ours.
func TestFaults(t *testing.T) {
	status := func(line string) func(method, cseq string) string {
		return func(method, cseq string) string { return "RTSP/1.0 " + line + "\r\nCSeq: " + cseq + "\r\n\r\n" }
	}
	for want, say := range map[string]func(method, cseq string) string{
		"status 404":             status("404 Not Found"),
		"status 403":             status("200 OK\r\nServer: Latchkey"),
		"status 503":             status("503 Service Unavailable"),
		"status 401":             status("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\""),
		"unknown authentication": status("401 Unauthorized\r\nWWW-Authenticate: Negotiate"),
		"not RTSP":               func(string, string) string { return "HTTP/1.1 400 Bad Request\r\n\r\n" },
		"unreadable description": func(_, cseq string) string { return cameratest.WithSDP(cseq, "<html>") },
		"no media":               func(_, cseq string) string { return cameratest.WithSDP(cseq, "v=0\r\ns=x\r\nt=0 0\r\n") },
		"redirected elsewhere":   status("302 Found\r\nLocation: http://192.0.2.1/"),
		"too large":              status("200 OK\r\nContent-Length: 99999999"),
	} {
		t.Run(want, func(t *testing.T) {
			h := scripted(t, say)
			var away *AwayError
			err := h.ask("dev-1", 1)
			if !errors.As(err, &away) {
				t.Fatalf("%v", err)
			}
			if got := faultOf(away.cause).label; got != want {
				t.Errorf("%q, want %q: %v", got, want, away.cause)
			}
			for _, secret := range []string{"127.0.0.1", "hunter2", "html"} {
				if strings.Contains(fmt.Sprint(away.cause), secret) {
					t.Errorf("%v contains %q", away.cause, secret)
				}
			}
		})
	}
}

// TestRefusalsAreTold: the owner hears of a camera that responds, and does not play.
func TestRefusalsAreTold(t *testing.T) {
	for name, sc := range map[string]struct{ method, line, want string }{
		"a description that is forbidden": {"DESCRIBE", "403 Forbidden", "status 403"},
		"no description now":              {"DESCRIBE", "503 Service Unavailable", "status 503"},
		"a description that is too large": {"DESCRIBE", "200 OK\r\nContent-Length: 99999999", "too large"},
		"no bandwidth for a track":        {"SETUP", "453 Not Enough Bandwidth", "status 453"},
		"a track that fails":              {"SETUP", "500 Internal Server Error", "status 5xx"},
		"no track now":                    {"SETUP", "503 Service Unavailable", "status 503"},
		"a track that has moved":          {"SETUP", "302 Found\r\nLocation: rtsp://192.0.2.1/", "status 3xx"},
		"not playing in this state":       {"PLAY", "455 Method Not Valid in This State", "status 4xx"},
		"no bandwidth to play":            {"PLAY", "453 Not Enough Bandwidth", "status 453"},
		"playing that fails":              {"PLAY", "500 Internal Server Error", "status 5xx"},
		"playing that has moved":          {"PLAY", "302 Found\r\nLocation: rtsp://192.0.2.1/", "status 3xx"},
		"playing and sending nothing":     {"", "", "silent"},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan string, 16)
			h := scripted(t, func(method, cseq string) string {
				if method != sc.method {
					return ""
				}
				return "RTSP/1.0 " + sc.line + "\r\nCSeq: " + cseq + "\r\n\r\n"
			}, func(c *Config) {
				c.SilenceLimit = 20 * time.Millisecond
				c.Reached = func(_ ids.Device, reason string) { told <- reason }
			})
			err := h.ask("dev-1", 1)
			if plays := err == nil; plays != (sc.method == "") {
				t.Fatalf("%v", err)
			}
			reason := <-told
			if sc.method == "" && reason == "" {
				reason = <-told
			}
			if reason != sc.want {
				t.Errorf("%q, want %q", reason, sc.want)
			}
		})
	}
}

// TestAWrongPassword is not tried so often that the camera locks us out, for all of its
// channels together; another one is tried at once.
func TestAWrongPassword(t *testing.T) {
	var now atomic.Int64
	var wrong atomic.Int32
	addr := cameratest.Listen(t, func(conn net.Conn) {
		cameratest.ScriptWith(conn, func(_, cseq string, header func(string) string) string {
			if header("Authorization") != "" {
				wrong.Add(1)
			}
			return "RTSP/1.0 401 Unauthorized\r\nCSeq: " + cseq + "\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"" + cseq + "\"\r\n\r\n"
		})
	})
	h := open(t, nil, func(c *Config) { c.Now = func() time.Time { return time.Unix(1e9+now.Load(), 0) } })
	for channel := 1; channel <= 3; channel++ {
		h.sources.set("dev-1", channel, Source{URL: "rtsp://" + addr + "/live", Username: "admin", Password: "wrong"})
	}
	for second := range int64(30 * 60) {
		now.Store(second)
		if err := h.ask("dev-1", 1+int(second)%3); err == nil {
			t.Fatal("it plays")
		}
	}
	if n := wrong.Load(); n != 4 {
		t.Errorf("%d wrong passwords in half an hour", n)
	}
	theirs := &description.Session{Medias: []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}}}}
	pub, err := h.Publish(t.Context(), Stream{Device: "dev-1", Channel: 1}, theirs)
	if err != nil {
		t.Fatal(err)
	}
	pub.End()
	_ = h.ask("dev-1", 1)
	if n := wrong.Load(); n != 4 {
		t.Errorf("%d wrong passwords after the camera has published", n)
	}
	h.Redial("dev-1")
	_ = h.ask("dev-1", 1)
	if n := wrong.Load(); n != 5 {
		t.Errorf("%d wrong passwords, want that a changed one is tried", n)
	}
}

// TestSoundThatIsRefused does not take the picture away.
func TestSoundThatIsRefused(t *testing.T) {
	const sound = "m=audio 0 RTP/AVP 0\r\na=control:trackID=1\r\n"
	h := scripted(t, func(method, cseq string) string {
		switch {
		case method == "DESCRIBE":
			return cameratest.WithSDP(cseq, cameratest.SDP+sound)
		case method == "SETUP" && cseq != "2":
			return "RTSP/1.0 404 Not Found\r\nCSeq: " + cseq + "\r\n\r\n"
		}
		return ""
	})
	l, err := h.acquire("dev-1", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if medias := l.Flow().Description().Medias; len(medias) != 1 || medias[0].Type != "video" {
		t.Errorf("%v", medias)
	}
}

// TestRedirects are followed where the policy allows it, on the resolved address, and a
// few times at most.
func TestRedirects(t *testing.T) {
	good := (&cameratest.Camera{}).Start(t)
	denied := cameratest.Listen(t, func(conn net.Conn) { t.Error("an address that is denied was dialed"); _, _ = io.ReadAll(conn) })
	_, deniedPort, _ := net.SplitHostPort(denied)
	guarded := cameratest.Listen(t, func(conn net.Conn) {
		cameratest.Script(conn, func(_, cseq string) string {
			return "RTSP/1.0 401 Unauthorized\r\nCSeq: " + cseq + "\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\r\n"
		})
	})
	_, guardedPort, _ := net.SplitHostPort(guarded)
	to := func(location string) func(method, cseq string) string {
		return func(_, cseq string) string {
			return "RTSP/1.0 302 Found\r\nCSeq: " + cseq + "\r\nLocation: " + location + "\r\n\r\n"
		}
	}
	for name, sc := range map[string]struct {
		location, want string
	}{
		"to another port":                 {good.URL(), ""},
		"in a circle":                     {"/live", "redirected elsewhere"},
		"to whom the password is not for": {"rtsp://localhost:" + guardedPort + "/x", "redirected elsewhere"},
		"to what is denied":               {"rtsp://localhost:" + deniedPort + "/x", "denied address"},
	} {
		t.Run(name, func(t *testing.T) {
			h := scripted(t, to(sc.location))
			listener, err := net.ResolveTCPAddr("tcp", denied)
			if err != nil {
				t.Fatal(err)
			}
			h.NeverDial(listener)
			err = h.ask("dev-1", 1)
			var away *AwayError
			switch {
			case sc.want == "" && err != nil:
				t.Error(err)
			case sc.want != "" && (!errors.As(err, &away) || faultOf(away.cause).label != sc.want):
				t.Errorf("%v, want %s", err, sc.want)
			}
		})
	}
}
