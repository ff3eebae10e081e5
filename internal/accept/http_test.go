package accept_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/accept"
)

// server answers each request, and takes one to /session for one with a session,
// and one to /wait as one that lasts until the test ends.
type server struct {
	address string
	refused atomic.Int64
	waiting chan struct{} // a request to /wait has begun
}

func start(t *testing.T, cfg accept.Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: fmt.Sprintf(":%d", l.Addr().(*net.TCPAddr).Port), waiting: make(chan struct{}, 10)}
	cfg.Refused = func() { s.refused.Add(1) }
	ended := make(chan struct{})
	h := &http.Server{
		ConnState: accept.State, ConnContext: accept.Context, IdleTimeout: time.Hour, ReadHeaderTimeout: time.Hour,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/session" {
				accept.HasSession(r.Context())
			}
			if r.URL.Path == "/wait" {
				s.waiting <- struct{}{}
				<-ended
			}
		}),
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(accept.NewListener(l, cfg)) }()
	t.Cleanup(func() {
		close(ended)
		_ = h.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

// from connects from an address of this machine.
func (s *server) from(t *testing.T, address string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c, err := d.DialContext(t.Context(), "tcp", address+s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask reports whether a request on the connection is answered.
func ask(c net.Conn, path string) bool {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	_ = a.Body.Close()
	return a.StatusCode == http.StatusOK
}

// closed waits until the other side has closed the connection.
func closed(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := io.ReadAll(c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestOneNetwork(t *testing.T) {
	s := start(t, accept.Config{Most: 10, MostOfNetwork: 3, IdleWithin: time.Hour})
	var list []net.Conn
	for range 3 {
		list = append(list, s.from(t, "127.0.0.2"))
		if !ask(list[len(list)-1], "/") {
			t.Fatal("a connection within the bound is not answered")
		}
	}
	if !closed(s.from(t, "127.0.0.2")) || s.refused.Load() != 1 {
		t.Errorf("one more is not closed; %d refused", s.refused.Load())
	}
	if !ask(s.from(t, "127.0.0.3"), "/") {
		t.Error("another network is not answered")
	}
	list[0].Close()
	for until := time.Now().Add(5 * time.Second); !ask(s.from(t, "127.0.0.2"), "/"); {
		if time.Now().After(until) {
			t.Fatal("a place is not given back")
		}
	}
}

// TestAnotherNetworkAlwaysGetsIn: when all places are taken, the network that has
// most gives one: an idle connection before one that is used, and none on which a
// session is in use.
func TestAnotherNetworkAlwaysGetsIn(t *testing.T) {
	s := start(t, accept.Config{Most: 6, MostOfNetwork: 4, IdleWithin: time.Hour})
	session := s.from(t, "127.0.0.2")
	if !ask(session, "/session") {
		t.Fatal("not answered")
	}
	waiting := s.from(t, "127.0.0.2")
	for _, c := range []net.Conn{session, waiting} {
		fmt.Fprintf(c, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
		<-s.waiting
	}
	idle := []net.Conn{s.from(t, "127.0.0.2"), s.from(t, "127.0.0.2")}
	for i, address := range []string{"127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"} {
		if c := s.from(t, address); !ask(c, "/") {
			t.Errorf("%s is not answered", address)
		}
		if i >= 2 && !closed(idle[i-2]) {
			t.Errorf("an idle connection is there still when %s was let in", address)
		}
	}
	if s.refused.Load() != 2 {
		t.Errorf("%d connections were closed, want 2", s.refused.Load())
	}
}

// TestOnlySessionsStay: who holds every place with sessions in use keeps it.
func TestOnlySessionsStay(t *testing.T) {
	s := start(t, accept.Config{Most: 2, MostOfNetwork: 2, IdleWithin: time.Hour})
	for range 2 {
		c := s.from(t, "127.0.0.2")
		if !ask(c, "/session") {
			t.Fatal("not answered")
		}
		fmt.Fprintf(c, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
		<-s.waiting
	}
	if !closed(s.from(t, "127.0.0.3")) {
		t.Error("a connection with a session in use lost its place")
	}
}

func TestStrangersMayNotBeIdleForLong(t *testing.T) {
	s := start(t, accept.Config{Most: 10, MostOfNetwork: 10, IdleWithin: 100 * time.Millisecond})
	stranger, known := s.from(t, "127.0.0.2"), s.from(t, "127.0.0.2")
	if !ask(stranger, "/") || !ask(known, "/session") {
		t.Fatal("not answered")
	}
	if !closed(stranger) {
		t.Error("a connection without a session stays")
	}
	if !ask(known, "/") {
		t.Error("a connection with a session was closed")
	}
}

func TestTrustedProxiesHaveEverybodysConnections(t *testing.T) {
	s := start(t, accept.Config{Most: 5, MostOfNetwork: 1, IdleWithin: time.Hour, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	for range 4 {
		if !ask(s.from(t, "127.0.0.2"), "/") {
			t.Error("a connection of a proxy is refused")
		}
	}
}

func TestContextWithoutListener(t *testing.T) {
	accept.HasSession(context.Background())
	accept.State(nil, http.StateIdle)
	if ctx := accept.Context(t.Context(), nil); ctx != t.Context() {
		t.Error("a connection of others has a context of its own")
	}
}

// secure starts a server with TLS and HTTP/2, and returns a client of it.
func secure(t *testing.T, cfg accept.Config) (url string, client *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/session" {
			accept.HasSession(r.Context())
		}
	}))
	s.EnableHTTP2 = true
	s.Listener = accept.NewListener(s.Listener, cfg)
	s.Config.ConnState, s.Config.ConnContext, s.Config.IdleTimeout = accept.State, accept.Context, time.Hour
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, s.Client()
}

// get makes a request and reports whether it went over a connection that was there.
func get(t *testing.T, client *http.Client, url string) (reused bool) {
	t.Helper()
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused },
	}), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.Do(r)
	for tries := 0; err != nil && tries < 5; tries++ { // it was closed at this moment: on a busy machine also while it began
		a, err = client.Do(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil || a.ProtoMajor != 2 {
		t.Errorf("%s, %v", a.Proto, err)
	}
	return reused
}

// TestIdleWithinTLS: within TLS, too, and over HTTP/2, a connection without a session may
// not be idle for long, and one with a session may.
func TestIdleWithinTLS(t *testing.T) {
	url, client := secure(t, accept.Config{Most: 10, MostOfNetwork: 10, IdleWithin: 200 * time.Millisecond})
	get(t, client, url+"/session")
	time.Sleep(600 * time.Millisecond) // longer than it may without
	if !get(t, client, url) {
		t.Error("a connection with a session was closed")
	}
	client.CloseIdleConnections()
	for until := time.Now().Add(10 * time.Second); get(t, client, url); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the connections are still there")
		}
	}
	for until := time.Now().Add(10 * time.Second); get(t, client, url); time.Sleep(600 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("a connection without a session stays")
		}
	}
}

// TestPlacesOfTwoListeners: they have them together.
func TestPlacesOfTwoListeners(t *testing.T) {
	places := accept.NewPlaces(10, 2, nil)
	plain := start(t, accept.Config{Places: places, IdleWithin: time.Hour})
	secure := start(t, accept.Config{Places: places, IdleWithin: time.Hour})
	if !ask(plain.from(t, "127.0.0.2"), "/") || !ask(secure.from(t, "127.0.0.2"), "/") {
		t.Fatal("not answered")
	}
	if !closed(secure.from(t, "127.0.0.2")) || secure.refused.Load() != 1 {
		t.Error("a third connection has a place")
	}
}
