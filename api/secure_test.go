package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/certificate"
)

func TestRedirect(t *testing.T) {
	t.Parallel()
	root := []byte("a certificate")
	w := newWorld(t, func(c *Config) { c.Root = root })
	ask := func(port, method, host, target string, header ...string) answer {
		t.Helper()
		r := httptest.NewRequest(method, target, strings.NewReader("a secret"))
		r.Host = host
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		recorder := httptest.NewRecorder()
		w.server.redirect(port).ServeHTTP(recorder, r)
		res := recorder.Result()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{res, body}
	}
	for _, c := range []struct{ port, method, host, target, want string }{
		{"443", "GET", "nas.local", "/", "https://nas.local/"},
		{"443", "GET", "nas.local:8080", "/my-shares?page=2&x=%2F", "https://nas.local/my-shares?page=2&x=%2F"},
		{"8443", "HEAD", "192.168.1.5:8080", "/api/v1/openapi.yaml", "https://192.168.1.5:8443/api/v1/openapi.yaml"},
		{"8443", "GET", "[fd00::1]:8080", "/", "https://[fd00::1]:8443/"},
		{"443", "GET", "[fd00::1]", "/", "https://[fd00::1]/"},
		{"443", "GET", "nas", "//elsewhere.example/x", "https://nas//elsewhere.example/x"},
		{"443", "GET", "nas", "/readyz", "https://nas/readyz"},
		{"443", "GET", "nas", "/root.crt/x", "https://nas/root.crt/x"},
	} {
		a := ask(c.port, c.method, c.host, c.target)
		if got := a.Header.Get("Location"); a.StatusCode != http.StatusPermanentRedirect || got != c.want || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s http://%s%s: %d to %s, want %s", c.method, c.host, c.target, a.StatusCode, got, c.want)
		}
	}
	for _, host := range []string{"", "a b", "nas/../x", "user@nas", "<script>", "[fe80::1%25eth0]", strings.Repeat("a", 300)} {
		if a := ask("443", "GET", host, "/"); a.StatusCode != 400 || a.problem(t).Code != "invalid_header" || a.Header.Get("Location") != "" {
			t.Errorf("Host %q: %d to %q", host, a.StatusCode, a.Header.Get("Location"))
		}
	}
	for name, a := range map[string]answer{
		"a log-in": ask("443", "POST", "nas", "/api/v1/sessions"), "a deletion": ask("443", "DELETE", "nas", "/root.crt"),
		"a session": ask("443", "GET", "nas", "/api/v1/devices", "Authorization", "Bearer x"),
	} {
		p := a.problem(t)
		if a.StatusCode != 403 || p.Code != "https_required" || !strings.Contains(p.Detail, "https://nas") || a.Header.Get("Connection") != "close" || a.Header.Get("Location") != "" {
			t.Errorf("%s: %d %+v", name, a.StatusCode, p)
		}
	}
	if a := ask("443", "GET", "nas", "/healthz"); a.StatusCode != 200 {
		t.Errorf("/healthz: %d", a.StatusCode)
	}
	if a := ask("443", "GET", "nas", RootPath); a.StatusCode != 200 || !bytes.Equal(a.body, root) || a.Header.Get("Content-Type") != "application/x-x509-ca-cert" {
		t.Errorf("%s: %d %s %q", RootPath, a.StatusCode, a.Header.Get("Content-Type"), a.body)
	}
}

// FuzzRedirect: whatever a client sends, it is led to the host that it named, or nowhere.
func FuzzRedirect(f *testing.F) {
	f.Add("nas.local:8080", "/a?b")
	f.Add("[::1]", "//x@y")
	f.Add("a\r\nb", "/\r\nSet-Cookie: x")
	f.Add("nas", "x:.elsewhere.example") // with a scheme and no slash
	s := &Server{}
	f.Fuzz(func(t *testing.T, host, path string) {
		target, err := url.ParseRequestURI(path)
		if err != nil {
			return // as for the server
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Host, r.URL = host, target
		w := httptest.NewRecorder()
		s.redirect("8443").ServeHTTP(w, r)
		to, err := w.Result().Location()
		if err != nil {
			return
		}
		name, _, err := net.SplitHostPort(host)
		if err != nil {
			name = strings.Trim(host, "[]")
		}
		if w.Code == 308 && (to.Scheme != "https" || to.Port() != "8443" || to.Hostname() != name || to.User != nil) {
			t.Errorf("%q leads to %v", host, to)
		}
	})
}

// within runs a server of the world with TLS, and returns its address and what trusts it.
func (w *world) within(t *testing.T, public bool) (addr string, trust *tls.Config) {
	t.Helper()
	own, err := certificate.OpenOwn(certificate.OwnConfig{
		File: filepath.Join(t.TempDir(), "authority.pem"), Host: "nas", Addresses: func() ([]netip.Addr, error) { return nil, nil }, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := w.server.RunSecure(ctx, l, Secure{TLS: &tls.Config{GetCertificate: own.Get, MinVersion: tls.VersionTLS12}, Public: func() bool { return public }}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); run.Wait() })
	roots := x509.NewCertPool()
	roots.AddCert(own.Authority().Root())
	return l.Addr().String(), &tls.Config{RootCAs: roots}
}

// secureClient is a client with HTTP/2, from an address of this machine.
func secureClient(t *testing.T, trust *tls.Config, from string) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: trust, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func TestWithinTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if a := w.do("GET", RootPath, "", nil); a.StatusCode != 404 {
		t.Errorf("%s without an authority: %d", RootPath, a.StatusCode)
	}
	for _, public := range []bool{false, true} {
		addr, trust := w.within(t, public)
		res, err := secureClient(t, trust, "127.0.0.1").Get("https://" + addr + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || res.ProtoMajor != 2 || (res.Header.Get("Strict-Transport-Security") != "") != public {
			t.Errorf("public %v: %s %s %v", public, res.Proto, res.Status, res.Header)
		}
		for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			old := trust.Clone()
			old.MinVersion, old.MaxVersion = tls.VersionTLS10, version
			conn, err := tls.Dial("tcp", addr, old)
			if (err == nil) != want {
				t.Errorf("%s: %v", tls.VersionName(version), err)
			}
			if err == nil {
				conn.Close()
			}
		}
	}
}

