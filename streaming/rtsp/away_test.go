package rtsp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/domain/privilege"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// TestChannelsElsewhereAreApart: why a channel of a device was not reached can not be
// read from the answers for another channel that is elsewhere, and does not keep
// anybody from it.
func TestChannelsElsewhereAreApart(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := closed.Addr().String()
	closed.Close()
	says := func(answer string) string {
		return cameratest.Listen(t, func(conn net.Conn) {
			_, _ = io.ReadFull(conn, make([]byte, 10))
			_, _ = io.WriteString(conn, answer)
		})
	}
	for name, target := range map[string]string{
		"refuses":       refusing,
		"wants a login": says("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n"),
		"is no camera":  says("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"closes":        says(""),
		"has no name":   "camera.invalid:554",
		"is mute":       cameratest.Listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }),
	} {
		t.Run(name, func(t *testing.T) {
			camera := (&cameratest.Camera{}).Start(t)
			h := open(t, camera, func(c *config) { c.Up.DialTimeout = 2 * time.Second })
			h.grants.grant("ann", "dev-1", 2, privilege.LiveView)
			h.sources.set("dev-1", 2, upstream.Main, upstream.Source{URL: "rtsp://" + camera.Addr + "/x"})
			h.sources.set("dev-1", 1, upstream.Main, upstream.Source{URL: "rtsp://" + target + "/x"})
			dead := make(chan int)
			go func() { dead <- h.status(t, "/dev-1/1", annKey) }()
			if name != "is mute" { // else while it is waited for
				if got := <-dead; got != 503 {
					t.Errorf("the channel that fails: %d, want 503", got)
				}
			}
			if got := h.status(t, "/dev-1/2", annKey); got != 200 {
				t.Errorf("the channel elsewhere: %d, want 200", got)
			}
			if name == "is mute" {
				<-dead
			}
		})
	}
}

// TestWhyACameraIsAwayIsNotTold: whatever is at the address, a viewer reads the
// same answer, and the public metrics hold nothing of it.
func TestWhyACameraIsAwayIsNotTold(t *testing.T) {
	says := func(answer string) string {
		return cameratest.Listen(t, func(c net.Conn) {
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = io.WriteString(c, answer)
			_, _ = io.Copy(io.Discard, c)
		})
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	public, private := prometheus.NewPedanticRegistry(), prometheus.NewPedanticRegistry()
	h := open(t, nil, func(c *config) {
		c.Up.DialTimeout, c.Metrics, c.Up.Private = time.Second, public, private
		c.Up.Allow = func(a netip.Addr) error {
			if a == netip.MustParseAddr("127.0.0.2") {
				return errors.New("not there")
			}
			return nil
		}
	})
	_, port, _ := net.SplitHostPort(h.addr)
	var first string
	for n, c := range []struct{ name, addr string }{
		{"a closed port", closed.Addr().String()},
		{"a wrong password", says("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n")},
		{"a wrong path", says("RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n")},
		{"a web server", says("HTTP/1.1 400 Bad Request\r\n\r\n")},
		{"nobody who answers", says("")},
		{"an address that is denied", "127.0.0.2:554"},
		{"the door itself", "127.0.0.1:" + port},
	} {
		device := fmt.Sprint("device-", n)
		h.grants.grant("ann", device, 1, privilege.LiveView)
		h.sources.set(device, 1, upstream.Main, upstream.Source{URL: "rtsp://" + c.addr + "/x"})
		r, err := h.player(t, "/"+device+"/1", annKey).describe()
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(r.status, r.header, r.body)
		if first == "" {
			first = got
		}
		if r.status != 503 || got != first {
			t.Errorf("%s: %s; the first: %s", c.name, got, first)
		}
	}
	for name, r := range map[string]*prometheus.Registry{"public": public, "private": private} {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		tells := false
		for _, f := range families {
			tells = tells || f.GetName() == "latchkey_rtsp_camera_errors_total"
		}
		if tells != (name == "private") {
			t.Errorf("the %s metrics tell why: %v", name, tells)
		}
	}
}

// TestTheDoorKeepsTheBudget: the devices of one owner together are dialled twice,
// those of others as before; viewers hear when it makes sense to ask again, and a
// stream that is not there costs nothing.
func TestTheDoorKeepsTheBudget(t *testing.T) {
	var dialled atomic.Int32
	dead := cameratest.Listen(t, func(net.Conn) { dialled.Add(1) }) // closes at once
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera, func(c *config) { c.Up.DialBurst, c.Up.DialEvery, c.Up.CloseAfter = 2, time.Hour, time.Minute })
	for n := range 4 {
		device := fmt.Sprint("dead-", n)
		h.grants.own("ann", device)
		h.grants.grant("ann", device, 1, privilege.LiveView)
		h.sources.set(device, 1, upstream.Main, upstream.Source{URL: "rtsp://" + dead + "/x"})
	}
	for n := range 4 {
		r, err := h.player(t, fmt.Sprint("/dead-", n, "/1"), annKey).describe()
		if err != nil || r.status != 503 {
			t.Fatal(r, err)
		}
		if wait := r.header.Get("Retry-After"); (wait == "1") != (n < 2) {
			t.Errorf("camera %d: Retry-After is %s", n+1, wait)
		}
	}
	eventually(t, "two dials are held back", func() bool { return h.cameraErrors(t, "budget") == 2 })
	if n := dialled.Load(); n != 2 {
		t.Errorf("%d dials, want 2", n)
	}

	h.grants.own("bob", "dev-1", "dev-2")
	h.grants.grant("ann", "dev-2", 1, privilege.LiveView)
	h.sources.set("dev-2", 1, upstream.Main, sourceOf(camera))
	for range 3 {
		if got := h.status(t, "/dev-1/1/sub", annKey); got != 200 { // which is the main one
			t.Errorf("another owner's camera: status %d", got)
		}
	}
	if got := h.status(t, "/dev-2/1", annKey); got != 200 {
		t.Errorf("another owner's second camera: status %d", got)
	}
}
