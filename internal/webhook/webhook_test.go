package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// secret is the one of the example in the Standard Webhooks.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// TestSignatureOfTheSpecification: the example of the reference libraries.
func TestSignatureOfTheSpecification(t *testing.T) {
	got, err := Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	for _, bad := range []string{"", "whsec_", "whsec_!", "whsec_c2hvcnQ="} {
		if _, err := Sign(bad, "id", time.Now(), nil); err == nil {
			t.Errorf("the secret %q signs", bad)
		}
	}
}

func anywhere(netip.Addr) error { return nil }

// client calls a server with TLS; of addresses, allow decides.
func client(t *testing.T, s *httptest.Server, allow func(netip.Addr) error, resolver *net.Resolver) *Client {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AddCert(s.Certificate())
	return New(Config{Allow: allow, Resolver: resolver, Roots: trusted})
}

// TestOutcomes: what a hostile server answers has an outcome, in bounded time and memory.
func TestOutcomes(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/failed":
			w.WriteHeader(http.StatusBadGateway)
		case "/long":
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		case "/endless":
			for range 1 << 10 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "/hangs":
			<-release
		}
	}))
	defer s.Close()
	defer close(release)
	c := client(t, s, anywhere, nil)
	c.http.Timeout = time.Second
	for path, want := range map[string]string{
		"/ok": Delivered, "/moved": Redirected, "/gone": Gone, "/failed": BadStatus, "/long": BadAnswer, "/endless": Delivered, "/hangs": TimedOut,
	} {
		before := asked.Load()
		got, _, err := c.Call(t.Context(), Delivery{URL: s.URL + path, ID: "id", Secrets: []string{secret}, Body: []byte("{}")})
		if got != want || err != nil || asked.Load() != before+1 {
			t.Errorf("%s: %q, %v after %d requests; want %q", path, got, err, asked.Load()-before, want)
		}
	}
	if got, _, err := New(Config{Allow: anywhere}).Call(t.Context(), Delivery{URL: s.URL, ID: "id", Secrets: []string{secret}}); got != Untrusted || err != nil {
		t.Errorf("an unknown certificate: %q, %v", got, err)
	}
	address := s.URL
	s.CloseClientConnections()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got, _, err := c.Call(t.Context(), Delivery{URL: "https://" + l.Addr().String(), ID: "id", Secrets: []string{secret}}); got != NotReachable || err != nil {
		t.Errorf("nobody listens: %q, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Call(ended, Delivery{URL: address, ID: "id", Secrets: []string{secret}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that we end: %v", err)
	}
	if _, _, err := c.Call(t.Context(), Delivery{URL: address, ID: "id"}); err == nil {
		t.Error("a delivery without a signature")
	}
}

// rebinding is a resolver whose answer alternates between two addresses.
func rebinding(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		var asked int
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addresses[asked%len(addresses)]).As4()},
				}}
				asked++
			}
			if raw, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(raw, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// TestARebindingNameReachesNothing: the address that is checked is the one that is
// connected to, whatever the name resolved to before.
func TestARebindingNameReachesNothing(t *testing.T) {
	var reached atomic.Int64
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	var seen []string
	public := func(a netip.Addr) error {
		seen = append(seen, a.String())
		if a.IsLoopback() {
			return errors.New("forbidden")
		}
		return nil
	}
	c := client(t, s, public, rebinding(t, "192.0.2.1", "127.0.0.1"))
	c.http.Timeout = 500 * time.Millisecond // nobody answers at the first address
	d := Delivery{URL: "https://example.com:" + port, ID: "id", Secrets: []string{secret}}
	if c.MayCall(d.URL) != "" {
		t.Error("a name is refused before it is looked up")
	}
	outcomes := map[string]bool{}
	for range 4 {
		outcome, _, err := c.Call(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[outcome] = true
	}
	if reached.Load() != 0 || !outcomes[Forbidden] || outcomes[Delivered] || len(seen) < 4 {
		t.Errorf("the server was reached %d times; outcomes %v, addresses %v", reached.Load(), outcomes, seen)
	}
	open := client(t, s, anywhere, rebinding(t, "127.0.0.1"))
	if outcome, _, err := open.Call(t.Context(), d); outcome != Delivered || err != nil || reached.Load() != 1 {
		t.Errorf("where it is allowed: %q, %v", outcome, err)
	}
}

// TestACallThatIsCancelledIsCutOff: it returns at once, and nothing of it is sent after
// that, not even what the kernel had not sent yet.
func TestACallThatIsCancelledIsCutOff(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conns := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			conns <- c // and nothing is read
		}
	}()
	client := New(Config{Allow: anywhere})
	ctx, cancel := context.WithCancel(t.Context())
	body := bytes.Repeat([]byte("x"), 32<<20) // more than the kernel takes
	done := make(chan error)
	go func() {
		_, _, err := client.Call(ctx, Delivery{URL: "http://" + l.Addr().String(), ID: "1", Secrets: []string{secret}, Body: body})
		done <- err
	}()
	c := <-conns
	defer c.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it returns %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not return")
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, c)
	if n >= int64(len(body)) || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after it returned, %d bytes came, %v", n, err)
	}
}

// cutConn is a connection that breaks at the moment at which its call is cancelled.
type cutConn struct {
	net.Conn
	cancel func()
}

func (c cutConn) Write([]byte) (int, error) {
	c.cancel()
	return 0, net.ErrClosed
}

// TestACallThatIsCancelledSaysSo: also if the end of its connection is noticed before the
// cancellation. As an outcome it would count as a fault of the receiver.
func TestACallThatIsCancelledSaysSo(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	for range 30 {
		ctx, cancel := context.WithCancel(t.Context())
		client := New(Config{Allow: anywhere, Connected: func(c net.Conn) net.Conn { return cutConn{c, cancel} }})
		outcome, _, err := client.Call(ctx, Delivery{URL: s.URL, ID: "1", Secrets: []string{secret}})
		cancel()
		if outcome != "" || !errors.Is(err, context.Canceled) {
			t.Fatalf("it returns %q, %v", outcome, err)
		}
	}
}
