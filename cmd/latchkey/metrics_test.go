package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fetch reads a page; headers are pairs.
func fetch(t testing.TB, url string, headers ...string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(text))
}

// TestOnlyOperatorsReadWhyADialFailed: an owner adds an address where nobody
// listens. Why it was not reached is on the address for operators and nowhere else.
func TestOnlyOperatorsReadWhyADialFailed(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://"+freeAddr(t)+"/x", "", "")
	if got := describeStatus(t, s.rtsp, "/"+device+"/1", owner.streamKey()); got != 503 {
		t.Fatalf("a camera that is not there: status %d, want 503", got)
	}
	const why = `latchkey_rtsp_camera_errors_total{reason="refused"} 1`
	eventually(t, "operators read why", func() bool {
		_, text := fetch(t, "http://"+s.metrics+"/metrics")
		return strings.Contains(text, why)
	})
	if status, text := fetch(t, "http://"+s.http+"/metrics"); status != 200 || !strings.Contains(text, "latchkey_rtsp_camera_dials_total 1") || strings.Contains(text, "refused\"") || strings.Contains(text, "camera_errors") {
		t.Errorf("a program of this machine reads %d\n%s", status, text)
	}
	if status, text := fetch(t, "http://"+s.http+"/metrics", "X-Forwarded-For", "192.0.2.7"); status != 404 || !strings.Contains(text, "no_such_route") {
		t.Errorf("through a proxy one reads %d %s", status, text)
	}
	var list struct{ Items []map[string]any }
	owner.must("GET", "/devices", nil, &list)
	for _, item := range list.Items {
		for field, value := range item {
			if text, ok := value.(string); ok && strings.Contains(text, "refused") {
				t.Errorf("the owner reads %s: %s", field, text)
			}
		}
	}

	for path, want := range map[string]string{"/readyz": `{"status":"ready"}`, "/healthz": `{"status":"ok"}`} {
		if status, text := fetch(t, "http://"+s.http+path, "X-Forwarded-For", "192.0.2.7"); status != 200 || text != want {
			t.Errorf("%s is %d %s, want 200 %s", path, status, text, want)
		}
	}
	if status, text := fetch(t, "http://"+s.metrics+"/readyz"); status != 200 || !strings.Contains(text, `"index":{"ready":true,"state":"live"}`) {
		t.Errorf("/readyz for operators is %d %s", status, text)
	}
	if status, text := fetch(t, "http://"+s.metrics+"/healthz"); status != 200 || text != `{"status":"ok"}` {
		t.Errorf("/healthz for operators is %d %s", status, text)
	}
	if status, _ := fetch(t, "http://"+s.metrics+"/api/v1/openapi.yaml"); status != 404 {
		t.Errorf("the API is on the address for operators: %d", status)
	}
}

// TestTheMetricsAreNoCamera: the door does not connect to the address for operators,
// which is as own as the others.
func TestTheMetricsAreNoCamera(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	owner := s.register(t, "owner")
	body := map[string]any{"name": "Mine", "rtsp_url": "rtsp://" + s.metrics + "/x", "username": "", "password": ""}
	if err := owner.call("POST", "/devices", body, nil); err == nil || !strings.Contains(err.Error(), "422") {
		t.Errorf("the address as a camera: %v, want status 422", err)
	}
	_, port, err := net.SplitHostPort(s.metrics)
	if err != nil {
		t.Fatal(err)
	}
	hostname, _ := os.Hostname()
	names := slices.DeleteFunc([]string{"ip6-localhost", "localhost.localdomain", hostname}, func(name string) bool {
		_, err := net.LookupHost(name)
		return name == "" || err != nil
	})
	if len(names) == 0 {
		t.Skip("this machine has no other name for itself")
	}
	// A name is judged when it is dialled.
	device := owner.addDevice("rtsp://"+names[0]+":"+port+"/x", "", "")
	if got := describeStatus(t, s.rtsp, "/"+device+"/1", owner.streamKey()); got != 503 {
		t.Errorf("status %d, want 503", got)
	}
	eventually(t, "it was not dialled", func() bool {
		_, text := fetch(t, "http://"+s.metrics+"/metrics")
		return strings.Contains(text, `latchkey_rtsp_camera_errors_total{reason="denied address"} 1`)
	})
}

