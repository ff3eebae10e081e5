package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"latchkey/internal/certificate/acmetest"
)

// patience bounds the waits for what must happen.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// front is where the authority looks for us.
type front struct {
	plain, secure string
	logged        *locked
}

type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// runACME runs a source for door.example.com in a folder, with what it takes to answer
// the authority.
func runACME(t *testing.T, ca *acmetest.Server, folder string) (*ACME, *front) {
	t.Helper()
	f := &front{logged: &locked{}}
	a := NewACME(ACMEConfig{
		Names: []string{"door.example.com"}, Directory: ca.Directory(), Folder: folder, Client: ca.Client(), Now: time.Now,
		Logger: slog.New(slog.NewTextHandler(f.logged, nil)),
	})
	a.every, a.first = time.Millisecond, time.Millisecond
	web := httptest.NewServer(a.Challenge(http.NotFoundHandler()))
	t.Cleanup(web.Close)
	f.plain = web.Listener.Addr().String()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: a.Get, NextProtos: []string{"h2", acme.ALPNProto}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f.secure = l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = conn.(*tls.Conn).Handshake(); conn.Close() }()
		}
	}()
	ca.At(f.plain, f.secure)
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = a.Run(ctx) })
	t.Cleanup(func() { stop(); run.Wait() })
	return a, f
}

// leafOf returns what a client gets that asks for a name; nil if the handshake fails.
func (f *front) leafOf(name string) *x509.Certificate {
	conn, err := tls.Dial("tcp", f.secure, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // what it is, is the test's
	if err != nil {
		return nil
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

func TestACME(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"tls-alpn-01", "http-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.New(t, challenge)
			folder := filepath.Join(t.TempDir(), "acme")
			_, f := runACME(t, ca, folder)
			eventually(t, "there is a certificate", func() bool { return f.leafOf("door.example.com") != nil })
			for _, name := range []string{"DOOR.example.com", "door.example.com.", "", "elsewhere.example.com"} {
				if leaf := f.leafOf(name); leaf == nil || leaf.VerifyHostname("door.example.com") != nil {
					t.Errorf("asked for %q: %v", name, leaf)
				}
			}
			if made := ca.Made(); made != 1 {
				t.Errorf("%d certificates were made", made)
			}
			files, err := os.ReadDir(folder)
			if err != nil || len(files) < 2 {
				t.Errorf("kept: %v, %v", files, err)
			}
			for _, file := range files {
				if info, err := file.Info(); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v", file.Name(), info.Mode(), err)
				}
			}
			// Another start uses what is kept.
			_, again := runACME(t, ca, folder)
			eventually(t, "the kept certificate is used", func() bool { return again.leafOf("door.example.com") != nil })
			if made := ca.Made(); made != 1 {
				t.Errorf("%d certificates were made for two starts", made)
			}
		})
	}
}

// TestACMERenews: a certificate that ends soon is replaced while it is used.
func TestACMERenews(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, "tls-alpn-01")
	// Of the first one less than a third is left.
	ca.Lasts(-50*24*time.Hour, 20*24*time.Hour)
	_, f := runACME(t, ca, filepath.Join(t.TempDir(), "acme"))
	eventually(t, "there is a certificate", func() bool { return f.leafOf("door.example.com") != nil })
	ca.Lasts(-time.Hour, 90*24*time.Hour)
	eventually(t, "it is renewed", func() bool {
		leaf := f.leafOf("door.example.com")
		return leaf != nil && time.Until(leaf.NotAfter) > 80*24*time.Hour
	})
}

// TestACMEFails: handshakes fail at once and ask for nothing, and the reason is logged.
func TestACMEFails(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, "tls-alpn-01")
	ca.Refuse()
	a, f := runACME(t, ca, filepath.Join(t.TempDir(), "acme"))
	eventually(t, "the failure is logged", func() bool {
		return strings.Contains(f.logged.String(), "no TLS certificate was got by ACME")
	})
	for range 3 {
		if leaf := f.leafOf("door.example.com"); leaf != nil {
			t.Errorf("a certificate: %v", leaf)
		}
	}
	if a.Public() {
		t.Error("it counts as public")
	}
	if _, err := a.Get(&tls.ClientHelloInfo{ServerName: "door.example.com", SupportedProtos: []string{acme.ALPNProto}}); err == nil {
		t.Error("something answers a challenge that nobody made")
	}
}

// TestOthersAreNotAskedFor: names that were not given get nothing from the authority.
func TestOthersAreNotAskedFor(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, "http-01")
	a := NewACME(ACMEConfig{Names: []string{"door.example.com"}, Directory: ca.Directory(), Folder: t.TempDir(), Client: ca.Client(), Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if _, err := a.Get(&tls.ClientHelloInfo{ServerName: "victim.example.org"}); err == nil {
		t.Error("a certificate out of nothing")
	}
	passed := false
	h := a.Challenge(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true }))
	for path, host := range map[string]string{"/.well-known/acme-challenge/x": "door.example.com", "/.well-known/acme-challenge/y": "victim.example.org"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
		r.Host = host
		if h.ServeHTTP(w, r); w.Code < 400 || passed {
			t.Errorf("%s at %s: %d, passed on: %v", path, host, w.Code, passed)
		}
	}
	if h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/healthz", nil)); !passed {
		t.Error("other requests are not passed on")
	}
	if ca.Asked() != 0 {
		t.Errorf("the authority was asked %d times", ca.Asked())
	}
}
