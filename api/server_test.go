package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

func TestNewReportsEveryFaultTogether(t *testing.T) {
	_, err := New(Config{SessionTTL: -1, Components: []Component{{Name: "log"}}})
	if err == nil {
		t.Fatal("an empty configuration is accepted")
	}
	for _, fault := range []string{"Sessions", "Fence", "Progress", "Logger", "Metrics", "SessionTTL", "component 0"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("the error does not name %s: %v", fault, err)
		}
	}
}

func TestOperationalRoutes(t *testing.T) {
	ready, notice := true, ""
	w := newWorld(t, func(c *Config) {
		c.Components = []Component{
			{Name: "log", State: func(context.Context) (string, bool) { return "connected", true }},
			{Name: "index", State: func(context.Context) (string, bool) { return "live", ready }, Reason: func() string { return "It is loading." }, Notice: func() string { return notice }},
		}
	})
	if a := w.do("GET", "/healthz", "", nil); a.StatusCode != 200 || strings.TrimSpace(string(a.body)) != `{"status":"ok"}` {
		t.Errorf("/healthz: %d %s", a.StatusCode, a.body)
	}
	readyz := func(when string, status int, bare, local, whole string) {
		t.Helper()
		for who, c := range map[string]struct {
			a    answer
			want string
		}{
			"anybody":      {w.do("GET", "/readyz", "", nil), bare},
			"this machine": {w.send(onThisMachine(w.request("GET", "/readyz", "", nil))), local},
			"operators":    {w.asOperator("/readyz"), whole},
		} {
			if got := strings.TrimSpace(string(c.a.body)); c.a.StatusCode != status || got != c.want || c.a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s, /readyz for %s: %d %s, want %d %s", when, who, c.a.StatusCode, got, status, c.want)
			}
		}
	}
	all := `{"status":"ready","components":{"index":{"ready":true,"state":"live"},"log":{"ready":true,"state":"connected"}}}`
	readyz("ready", 200, `{"status":"ready"}`, all, all)
	notice = "It is full."
	readyz("with the index full", 200, `{"status":"ready"}`, all,
		`{"status":"ready","components":{"index":{"ready":true,"state":"live","reason":"It is full."},"log":{"ready":true,"state":"connected"}}}`)
	ready = false
	readyz("with the index away", 503, `{"status":"not_ready"}`,
		`{"status":"not_ready","components":{"index":{"ready":false,"state":"live"},"log":{"ready":true,"state":"connected"}}}`,
		`{"status":"not_ready","components":{"index":{"ready":false,"state":"live","reason":"It is loading."},"log":{"ready":true,"state":"connected"}}}`)
	if a := w.asOperator("/healthz"); a.StatusCode != 200 || strings.TrimSpace(string(a.body)) != `{"status":"ok"}` {
		t.Errorf("/healthz for operators: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("GET", "/api/v1/openapi.yaml", "", nil); a.StatusCode != 200 || string(a.body) != string(specification) {
		t.Errorf("/api/v1/openapi.yaml: %d, %d bytes", a.StatusCode, len(a.body))
	}
}