// What the line says on which the service tells where it serves.
var (
	saysHTTP    = regexp.MustCompile(`latchkey serves.* http=(\S+).*\n`)
	saysMetrics = regexp.MustCompile(`latchkey serves.* metrics=(\S+)`)
)

// TestTheUsualAddressOfTheMetrics: several services take a port each, and say
// which; the metrics can be turned off.
func TestTheUsualAddressOfTheMetrics(t *testing.T) {
	if l, err := net.Listen("tcp", usualMetrics); err == nil { // else somebody else has it
		t.Cleanup(func() { l.Close() })
	}
	seen := map[string]bool{usualMetrics: true}
	for range 2 {
		s := startServe(t)
		m := saysMetrics.FindStringSubmatch(s.said())
		if m == nil || seen[m[1]] || !strings.Contains(s.said(), "the default metrics address cannot be opened") {
			t.Fatalf("the address of the metrics is %v; it said:\n%s", m, s.said())
		}
		seen[m[1]] = true
		if status, text := fetch(t, "http://"+m[1]+"/readyz"); status != 200 || !strings.Contains(text, `"components"`) {
			t.Errorf("/readyz there: %d %s", status, text)
		}
	}
	if s := startServe(t, "--metrics", "off"); !strings.Contains(s.said(), "metrics=off") || strings.Contains(s.said(), "the usual address") {
		t.Errorf("turned off, it said:\n%s", s.said())
	}
}

// startServe starts a service that is given no address of the metrics, and waits
// until it is ready and has said so.
func startServe(t *testing.T, more ...string) *service {
	t.Helper()
	s := &service{http: freeAddr(t), rtsp: freeAddr(t)}
	s.process = start(t, binary, append([]string{"serve", "--data", t.TempDir(), "--http", s.http, "--rtsp", s.rtsp}, more...)...)
	s.waitReady(t)
	eventually(t, "it says where it serves", func() bool { return strings.Contains(s.said(), "latchkey serves") })
	return s
}

// TestWhereOthersCanConnect: at a wide address nothing is for this machine alone, no
// camera is on loopback, and both is said.
func TestWhereOthersCanConnect(t *testing.T) {
	s := &service{rtsp: freeAddr(t)}
	s.process = start(t, binary, "serve", "--data", t.TempDir(), "--http", "0.0.0.0:0", "--rtsp", s.rtsp, "--metrics", "0.0.0.0:0")
	eventually(t, "it says where it serves", func() bool { return saysHTTP.MatchString(s.said()) })
	port, operators := saysHTTP.FindStringSubmatch(s.said())[1], saysMetrics.FindStringSubmatch(s.said())[1]
	port, operators = port[strings.LastIndex(port, ":")+1:], operators[strings.LastIndex(operators, ":")+1:]
	s.http = "127.0.0.1:" + port
	s.api = newAPIClient(s.http)
	s.waitReady(t)
	for _, path := range []string{"/metrics", "/readyz"} {
		if status, text := fetch(t, "http://127.0.0.1:"+port+path); path == "/metrics" && status != 404 || path == "/readyz" && text != `{"status":"ready"}` {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	eventually(t, "it warns", func() bool {
		return strings.Contains(s.said(), "--metrics is open to other machines") && strings.Contains(s.said(), "cameras on loopback are not dialed")
	})
	cam := listenOnce(t)
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://"+cam.Addr().String()+"/x", "", "")
	if got := describeStatus(t, s.rtsp, "/"+device+"/1", owner.streamKey()); got != 503 {
		t.Errorf("a camera on loopback: status %d, want 503", got)
	}
	eventually(t, "it was not dialled", func() bool {
		_, text := fetch(t, "http://127.0.0.1:"+operators+"/metrics")
		return strings.Contains(text, `latchkey_rtsp_camera_errors_total{reason="denied address"} 1`)
	})
}

// listenOnce listens and fails the test if somebody connects.
func listenOnce(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			c.Close()
			t.Error("somebody connected")
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l
}

// TestDemosBesideEachOther: none fails because another has the usual address.
func TestDemosBesideEachOther(t *testing.T) {
	for range 2 {
		p := newProcess(binary, "demo", "--data", t.TempDir(), "--http", freeAddr(t), "--rtsp", freeAddr(t))
		if line := firstLine(t, p); !strings.HasPrefix(line, `{"ready":true,`) {
			t.Errorf("the demo said %q", line)
		}
	}
}
