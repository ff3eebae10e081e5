package device

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/simcamera"
	"latchkey/streaming/rtspclient"
)

// endless writes something for ever.
func endless(head, again string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, head)
		for {
			if _, err := io.WriteString(w, again); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			if r.Context().Err() != nil {
				return
			}
		}
	}
}

// TestHostileHTTP: whatever a device says, the proof ends in time, takes little memory
// and goes nowhere else.
func TestHostileHTTP(t *testing.T) {
	var visited atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited.Add(1) }))
	defer elsewhere.Close()
	laughs := "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\">"
	for i := 1; i < 10; i++ {
		laughs += fmt.Sprintf("<!ENTITY lol%d \"%s\">", i, strings.Repeat("&lol;", 10))
	}
	laughs += "]><DeviceInfo><serialNumber>&lol9;</serialNumber></DeviceInfo>"
	for name, handler := range map[string]http.HandlerFunc{
		"endless XML":    endless("<DeviceInfo>", "<a>"+strings.Repeat("b", 1000)+"</a>"),
		"endless depth":  endless("", "<a>"),
		"endless text":   endless("<DeviceInfo><serialNumber>", strings.Repeat("x", 4096)),
		"slow bytes":     func(w http.ResponseWriter, r *http.Request) { drip(w, r) },
		"billion laughs": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, laughs) },
		"a file of ours": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, external) },
		"redirects":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"redirects forever": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		},
		"asks for ever": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="x", nonce="%d", qop="auth", stale=true`, time.Now().UnixNano()))
			w.WriteHeader(http.StatusUnauthorized)
		},
		"many elements": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<DeviceInfo>"+strings.Repeat("<a/>", 100_000)+"</DeviceInfo>")
		},
		"headers": func(w http.ResponseWriter, _ *http.Request) {
			for i := range 10_000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", 100))
			}
		},
		"gzip": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(make([]byte, 100))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(handler)
			defer s.Close()
			defer s.CloseClientConnections()
			client := newClient(t, func(c *Config) { c.Within = 2 * time.Second })
			for _, target := range []Target{{ISAPIURL: s.URL}, {ONVIFURL: s.URL}} {
				target.Account, target.Username, target.Password = "alice", "admin", "secret"
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := time.Now()
				_, err := client.Prove(t.Context(), target)
				runtime.ReadMemStats(&after)
				var f *Failure
				if !errors.As(err, &f) || f.Kind != Unsupported && f.Kind != Timeout && f.Kind != WrongPassword {
					t.Errorf("%+v", err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 64<<20 {
					t.Errorf("it allocated %d bytes", grown)
				}
			}
		})
	}
	if n := visited.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

const external = `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><DeviceInfo><serialNumber>&f;</serialNumber></DeviceInfo>`

func drip(w http.ResponseWriter, r *http.Request) {
	for {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestHostileRTSP: the ways in which a simulated camera attacks.
func TestHostileRTSP(t *testing.T) {
	for name, kind := range map[string]simcamera.Hostility{
		"an endless description": simcamera.OversizedSDP, "endless headers": simcamera.EndlessHeaders,
		"noise": simcamera.Noise, "silence": simcamera.Silence,
	} {
		t.Run(name, func(t *testing.T) {
			camera := startCamera(t)
			camera.Attack(kind)
			_, err := newClient(t, func(c *Config) { c.Within = 2 * time.Second }).Prove(t.Context(), whole(camera))
			if k := kindIn(err); k != NotRTSP && k != Timeout && k != Unsupported {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestRebinding: the policy is asked with what the name resolved to, at each dial.
func TestRebinding(t *testing.T) {
	camera := startCamera(t)
	var asked []netip.AddrPort
	client := newClient(t, func(c *Config) {
		c.Allow = func(a netip.AddrPort) error {
			asked = append(asked, a)
			return errors.New("no")
		}
	})
	_, port, _ := net.SplitHostPort(camera.RTSPAddr())
	_, err := client.Prove(t.Context(), Target{Account: "alice", Streams: []Stream{{1, "rtsp://localhost:" + port + "/x"}}})
	if kindIn(err) != AddressForbidden || len(asked) == 0 || !asked[0].Addr().IsLoopback() {
		t.Errorf("%v; asked for %v", err, asked)
	}
}

// TestTheHostOfAnXAddrIsNotFollowed: ONVIF devices say where their services are.
func TestTheHostOfAnXAddrIsNotFollowed(t *testing.T) {
	var visited, profiles atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited.Add(1) }))
	defer elsewhere.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body := "<GetSystemDateAndTimeResponse><SystemDateAndTime/></GetSystemDateAndTimeResponse>"
		switch {
		case strings.Contains(string(text), "GetDeviceInformation"):
			body = "<GetDeviceInformationResponse><Model>X</Model></GetDeviceInformationResponse>"
		case strings.Contains(string(text), "GetCapabilities"):
			body = "<GetCapabilitiesResponse><Capabilities><Media><XAddr>" + elsewhere.URL + "/media</XAddr></Media></Capabilities></GetCapabilitiesResponse>"
		case strings.Contains(string(text), "GetProfiles") && r.URL.Path == "/media":
			profiles.Add(1)
		}
		_, _ = io.WriteString(w, "<Envelope><Body>"+body+"</Body></Envelope>")
	}))
	defer s.Close()
	facts, err := newClient(t).Prove(t.Context(), Target{Account: "alice", ONVIFURL: s.URL})
	if err != nil || facts.Model != "X" || visited.Load() != 0 || profiles.Load() != 1 {
		t.Errorf("%+v, %v; elsewhere %d, here %d", facts, err, visited.Load(), profiles.Load())
	}
}

// TestWordsAreTamed: what a device says can be logged and shown.
func TestWordsAreTamed(t *testing.T) {
	if _, err := parseXML([]byte("<D>\x1b[31m</D>")); err == nil {
		t.Error("a control character is no XML")
	}
	e, err := parseXML([]byte("<D><a> x\n \u202ey\t z </a><b>" + strings.Repeat("é", 1000) + "</b></D>"))
	if err != nil {
		t.Fatal(err)
	}
	if got := e.words("a"); got != "x y z" {
		t.Errorf("%q", got)
	}
	if got := e.words("b"); got != strings.Repeat("é", maxText) {
		t.Errorf("%d runes", len([]rune(got)))
	}
	if e.words("c", "d") != "" {
		t.Error("what is not there has words")
	}
}

// FuzzXML: no document makes the reader panic, or say more than its bounds.
func FuzzXML(f *testing.F) {
	for _, text := range []string{
		"<DeviceInfo xmlns=\"http://www.isapi.org/ver20/XMLSchema\"><serialNumber>DS-1</serialNumber></DeviceInfo>",
		external, "<a><b/></a>", "", "<a>", strings.Repeat("<a>", 100),
		"<s:Envelope><s:Body><s:Fault><s:Code><s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode></s:Code></s:Fault></s:Body></s:Envelope>",
		"<T><UTCDateTime><Date><Year>2026</Year><Month>1</Month><Day>2</Day></Date><Time><Hour>3</Hour><Minute>4</Minute><Second>5</Second></Time></UTCDateTime></T>",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseXML(text)
		if err != nil {
			return
		}
		depth := 0
		var walk func(e *element, at int)
		walk = func(e *element, at int) {
			depth = max(depth, at)
			if s := printable(e.text); len([]rune(s)) > maxText || strings.ContainsAny(s, "\n\r\x00\x1b") {
				t.Errorf("words %q", s)
			}
			for _, c := range e.children {
				walk(c, at+1)
			}
		}
		walk(e, 1)
		if depth > maxDepth {
			t.Errorf("depth %d", depth)
		}
		_, _ = timeOf(e.find("UTCDateTime"))
		_ = unauthorised(e.find("Body"))
	})
}

// FuzzDescription: nor does a description of streams.
func FuzzDescription(f *testing.F) {
	f.Add([]byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 0 RTP/AVP 0\r\na=sendonly\r\n"))
	f.Add([]byte("v=0\r\nm=audio 0 RTP/AVP 0 8\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var medias []Media
		d, err := rtspclient.ParseSDP(text)
		if err == nil {
			medias, err = mediasOf(d)
		}
		if err == nil && (len(medias) == 0 || len(medias) > maxMedias) {
			t.Errorf("%d medias", len(medias))
		}
	})
}

// TestCorpora are committed.
func TestCorpora(t *testing.T) {
	for _, name := range []string{"FuzzXML", "FuzzDescription", "FuzzPTZ", "FuzzTalk"} {
		if files, err := os.ReadDir("testdata/fuzz/" + name); err != nil || len(files) == 0 {
			t.Errorf("%s has no corpus: %v", name, err)
		}
	}
}
