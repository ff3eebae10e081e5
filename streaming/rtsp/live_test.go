package rtsp

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// clock is a time that jumps.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) jump(d time.Duration) { c.offset.Add(int64(d)) }

// openWithClock starts a house whose grants are known to be right until the
// clock jumps, and which no sweep checks.
func openWithClock(t *testing.T, camera *cameratest.Camera, change ...func(*config)) (*house, *clock) {
	c := &clock{}
	h := open(t, camera, append(change, func(cfg *config) { cfg.Now, cfg.CheckEvery = c.now, time.Hour })...)
	h.grants.refresh(c.now().Add(time.Minute)) // the test may take its time
	return h, c
}

// silent reports whether no packet comes for some frames. Over TCP it takes one
// that came.
func (p *player) silent(t *testing.T) bool {
	t.Helper()
	if p.udp[0] != nil {
		return !p.hears()
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	_, err := p.in.Peek(1)
	if err == nil {
		if _, err := p.packet(); err != nil {
			t.Fatal(err)
		}
		return false
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the viewer has lost its connection: %v", err)
	}
	return true
}

// TestNothingIsForwardedWhenTheClockHasJumped: a process that was stopped knows
// nothing any more when it goes on, and sends nothing before it has found out
// what is permitted.
func TestNothingIsForwardedWhenTheClockHasJumped(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			h, c := openWithClock(t, (&cameratest.Camera{}).Start(t))
			p := h.watching(t, "/dev-1/1", annKey, transport)
			if err := p.receive(10); err != nil {
				t.Fatal(err)
			}
			c.jump(time.Hour)
			// What was under way then may still come.
			eventually(t, "no packet comes while it is not known what is permitted", func() bool { return p.silent(t) })
			if got := h.status(t, "/dev-1/1", annKey); got != 503 {
				t.Errorf("DESCRIBE: status %d, want 503", got)
			}
			h.grants.refresh(c.now().Add(time.Minute)) // measured: all is as it was
			if err := p.receive(10); err != nil {
				t.Errorf("the viewer who may watch: %v", err)
			}
			c.jump(time.Hour)
			h.grants.remove("ann", "dev-1")
			h.grants.refresh(c.now().Add(time.Minute))
			h.recheck(t, "ann", "", "")
			if h.viewers.count() > 0 && transport == "udp" {
				t.Error("the viewer was not cut")
			}
		})
	}
}

// TestWhatIsQueuedIsNotSentLater: packets that waited for a slow viewer while the
// process was stopped are dropped.
func TestWhatIsQueuedIsNotSentLater(t *testing.T) {
	h, c := openWithClock(t, (&cameratest.Camera{Rate: 1_000_000}).Start(t), func(cfg *config) { cfg.WriteTimeout = time.Minute })
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	eventually(t, "the queue of the viewer is full", func() bool { return h.dropped(t, "viewer queue") > 50 })
	c.jump(time.Hour)
	got := 0
	for ; got < 1000; got++ { // the queue holds 1024
		_ = p.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := p.packet(); err != nil {
			break
		}
	}
	if got > 128<<10/1200 {
		t.Errorf("%d packets came, more than the kernel holds", got)
	}
	eventually(t, "what was queued is dropped", func() bool { return h.dropped(t, upstream.DroppedNotLive) > 500 })
}

// TestPanicLeavesNobodyBehind: a bug at any step of a SETUP leaves no viewer in
// the registry, nobody waits for one, and the door goes on.
func TestPanicLeavesNobodyBehind(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		for name, plant := range map[string]func(h *house) func(){
			"first check": func(h *house) func() { return func() { panic("a bug") } },
			"second check": func(h *house) func() {
				calls := 0
				return func() {
					if calls++; calls == 2 {
						panic("a bug")
					}
				}
			},
		} {
			t.Run(transport+" "+name, func(t *testing.T) {
				h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.CheckEvery = time.Hour })
				p := h.player(t, "/dev-1/1", annKey)
				if _, err := p.describe(); err != nil {
					t.Fatal(err)
				}
				h.grants.setBug(plant(h))
				if r, err := p.setup(transport); err != nil || r.status != 500 {
					t.Fatalf("SETUP: %v, %v", r, err)
				}
				h.grants.setBug(nil)
				if n := h.viewers.count(); n != 0 {
					t.Errorf("%d viewers are left", n)
				}
				h.grants.remove("ann", "dev-1")
				began := time.Now()
				h.recheck(t, "ann", "", "")
				if took := time.Since(began); took > time.Second {
					t.Errorf("the revocation took %v", took)
				}
				h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
				if err := h.watching(t, "/dev-1/1", annKey, transport).receive(5); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

// TestPanicOfCameras: a bug where cameras are looked up costs one dial.
func TestPanicOfCameras(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	h.sources.setBug(func() error { panic("a bug") })
	if got := h.status(t, "/dev-1/1", annKey); got != 503 {
		t.Errorf("status %d, want 503", got)
	}
	if h.viewers.count() != 0 {
		t.Error("a viewer is left")
	}
}

// TestCheckThatPanicsCuts: whoever cannot be checked is not permitted, and the
// goroutine that feeds the index is not ended by it.
func TestCheckThatPanicsCuts(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.CheckEvery = time.Hour })
	p := h.watching(t, "/dev-1/1", annKey, "udp")
	if err := p.receive(5); err != nil {
		t.Fatal(err)
	}
	h.grants.setBug(func() { panic("a bug") })
	h.recheck(t, "ann", "", "")
	h.grants.setBug(nil)
	if p.hears() {
		t.Error("packets come after the answer")
	}
}

// TestRecheckDoesNotWait: who calls it feeds the index. A viewer that hangs is
// waited for by the command, for as long as that has, and by later ones no more.
func TestRecheckDoesNotWait(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.CheckEvery = time.Hour })
	p := h.watching(t, "/dev-1/1", annKey, "udp")
	if err := p.receive(5); err != nil {
		t.Fatal(err)
	}
	real := h.viewers.list()[0]
	hanging := &viewer{key: real.key, device: real.device, channel: 1, needs: real.needs, udp: true,
		session: real.session, wire: real.wire, done: make(chan struct{})}
	h.viewers.add(hanging)
	if refused := h.acquirePermit(hanging, func(r access.Reason) { h.cut(hanging, r) }); refused != nil {
		t.Fatal(refused)
	}
	defer hanging.permit.Release()
	h.grants.remove("ann", "dev-1")
	began := time.Now()
	h.Recheck("ann", "", "")
	if took := time.Since(began); took > time.Second {
		t.Errorf("Recheck took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := h.AwaitCuts(ctx); err == nil {
		t.Error("a command was answered while a viewer had not ended")
	}
	hanging.cutFor.Store(&cutting{access.PrivilegeGone, time.Now().Add(-cutTimeout)})
	if err := h.AwaitCuts(t.Context()); err != nil {
		t.Errorf("a later command: %v", err)
	}
	h.viewers.remove(hanging)
}
