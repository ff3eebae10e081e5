package device

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/simcamera"
)

func talkTo(cam *simcamera.Camera, change ...func(*TalkTarget)) TalkTarget {
	t := TalkTarget{Username: "admin", Password: "pa55 & <word>", ISAPIURL: "http://" + cam.HTTPAddr(), Channel: 1}
	for _, f := range change {
		f(&t)
	}
	return t
}

// until waits for something that another process or goroutine does.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestTalk: the device hears every byte, and is free after it.
func TestTalk(t *testing.T) {
	cam := startCamera(t)
	client := newClient(t)
	for range 2 {
		before := cam.Talk().Bytes
		talk, err := client.Talk(t.Context(), talkTo(cam))
		if err != nil {
			t.Fatal(err)
		}
		if talk.Codec() != PCMU {
			t.Errorf("codec %s", talk.Codec())
		}
		if _, err := client.Talk(t.Context(), talkTo(cam)); kindIn(err) != Busy {
			t.Errorf("a second talker: %v", err)
		}
		other, err := client.Talk(t.Context(), talkTo(cam, func(t *TalkTarget) { t.Channel = 2 }))
		if err != nil {
			t.Fatalf("another channel: %v", err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		for range 50 {
			if n, err := talk.Write(make([]byte, 160)); err != nil || n != 160 {
				t.Fatal(n, err)
			}
		}
		until(t, "it hears everything", func() bool { return cam.Talk().Bytes-before == 50*160 })
		if _, err := talk.Write(make([]byte, maxTalkWrite+1)); err == nil {
			t.Error("it takes an hour of sound at once")
		}
		for range 2 {
			if err := talk.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := talk.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	}
	if n := cam.WrongPasswords(); n != 0 {
		t.Errorf("%d wrong passwords", n)
	}
}

// TestTheDeviceHangsUp: the talker is told, without anything of the device.
func TestTheDeviceHangsUp(t *testing.T) {
	cam := startCamera(t)
	talk, err := newClient(t).Talk(t.Context(), talkTo(cam))
	if err != nil {
		t.Fatal(err)
	}
	cam.GoAway()
	until(t, "the talk fails", func() bool { _, err = talk.Write(make([]byte, 160)); return err != nil })
	if kind := kindIn(err); kind == "" || strings.Contains(err.Error(), "127.") {
		t.Errorf("%v", err)
	}
	if _, again := talk.Write([]byte{1}); again == nil {
		t.Error("it goes on")
	}
	_ = talk.Close() // nobody is there to be told
}

// talkDevice is a device as others are: what it lists and answers is the test's.
type talkDevice struct {
	list, open string
	audio      func(w http.ResponseWriter, r *http.Request)
	closed     atomic.Int32
	query      atomic.Value
}

func (d *talkDevice) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, d.list)
	case strings.HasSuffix(r.URL.Path, "/open"):
		_, _ = io.WriteString(w, d.open)
	case strings.HasSuffix(r.URL.Path, "/close"):
		d.closed.Add(1)
		d.query.Store(r.URL.RawQuery)
	default:
		d.audio(w, r)
	}
}

const ulaw = `<TwoWayAudioChannelList><TwoWayAudioChannel><id>1</id><audioCompressionType>%s</audioCompressionType></TwoWayAudioChannel></TwoWayAudioChannelList>`