func TestMetricsHaveBoundedLabels(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/nowhere/a", "/nowhere/b", "/api/v1/devices/one", "/api/v1/devices/two"} {
		w.do("GET", path, "", nil)
	}
	w.do("BREW", "/api/v1/devices/one", "", nil)
	text := string(w.asOperator("/metrics").body)
	for _, want := range []string{
		`latchkey_http_requests_total{method="GET",route="/api/v1/devices/:device",status="4xx"} 2`,
		`latchkey_http_requests_total{method="other",route="unmatched",status="4xx"} 3`,
		`latchkey_http_requests_in_flight 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s:\n%s", want, text)
		}
	}
}

func TestRoutingErrors(t *testing.T) {
	w := newWorld(t)
	if a := w.wantStatus(w.do("GET", "/", "", nil), 200); !strings.Contains(string(a.body), `href="/api/v1/openapi.yaml"`) {
		t.Errorf("/ leads nowhere: %s", a.body)
	}
	w.wantProblem(w.do("GET", "/api/v1/", "", nil), 404, "no_such_route")
	w.wantProblem(w.do("GET", "/api/v1/devices/", "", nil), 404, "no_such_route")
	a := w.do("PATCH", "/api/v1/devices", "", nil)
	w.wantProblem(a, 405, "method_not_allowed")
	if allow := a.Header.Get("Allow"); !strings.Contains(allow, "GET") || !strings.Contains(allow, "HEAD") || !strings.Contains(allow, "POST") {
		t.Errorf("Allow is %q", allow)
	}
	if a := w.do("OPTIONS", "/api/v1/devices", "", nil); a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(a.Header.Get("Allow"), "POST, HEAD") {
		t.Errorf("OPTIONS: %d %v", a.StatusCode, a.Header)
	}
	if a := w.do("HEAD", "/healthz", "", nil); a.StatusCode != 200 || len(a.body) != 0 || a.Header.Get("Content-Type") == "" {
		t.Errorf("HEAD: %d %q %v", a.StatusCode, a.body, a.Header)
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/healthz", "/nowhere", "/api/v1/devices", "/api/v1/openapi.yaml"} {
		h := w.do("GET", path, "", nil).Header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": "",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
			}
		}
	}
}

func TestAPanicIsAnAnswerWithoutItsText(t *testing.T) {
	w := newWorld(t)
	w.server.echo.GET("/panic", func(echo.Context) error { panic("alice@example.com") })
	a := w.do("GET", "/panic", "", nil)
	w.wantProblem(a, 500, "internal")
	if strings.Contains(string(a.body), "alice") || strings.Contains(w.logged.String(), "alice") {
		t.Errorf("what was panicked with is told:\n%s\n%s", a.body, w.logged.String())
	}
	if !strings.Contains(w.logged.String(), "request panicked") {
		t.Error("the log does not tell of the panic")
	}
}

func TestInternalErrorsAreHidden(t *testing.T) {
	w := newWorld(t)
	w.vault.fail = errors.New("dial tcp 10.0.0.1:5432: refused")
	a := w.do("GET", "/api/v1/devices", "token", nil)
	p := w.wantProblem(a, 500, "internal")
	if strings.Contains(string(a.body), "10.0.0.1") {
		t.Errorf("the cause is told: %+v", p)
	}
	if !strings.Contains(w.logged.String(), "10.0.0.1:5432") || !strings.Contains(w.logged.String(), p.RequestID) {
		t.Errorf("the log lacks the cause or the request's id:\n%s", w.logged.String())
	}
}

func TestPortalHasWhatIsNotTheAPI(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Portal = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "portal "+r.URL.Path) })
	})
	if a := w.do("GET", "/index.html", "", nil); string(a.body) != "portal /index.html" {
		t.Errorf("/index.html: %s", a.body)
	}
	w.wantProblem(w.do("GET", "/api/v1/nowhere", "", nil), 404, "no_such_route")
	w.wantProblem(w.do("GET", "/api/v1/devices", "", nil), 401, "unauthenticated")
}

func TestRunEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	w.server.echo.GET("/slow", func(c echo.Context) error {
		close(entered)
		<-leave
		return c.NoContent(204)
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx, l) }()

	status := make(chan int, 1)
	go func() {
		answer, err := http.Get("http://" + l.Addr().String() + "/slow")
		if err != nil {
			status <- 0
			return
		}
		answer.Body.Close()
		status <- answer.StatusCode
	}()
	<-entered
	stop()
	close(leave)
	if got := <-status; got != 204 {
		t.Errorf("a request that was being served ended with %d", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunClosesWhatDoesNotEnd(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ShutdownWithin = time.Millisecond })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	w.server.echo.GET("/stuck", func(c echo.Context) error {
		close(entered)
		<-c.Request().Context().Done() // ends when the connection is closed
		return c.Request().Context().Err()
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx, l) }()
	go func() {
		if answer, err := http.Get("http://" + l.Addr().String() + "/stuck"); err == nil {
			answer.Body.Close()
		}
	}()
	<-entered
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestServerLogHoldsNoAddress(t *testing.T) {
	var out strings.Builder
	n, err := serverLog{slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}.Write([]byte("http: TLS handshake error from 192.0.2.7:4711: EOF\n"))
	if n == 0 || err != nil || strings.Contains(out.String(), "192.0.2.7") || !strings.Contains(out.String(), "TLS handshake error") {
		t.Errorf("wrote %d, %v: %s", n, err, out.String())
	}
}

func TestHeadOverTheWire(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.server.Handler())
	defer server.Close()
	answer, err := http.Head(server.URL + "/api/v1/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != 200 || len(body) != 0 {
		t.Errorf("HEAD: %d with %d bytes", answer.StatusCode, len(body))
	}
}

// TestStoppingAnswersWhoIsConnected: whoever is connected when the server is to
// stop is answered, also those whose connection it has not accepted yet.
func TestStoppingAnswersWhoIsConnected(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const clients = 30
	var waiting []net.Conn
	for range clients {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: latchkey\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, c)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.server.Run(ctx, l); err != nil {
		t.Fatal(err)
	}
	for i, c := range waiting {
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("client %d: %s", i, answer.Status)
		}
	}
}
