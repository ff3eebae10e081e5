package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"
)

// serving runs the server on a port of this machine.
func (w *world) serving() (address string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.server.Run(ctx, l) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	return l.Addr().String()
}

// dial connects to the server with a small buffer for what arrives.
func (w *world) dial(secure bool) net.Conn {
	w.t.Helper()
	address, trust := "", (*tls.Config)(nil)
	if secure {
		address, trust = w.within(w.t.(*testing.T), false)
	} else {
		address = w.serving()
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	if secure {
		trust.ServerName = "127.0.0.1"
		return tls.Client(conn, trust)
	}
	return conn
}

// settled waits until the kernel has taken what it takes of the only answer that is sent.
func (s *Server) settled(t *testing.T) {
	t.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		list := slices.DeleteFunc(s.uses.list(), func(u *using) bool { return u.answer == nil })
		if len(list) != 1 || list[0].answer.conn == nil {
			continue
		}
		before := list[0].answer.conn.Unsent()
		time.Sleep(20 * time.Millisecond)
		if before > 0 && before == list[0].answer.conn.Unsent() {
			return
		}
	}
	t.Fatal("the kernel takes more and more")
}

// TestAStillPictureStopsArriving: whoever does not read a picture on and loses the
// privilege, or the session, gets nothing more of it than what was under way. The kernel
// does not deliver the rest.
func TestAStillPictureStopsArriving(t *testing.T) {
	const stopsAfter, underWay = 20_000, 256 << 10
	for _, c := range []struct {
		size   int
		secure bool
	}{{4 << 20, false}, {400 << 10, false}, {180 << 10, false}, {4 << 20, true}} { // also what a kernel takes whole
		for _, how := range []string{"revoked", "logged out"} {
			t.Run(fmt.Sprint(how, c), func(t *testing.T) {
				picture := append([]byte(somePicture), make([]byte, c.size)...)
				var x revocable
				var ended func(context.Context)
				v := newVillage(t, func(c *Config) {
					x = newRevocable(c.Access.(index))
					c.Access, c.Sessions = x, endings{c.Sessions, &ended}
					c.Cameras = &fakeCameras{picture: func(context.Context) ([]byte, error) { return picture, nil }}
				})
				ended = v.server.SessionsEnded
				v.accept()
				conn := v.dial(c.secure)
				defer conn.Close()
				fmt.Fprintf(conn, "GET /api/v1/devices/%s/channels/1/snapshot HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n", v.device, v.recipient.token)
				if _, err := io.CopyN(io.Discard, conn, stopsAfter); err != nil {
					t.Fatal(err)
				}
				v.server.settled(t)
				if how == "revoked" {
					x.revoke()
					if err := v.server.uses.await(t.Context()); err != nil {
						t.Fatal(err)
					}
				} else {
					v.wantStatus(v.do("DELETE", "/api/v1/sessions/current", v.recipient.token, nil), 204)
				}
				if n := len(v.server.uses.list()); n != 0 {
					t.Errorf("%d uses are left", n)
				}
				n, err := io.Copy(io.Discard, conn)
				if n > underWay || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%d more bytes arrive, then %v", n, err)
				}
			})
		}
	}
}

// TestAStillPictureArrives: whoever reads gets all of it, and what is revoked afterwards
// changes nothing of the connection.
func TestAStillPictureArrives(t *testing.T) {
	picture := append([]byte(somePicture), make([]byte, 4<<20)...)
	var x revocable
	v := newVillage(t, func(c *Config) {
		x = newRevocable(c.Access.(index))
		c.Access, c.Cameras = x, &fakeCameras{picture: func(context.Context) ([]byte, error) { return picture, nil }}
	})
	v.accept()
	address := v.serving()
	dialled := 0
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		dialled++
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}}
	defer client.CloseIdleConnections()
	get := func() (int, []byte) {
		t.Helper()
		r := v.request("GET", "http://a/api/v1/devices/"+v.device+"/channels/1/snapshot", v.recipient.token, nil)
		r.RequestURI = ""
		a, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, body
	}
	for range 2 {
		if status, body := get(); status != http.StatusOK || !bytes.Equal(body, picture) {
			t.Fatalf("%d, %d bytes", status, len(body))
		}
		for until := time.Now().Add(time.Minute); len(v.server.uses.list()) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("the use does not end")
			}
		}
	}
	x.revoke()
	if status, _ := get(); status != http.StatusForbidden {
		t.Errorf("afterwards: %d", status)
	}
	if dialled != 1 {
		t.Errorf("%d connections", dialled)
	}
}