// TestHalfHandshakes: connections that begin no handshake, or half of one, take nobody's
// place, and are not logged one by one.
func TestHalfHandshakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxConnections, c.MaxConnectionsOfNetwork = 6, 6 })
	addr, trust := w.within(t, false)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	for n := range 20 {
		conn, err := dialer.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if n%2 == 0 {
			_, _ = conn.Write([]byte{22, 3, 1, 2, 0, 1}) // a ClientHello begins
		}
		if n%5 == 4 {
			_, _ = conn.Write(bytes.Repeat([]byte("x"), 600))
		}
	}
	client := secureClient(t, trust, "127.0.0.3")
	for range 3 {
		res, err := client.Get("https://" + addr + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		client.CloseIdleConnections()
	}
	if strings.Contains(w.logged.String(), "handshake") {
		t.Errorf("handshakes are logged:\n%s", w.logged)
	}
}

// TestRequestsOfANetworkOverHTTP2: within connections it has no more at once than it may
// have connections; others are not concerned.
func TestRequestsOfANetworkOverHTTP2(t *testing.T) {
	t.Parallel()
	reached, leave := make(chan struct{}, 10), make(chan struct{})
	w := newWorld(t, func(c *Config) {
		c.MaxConnections, c.MaxConnectionsOfNetwork = 20, 3
		c.Portal = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			reached <- struct{}{}
			<-leave
		})
	})
	addr, trust := w.within(t, false)
	client := secureClient(t, trust, "127.0.0.2")
	get := func() error {
		res, err := client.Get("https://" + addr + "/page")
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	for range 3 {
		all.Go(func() {
			if err := get(); err != nil {
				t.Error(err)
			}
		})
		<-reached
	}
	if err := get(); err == nil {
		t.Error("a fourth request of the network is served")
	}
	res, err := secureClient(t, trust, "127.0.0.3").Get("https://" + addr + "/healthz")
	if err != nil {
		t.Error(err)
	} else {
		res.Body.Close()
	}
	close(leave)
	all.Wait()
	if err := get(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestRedirectWithChallenges: what an authority asks over plain HTTP comes first.
func TestRedirectWithChallenges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	defer run.Wait()
	defer stop()
	run.Go(func() {
		err := w.server.RunRedirect(ctx, l, Redirect{Port: "443", Challenge: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/challenge" {
					_, _ = io.WriteString(w, "proof")
					return
				}
				next.ServeHTTP(w, r)
			})
		}})
		if err != nil {
			t.Error(err)
		}
	})
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]int{"/challenge": 200, "/": 308, "/api/v1/devices": 308, "/healthz": 200} {
		res, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
	client.CloseIdleConnections()
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.conns) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// TestAStalledHandshakeEnds: after five seconds, by a clock of its own.
func TestAStalledHandshakeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := &pipes{conns: make(chan net.Conn)}
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		defer run.Wait()
		defer stop()
		run.Go(func() {
			none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("there is none") }
			_ = w.server.RunSecure(ctx, l, Secure{TLS: &tls.Config{GetCertificate: none}, Public: func() bool { return false }})
		})
		for name, begun := range map[string][]byte{"nothing": nil, "half of a ClientHello": {22, 3, 1, 2, 0, 1, 0}} {
			client, server := net.Pipe()
			l.conns <- server
			if _, err := client.Write(begun); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err := client.Read(make([]byte, 1))
			if took := time.Since(began); err == nil || took != readHeaderTimeout {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			client.Close()
		}
	})
}
