package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/api/client"
	"latchkey/internal/certificate/acmetest"
)

// serveSecurely starts `latchkey serve` with HTTPS, and waits until it serves. Its plain
// HTTP is open to other machines.
func serveSecurely(t *testing.T, env []string, data, https string, more ...string) *service {
	t.Helper()
	s := &service{http: freeAddr(t), rtsp: freeAddr(t), metrics: freeAddr(t)}
	args := []string{"serve", "--data", data, "--http", everywhere(s.http), "--https", https, "--rtsp", s.rtsp, "--metrics", s.metrics}
	s.process = newProcess(binary, append(args, more...)...)
	s.cmd.Env = append(os.Environ(), env...)
	s.launch(t)
	eventually(t, "latchkey serve is ready", func() bool {
		if s.ended() {
			t.Fatalf("latchkey serve has ended: %s", tail(s.said(), 3000))
		}
		res, err := http.Get("http://" + s.metrics + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

// everywhere returns an address of every interface instead of one of loopback.
func everywhere(addr string) string { return strings.Replace(addr, "127.0.0.1", "0.0.0.0", 1) }

// securely makes the service's client one of HTTPS, with HTTP/2.
func (s *service) securely(t *testing.T, https string, trust *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	c := &http.Client{Transport: transport}
	service, err := client.New("https://"+https, client.Options{HTTP: c, AnyPosition: true})
	if err != nil {
		t.Fatal(err)
	}
	s.api = &apiClient{host: https, service: service}
	return c
}

// TestTheSetUpLinkLeadsToWhereItListens: also on another address of loopback, where
// localhost is not, and the certificate is good there.
func TestTheSetUpLinkLeadsToWhereItListens(t *testing.T) {
	t.Parallel()
	https := strings.Replace(freeAddr(t), "127.0.0.1", "127.0.0.5", 1)
	s := serveIn(t, nil, binary, t.TempDir(), "--https", https)
	at, _ := s.setUpLink(t)
	if at != "https://"+https {
		t.Errorf("the link leads to %s; it listens on %s", at, https)
	}
	if want := "Open https://" + https + " in a browser."; !strings.Contains(s.said(), want) {
		t.Errorf("it does not say %q", want)
	}
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := insecure.Get(at + "/root.crt")
	if err != nil {
		t.Fatal(err)
	}
	der, err := io.ReadAll(res.Body)
	res.Body.Close()
	root, wrong := x509.ParseCertificate(der)
	if err != nil || wrong != nil {
		t.Fatal(err, wrong)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	if res, err = trusting.Get(at + "/healthz"); err != nil {
		t.Fatalf("whoever trusts the authority: %v", err)
	}
	res.Body.Close()
}

// TestHTTPSWithAnAuthorityOfItsOwn: the first start makes it, its root is downloaded over
// plain HTTP, which does nothing else, and everything works within TLS: the API, events
// over HTTP/2, and the door. Another start has the same root.
func TestHTTPSWithAnAuthorityOfItsOwn(t *testing.T) {
	t.Parallel()
	dir, https, rtsps := t.TempDir(), freeAddr(t), freeAddr(t)
	s := serveSecurely(t, nil, dir, everywhere(https), "--rtsps", rtsps)
	plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+s.http+path, strings.NewReader(`{"login": "a", "password": "b"}`))
		if err != nil {
			t.Fatal(err)
		}
		res, err := plain.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, body
	}
	if res, _ := ask("GET", "/login"); res.StatusCode != 308 || res.Header.Get("Location") != "https://"+https+"/login" {
		t.Errorf("a browser is told %d %s", res.StatusCode, res.Header.Get("Location"))
	}
	if res, body := ask("POST", "/api/v1/sessions"); res.StatusCode != 403 || !bytes.Contains(body, []byte("https_required")) {
		t.Errorf("a password in clear: %d %s", res.StatusCode, body)
	}
	res, der := ask("GET", "/root.crt")
	root, err := x509.ParseCertificate(der)
	if err != nil || res.Header.Get("Content-Type") != "application/x-x509-ca-cert" {
		t.Fatalf("the root: %v, %v", err, res.Header)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)

	web := s.securely(t, https, &tls.Config{RootCAs: roots})
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	device := owner.addDevice("rtsp://127.0.0.1:1/cam", "u", "p")
	r, err := http.NewRequest("GET", "https://"+https+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+rita.token)
	a, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if a.StatusCode != 200 || a.ProtoMajor != 2 || a.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("%s %s, %v", a.Proto, a.Status, a.Header)
	}
	events := &eventStream{t: t, body: a.Body, events: make(chan sentEvent, 100)}
	go events.read(a.Body)
	if e, _ := events.next(); e.name != "ready" {
		t.Errorf("the stream begins with %+v", e)
	}
	events.want("invited", owner.share(rita, device, "live_view"), device)

	conn, err := tls.Dial("tcp", rtsps, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Errorf("the door within TLS: %v", err)
	} else {
		conn.Close()
	}

	var out bytes.Buffer
	png := filepath.Join(t.TempDir(), "root.png")
	args := []string{"root", "--data", dir, "--http", everywhere(s.http), "--https", everywhere(https), "--qr", png}
	if code := run(t.Context(), args, os.LookupEnv, streams{out: &out, err: &out}); code != 0 {
		t.Fatalf("latchkey root: exit status %d, %s", code, &out)
	}
	shown, qr, _ := strings.Cut(out.String(), "\n\x1b")
	lines := strings.Split(strings.TrimSpace(shown), "\n")
	fingerprint, address := lines[1], lines[len(lines)-1]
	if !strings.Contains(s.said(), strings.TrimPrefix(fingerprint, "SHA-256 ")) || !strings.Contains(s.said(), address) || !strings.HasSuffix(address, "/root.crt") || !strings.Contains(qr, "█") {
		t.Errorf("latchkey root says\n%s\nand serve said\n%s", shown, tail(s.said(), 3000))
	}
	wantPNG(t, png)
	out.Reset()
	if code := run(t.Context(), []string{"root", "--data", dir, "--pem"}, os.LookupEnv, streams{out: &out, err: &out}); code != 0 {
		t.Errorf("latchkey root --pem: exit status %d, %s", code, &out)
	}
	if block, rest := pem.Decode(out.Bytes()); block == nil || !bytes.Equal(block.Bytes, der) || len(rest) != 0 {
		t.Errorf("latchkey root --pem: %s", &out)
	}

	if code := s.stop(t); code != 0 {
		t.Errorf("with an open stream it ends with status %d", code)
	}
	s = serveSecurely(t, nil, dir, everywhere(https))
	s.securely(t, https, &tls.Config{RootCAs: roots})
	s.login(t, "owner")
}

func wantPNG(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err == nil {
		_, err = png.Decode(bytes.NewReader(raw))
	}
	if err != nil {
		t.Errorf("the QR code: %v", err)
	}
}

// TestHTTPSByACME: a certificate is got from an authority, here one of the test, and kept
// for the next start; it is one that this machine trusts, so browsers are told to stay.
func TestHTTPSByACME(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, "tls-alpn-01")
	bundle := filepath.Join(t.TempDir(), "trusted.pem")
	var trusted bytes.Buffer
	for _, cert := range []*x509.Certificate{ca.Certificate(), ca.Root()} {
		_ = pem.Encode(&trusted, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	if err := os.WriteFile(bundle, trusted.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Root())
	dir, https := t.TempDir(), freeAddr(t)
	ca.At("", https)
	for range 2 {
		s := serveSecurely(t, []string{"SSL_CERT_FILE=" + bundle}, dir, https, "--acme", "door.example.com", "--acme-directory", ca.Directory())
		web := s.securely(t, https, &tls.Config{RootCAs: roots})
		web.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, https)
		}
		eventually(t, "there is a certificate", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "GET", "https://door.example.com/healthz", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := web.Do(r)
			if err != nil {
				return false
			}
			res.Body.Close()
			if hsts := res.Header.Get("Strict-Transport-Security"); hsts == "" || res.StatusCode != 200 {
				t.Errorf("%s, %q", res.Status, hsts)
			}
			return true
		})
		if code := s.stop(t); code != 0 {
			t.Errorf("it ends with status %d", code)
		}
	}
	if made := ca.Made(); made != 1 {
		t.Errorf("%d certificates were made for two starts", made)
	}
}