// TestTalkAsDevicesAre: codecs that are not passed through, refusals, devices that respond
// at the end of the sound only, ask for credentials again, or name the session.
func TestTalkAsDevicesAre(t *testing.T) {
	t.Parallel()
	heard := make(chan []byte, 1)
	raw := func(answer string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, answer)
			sound := make([]byte, 5)
			if _, err := io.ReadFull(buffered, sound); err == nil {
				heard <- sound
			}
		}
	}
	challenged := atomic.Int32{}
	for name, sc := range map[string]struct {
		codec, open string
		audio       func(w http.ResponseWriter, r *http.Request)
		kind        Kind
		other       string
		want        TalkCodec
		query       string
	}{
		"A-law":          {codec: "G.711alaw", audio: raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), want: PCMA},
		"at the end":     {codec: "G.711ulaw", audio: raw(""), want: PCMU},
		"with a session": {codec: "G.711ulaw", open: "<TwoWayAudioSession><sessionId>a b</sessionId></TwoWayAudioSession>", audio: raw("HTTP/1.1 200 OK\r\n\r\n"), want: PCMU, query: "sessionId=a+b"},
		"AAC":            {codec: "AAC", kind: UnsupportedCodec, other: "AAC"},
		"G.722.1":        {codec: "G.722.1", kind: UnsupportedCodec, other: "G.722.1"},
		"something":      {codec: "&lt;script&gt;", kind: UnsupportedCodec},
		"a refused open": {codec: "G.711ulaw", open: "<ResponseStatus><statusCode>4</statusCode></ResponseStatus>", kind: Refused},
		"a busy one":     {codec: "G.711ulaw", open: "<ResponseStatus><statusCode>2</statusCode></ResponseStatus>", kind: Busy},
		"no sound":       {codec: "G.711ulaw", audio: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, kind: Refused},
		"no HTTP":        {codec: "G.711ulaw", audio: raw("what?\r\n\r\n"), kind: Unsupported},
		"a redirect": {codec: "G.711ulaw", audio: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.9.9.9/", http.StatusFound)
		}, kind: Refused},
		"another nonce": {codec: "G.711ulaw", want: PCMU, audio: func(w http.ResponseWriter, r *http.Request) {
			if challenged.Add(1) == 1 {
				w.Header().Set("WWW-Authenticate", `Digest realm="x", nonce="2", qop="auth", algorithm=MD5`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if !strings.Contains(r.Header.Get("Authorization"), `nonce="2"`) {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			raw("HTTP/1.1 200 OK\r\n\r\n")(w, r)
		}},
		"never satisfied": {codec: "G.711ulaw", kind: WrongPassword, audio: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="x", nonce="%d", qop="auth"`, time.Now().UnixNano()))
			w.WriteHeader(http.StatusUnauthorized)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &talkDevice{list: fmt.Sprintf(ulaw, sc.codec), open: sc.open, audio: sc.audio}
			s := httptest.NewServer(d)
			defer s.Close()
			defer s.CloseClientConnections()
			talk, err := newClient(t).Talk(t.Context(), TalkTarget{Username: "admin", Password: "x", ISAPIURL: s.URL, Channel: 1})
			if sc.want == "" {
				var f *Failure
				if !errors.As(err, &f) || f.Kind != sc.kind || f.Codec != sc.other {
					t.Errorf("%+v, want %s %q", err, sc.kind, sc.other)
				}
				if sc.audio != nil && d.closed.Load() != 1 {
					t.Error("the device was not told that it is over")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if talk.Codec() != sc.want {
				t.Errorf("codec %s", talk.Codec())
			}
			if _, err := talk.Write([]byte("sound")); err != nil {
				t.Error(err)
			}
			if got := string(<-heard); got != "sound" {
				t.Errorf("it heard %q", got)
			}
			if err := talk.Close(); err != nil || d.closed.Load() != 1 || d.query.Load() != sc.query {
				t.Errorf("%v, closed %d times, %v", err, d.closed.Load(), d.query.Load())
			}
		})
	}
}

// TestTalkFailures: each reason.
func TestTalkFailures(t *testing.T) {
	cam := startCamera(t)
	for name, sc := range map[string]struct {
		change func(*TalkTarget)
		kind   Kind
	}{
		"no such channel":    {func(t *TalkTarget) { t.Channel = 9 }, Refused},
		"a wrong password":   {func(t *TalkTarget) { t.Password = "x" }, WrongPassword},
		"a closed port":      {func(t *TalkTarget) { t.ISAPIURL = "http://127.0.0.1:1" }, NotReachable},
		"no address of HTTP": {func(t *TalkTarget) { t.ISAPIURL = "" }, Unsupported},
	} {
		if _, err := newClient(t).Talk(t.Context(), talkTo(cam, sc.change)); kindIn(err) != sc.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestADeviceThatDoesNotListen: a talker does not wait for it, and is not told that it
// hears.
func TestADeviceThatDoesNotListen(t *testing.T) {
	stop := make(chan struct{})
	d := &talkDevice{list: fmt.Sprintf(ulaw, "G.711ulaw"), audio: func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		<-stop
	}}
	s := httptest.NewServer(d)
	defer s.Close()
	defer close(stop)
	talk, err := newClient(t).Talk(t.Context(), TalkTarget{ISAPIURL: s.URL, Channel: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer talk.Close()
	if err := talk.conn.(*boundedConn).Conn.(*net.TCPConn).SetWriteBuffer(4096); err != nil {
		t.Fatal(err)
	}
	talk.writeWithin = 50 * time.Millisecond
	until(t, "the talk fails", func() bool { _, err = talk.Write(make([]byte, maxTalkWrite)); return err != nil })
	if kindIn(err) != Timeout {
		t.Errorf("%v", err)
	}
}

// TestLeftOpen: whether a channel may have been left open is known, also if the device did
// not answer.
func TestLeftOpen(t *testing.T) {
	t.Parallel()
	hangUp := func(w http.ResponseWriter) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	}
	for name, sc := range map[string]struct {
		open, close func(w http.ResponseWriter)
		left        bool
	}{
		"no answer":              {open: hangUp, close: hangUp, left: true},
		"no answer, then closed": {open: hangUp, close: func(http.ResponseWriter) {}},
		"it has nothing open":    {open: hangUp, close: func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }},
		"somebody else talks": {open: func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "<ResponseStatus><statusCode>2</statusCode></ResponseStatus>")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var closes atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodGet:
					_, _ = fmt.Fprintf(w, ulaw, "G.711ulaw")
				case strings.HasSuffix(r.URL.Path, "/open"):
					sc.open(w)
				default:
					closes.Add(1)
					sc.close(w)
				}
			}))
			defer s.Close()
			client, target := newClient(t), TalkTarget{ISAPIURL: s.URL, Channel: 1}
			_, err := client.Talk(t.Context(), target)
			if errors.Is(err, ErrLeftOpen) != sc.left || kindIn(err) == "" {
				t.Errorf("%v", err)
			}
			if told := closes.Load() > 0; told != (sc.close != nil) {
				t.Errorf("told that it is over: %v", told)
			}
			if sc.close == nil {
				return
			}
			if err := client.HangUp(t.Context(), target); errors.Is(err, ErrLeftOpen) != sc.left {
				t.Errorf("closing it: %v", err)
			}
		})
	}
}

// FuzzTalk: no answer about talk makes the reader panic, or names a codec that we do not
// know.
func FuzzTalk(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(ulaw, "G.711ulaw")))
	f.Add([]byte("<TwoWayAudioSession><sessionId>1</sessionId></TwoWayAudioSession>"))
	f.Add([]byte("<ResponseStatus><statusCode>2</statusCode><subStatusCode>deviceBusy</subStatusCode></ResponseStatus>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseXML(text)
		if err != nil {
			return
		}
		codec, other, found := talkCodecOf(e, 1)
		if codec != "" && codec != PCMU && codec != PCMA || !found && (codec != "" || other != "") || len(other) > 8 {
			t.Errorf("%q, %q, %v", codec, other, found)
		}
		if q := talkSession(e); strings.ContainsAny(q, " \r\n&?#") {
			t.Errorf("query %q", q)
		}
		_ = refusedBy(answer{xml: e})
	})
}
