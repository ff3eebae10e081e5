package rtsp

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"latchkey/streaming/cameratest"
)

// TestUDPEndsWithItsConnection: a UDP viewer whose connection closes gets no
// packet more, and its ports can be set up again at once, though the server
// keeps such sessions for a minute.
func TestUDPEndsWithItsConnection(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.watching(t, "/dev-1/1", annKey, "udp")
	if err := p.receive(5); err != nil {
		t.Fatal(err)
	}
	p.conn.Close() // as when the player is killed
	again := h.player(t, "/dev-1/1", annKey)
	again.udp = p.udp
	p.udp = [2]*net.UDPConn{}
	if status, err := again.watch("udp"); status != 200 {
		t.Fatalf("the same ports again: status %d, %v", status, err)
	}
	if err := again.receive(30); err != nil {
		t.Errorf("the viewer that came back: %v", err)
	}
	again.conn.Close()
	eventually(t, "the viewers are gone", func() bool { return h.viewers.count() == 0 })
	if again.hears() {
		t.Error("packets come though nobody is connected")
	}
}

// TestPortsOfALivingViewerStayItsOwn: only for a moment another one waits.
func TestPortsOfALivingViewerStayItsOwn(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.watching(t, "/dev-1/1", annKey, "udp")
	other := h.player(t, "/dev-1/1", annKey)
	other.udp = p.udp
	defer func() { other.udp = [2]*net.UDPConn{} }()
	began := time.Now()
	if status, err := other.watch("udp"); err == nil && status == 200 {
		t.Error("two viewers share their ports")
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the refusal took %v", took)
	}
	if err := p.receive(30); err != nil {
		t.Errorf("the first viewer: %v", err)
	}
}

// TestNobodyStaysAfterTeardown: a connection without a session is idle, whatever
// it did before.
func TestNobodyStaysAfterTeardown(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.IdleTimeout = 500 * time.Millisecond })
		p := h.watching(t, "/dev-1/1", annKey, transport)
		if err := p.receive(5); err != nil {
			t.Fatal(err)
		}
		if r, err := p.do("TEARDOWN", p.url); err != nil || r.status != 200 {
			t.Fatal(r, err)
		}
		if _, err := p.drain(); errors.Is(err, errTimeout(err)) {
			t.Errorf("over %s the connection stays open", transport)
		}
	}
}

// leaving is the way of a viewer that leaves, and is asked what is left of a packet.
type leaving struct {
	way
	asked func()
}

func (l *leaving) rest(*burst, *sub, int) []byte {
	l.asked()
	return nil
}

// TestARevocationFindsWhoLeaves: a viewer keeps its permit, and is waited for, as long as it
// may be sent something.
func TestARevocationFindsWhoLeaves(t *testing.T) {
	t.Parallel()
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.watching(t, "/dev-1/1", annKey, "udp")
	v := h.viewers.list()[0]
	listed, held := false, 0
	v.box.mu.Lock()
	v.box.way = &leaving{v.box.way, func() {
		listed, held = slices.Contains(h.viewers.list(), v), len(h.grants.InUse("dev-1"))
	}}
	v.box.now, v.box.quiet = item{burst: &burst{}}, false
	v.box.mu.Unlock()
	p.conn.Close()
	<-v.done
	if !listed || held != 1 {
		t.Errorf("while it may be sent something: a viewer of the door %v, %d permits", listed, held)
	}
	if n := len(h.grants.InUse("dev-1")); n != 0 || h.viewers.count() != 0 {
		t.Errorf("after it has left: %d permits, %d viewers", n, h.viewers.count())
	}
}
