package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// withPrivateMetrics gives a server a metric that is for operators only.
func withPrivateMetrics(c *Config) {
	private := prometheus.NewRegistry()
	private.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "latchkey_secret"}))
	c.PrivateMetrics = private
}

func TestMetricsForOperatorsOnly(t *testing.T) {
	w := newWorld(t, withPrivateMetrics)
	if a := w.asOperator("/metrics"); a.StatusCode != 200 || !strings.Contains(string(a.body), "latchkey_secret 0") || !strings.Contains(string(a.body), "latchkey_passwords_busy_total 0") {
		t.Errorf("operators: %d\n%s", a.StatusCode, a.body)
	}
	a := w.send(onThisMachine(w.request("GET", "/metrics", "", nil)))
	if a.StatusCode != 200 || strings.Contains(string(a.body), "latchkey_secret") || !strings.Contains(string(a.body), "latchkey_passwords_busy_total 0") {
		t.Errorf("this machine: %d\n%s", a.StatusCode, a.body)
	}
	w.wantProblem(w.do("GET", "/metrics", "", nil), 404, "no_such_route")
	for _, path := range []string{"/", "/api/v1/openapi.yaml", "/api/v1/devices", "/debug/pprof/"} {
		if a := w.asOperator(path); a.StatusCode != 404 {
			t.Errorf("operators, %s: %d", path, a.StatusCode)
		}
	}
}

// TestWhoIsOnThisMachine: each thing alone that makes a request one of somebody else.
func TestWhoIsOnThisMachine(t *testing.T) {
	behindProxy := func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")} }
	for name, c := range map[string]struct {
		change func(*http.Request) *http.Request
		config func(*Config)
		want   bool
	}{
		"as it is":                 {want: true},
		"IPv6":                     {change: set(func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:4711", "[::1]:8080" }), want: true},
		"IPv4 in IPv6":             {change: set(func(r *http.Request) { r.RemoteAddr = "[::ffff:127.0.0.1]:4711" }), want: true},
		"by name":                  {change: set(func(r *http.Request) { r.Host = "localhost:8080" }), want: true},
		"from elsewhere":           {change: set(func(r *http.Request) { r.RemoteAddr = "192.0.2.7:4711" })},
		"X-Forwarded-For":          {change: header("X-Forwarded-For", "127.0.0.1")},
		"an empty X-Forwarded-For": {change: header("X-Forwarded-For", "")},
		"X-Real-IP":                {change: header("X-Real-IP", "192.0.2.7")},
		"X-Forwarded-Host":         {change: header("X-Forwarded-Host", "127.0.0.1")},
		"Forwarded":                {change: header("Forwarded", "for=127.0.0.1")},
		"Via":                      {change: header("Via", "1.1 proxy")},
		"X-Forwarded-Proto":        {change: header("X-Forwarded-Proto", "https")},
		"CF-Connecting-IP":         {change: header("CF-Connecting-IP", "192.0.2.7")},
		"True-Client-IP":           {change: header("True-Client-IP", "192.0.2.7")},
		"another header":           {change: header("Accept-Language", "de"), want: true},
		"a page that turned to us": {change: set(func(r *http.Request) { r.Host = "evil.example:8080" })},
		"no host":                  {change: set(func(r *http.Request) { r.Host = "" })},
		"a listener that is open": {change: func(r *http.Request) *http.Request {
			return r.WithContext(context.WithValue(r.Context(), onLoopback{}, false))
		}},
		"a listener we do not know": {change: func(r *http.Request) *http.Request { return r.WithContext(context.Background()) }},
		"trusted proxies":           {config: behindProxy},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.config != nil {
				w = newWorld(t, c.config)
			}
			r := onThisMachine(w.request("GET", "/metrics", "", nil))
			if c.change != nil {
				r = c.change(r)
			}
			if got := w.send(r).StatusCode == 200; got != c.want {
				t.Errorf("answered: %v, want %v", got, c.want)
			}
		})
	}
}

func set(change func(*http.Request)) func(*http.Request) *http.Request {
	return func(r *http.Request) *http.Request { change(r); return r }
}

func header(name, value string) func(*http.Request) *http.Request {
	return set(func(r *http.Request) { r.Header.Set(name, value) })
}

// TestPagesElsewhereReadNothing: a browser of this machine that a page elsewhere makes
// ask at the operators' address names the page's host.
func TestPagesElsewhereReadNothing(t *testing.T) {
	w := newWorld(t, withPrivateMetrics)
	for host, want := range map[string]int{"localhost:9464": 200, "127.0.0.1:9464": 200, "[::1]:9464": 200, "evil.example:9464": 404, "": 404} {
		r := onThisMachine(w.request("GET", "/metrics", "", nil))
		r.Host = host
		rec := httptest.NewRecorder()
		w.server.OperatorHandler().ServeHTTP(rec, r)
		if rec.Code != want {
			t.Errorf("host %q: %d, want %d", host, rec.Code, want)
		}
	}
}

// TestListenersKnowWhoReachesThem asks over the wire: on loopback, and at an address
// that others reach.
func TestListenersKnowWhoReachesThem(t *testing.T) {
	w := newWorld(t, withPrivateMetrics)
	for _, c := range []struct {
		listen string
		run    func(context.Context, net.Listener) error
		want   int
		secret bool
	}{
		{"127.0.0.1:0", w.server.Run, 200, false},
		{"0.0.0.0:0", w.server.Run, 404, false},
		{"127.0.0.1:0", w.server.RunForOperators, 200, true},
		{"0.0.0.0:0", w.server.RunForOperators, 200, true},
	} {
		l, err := net.Listen("tcp", c.listen)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.run(ctx, l) }()
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		a, err := client.Get("http://127.0.0.1:" + port + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != c.want || strings.Contains(string(body), "latchkey_secret") != c.secret {
			t.Errorf("%s: %d, want %d; private: %v; %v\n%.500s", c.listen, a.StatusCode, c.want, c.secret, err, body)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
