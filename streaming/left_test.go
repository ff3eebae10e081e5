package streaming

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"

	"latchkey/domain/privilege"
)

// guarded is a camera with a password.
func guarded() *fakeCamera {
	return &fakeCamera{user: "admin", password: "hunter2", methods: []auth.VerifyMethod{auth.VerifyMethodBasic}}
}

// removeDevice does what the removal of ann's device does, up to its answer.
func (h *house) removeDevice(t testing.TB, device string) {
	t.Helper()
	h.grants.remove("ann", device)
	h.recheck(t, "", device, "")
	if list := h.pool.left(); len(list) > 0 {
		t.Errorf("%d connections to cameras of %s are open after the answer", len(list), device)
	}
}

// TestRemovedCameraIsLeftAtOnce, though its last viewer is gone for less than
// CloseAfter, and is not dialled again; other cameras are not left.
func TestRemovedCameraIsLeftAtOnce(t *testing.T) {
	removed, kept := guarded().start(t), guarded().start(t)
	h := open(t, removed, func(c *Config) { c.CloseAfter, c.CheckEvery = time.Hour, time.Hour })
	h.grants.grant("ann", "dev-11", 1, privilege.LiveView)
	h.sources.set("dev-11", 1, Main, kept.source())
	for _, path := range []string{"/dev-1/1", "/dev-11/1"} {
		if got := h.status(t, path, annKey); got != 200 {
			t.Fatalf("%s: status %d", path, got)
		}
	}
	watching := h.watching(t, "/dev-1/1", annKey, "tcp")
	h.removeDevice(t, "dev-1")
	if _, ok := h.Door.sources.Get(upstreamOf{"dev-1", 1, Main}.name()); ok {
		t.Error("the password of a removed camera is remembered")
	}
	eventually(t, "the removed camera is left", func() bool { return removed.open.Load() == 0 })
	if _, err := watching.drain(); err == nil {
		t.Error("the viewer is not ended")
	}
	requests, dials := removed.authorised.Load(), removed.dials.Load()
	for range 3 {
		if got := h.status(t, "/dev-1/1", annKey); got != 404 {
			t.Errorf("the removed device: status %d, want 404", got)
		}
	}
	if removed.authorised.Load() != requests || removed.dials.Load() != dials {
		t.Errorf("%d requests with the password, %d dials after the removal", removed.authorised.Load()-requests, removed.dials.Load()-dials)
	}
	if kept.open.Load() != 1 {
		t.Error("another camera was left too")
	}
}

// TestRemovalEndsDials: one that has come to the camera, and one that waits for
// its turn.
func TestRemovalEndsDials(t *testing.T) {
	described, goOn := make(chan struct{}, 9), make(chan struct{})
	camera := guarded()
	camera.hold = func() { described <- struct{}{}; <-goOn }
	camera.start(t)
	h := open(t, camera, func(c *Config) { c.CheckEvery = time.Hour })
	h.grants.grant("ann", "dev-1", 2, privilege.LiveView)
	h.sources.set("dev-1", 2, Main, camera.source())
	statuses := make(chan int, 2)
	for _, path := range []string{"/dev-1/1", "/dev-1/2"} {
		go func() { statuses <- h.status(t, path, annKey) }()
	}
	<-described
	eventually(t, "the other one waits", func() bool { _, dialing, _ := h.pool.states(); return dialing == 2 })
	h.removeDevice(t, "dev-1")
	requests := camera.authorised.Load() // the one that is held
	close(goOn)
	for range 2 {
		if got := <-statuses; got != 404 {
			t.Errorf("a viewer of the removed device: status %d, want 404", got)
		}
	}
	eventually(t, "the camera is left", func() bool { return camera.open.Load() == 0 })
	if n := camera.authorised.Load(); n != requests || camera.dials.Load() != 1 {
		t.Errorf("%d requests with the password after the removal, %d dials", n-requests, camera.dials.Load())
	}
}

// TestRemovalWhileTheCameraIsLookedUp: what the vault returned before the removal
// is neither used nor remembered.
func TestRemovalWhileTheCameraIsLookedUp(t *testing.T) {
	camera := guarded().start(t)
	h := open(t, camera, func(c *Config) { c.CheckEvery = time.Hour })
	asked, goOn := make(chan struct{}), make(chan struct{})
	h.sources.setBug(func() error { close(asked); <-goOn; return nil })
	status := make(chan int, 1)
	go func() { status <- h.status(t, "/dev-1/1", annKey) }()
	<-asked
	h.grants.remove("ann", "dev-1")
	h.Recheck("", "dev-1", "")
	close(goOn)
	if got := <-status; got != 404 {
		t.Errorf("status %d, want 404", got)
	}
	if err := h.AwaitCuts(t.Context()); err != nil {
		t.Error(err)
	}
	if _, ok := h.Door.sources.Get(upstreamOf{"dev-1", 1, Main}.name()); ok || camera.dials.Load() != 0 {
		t.Errorf("remembered: %v; dials: %d", ok, camera.dials.Load())
	}
}

// TestNoDialAfterARemoval that came between the viewer's check and the dial.
func TestNoDialAfterARemoval(t *testing.T) {
	camera := guarded().start(t)
	h := open(t, camera)
	_, err := h.pool.acquire(t.Context(), upstreamOf{"dev-1", 1, Main}, func() bool { return false })
	if !errors.Is(err, errLeft) || camera.dials.Load() != 0 {
		t.Errorf("%v, %d dials", err, camera.dials.Load())
	}
}

// TestSweepLeavesRemovedCameras that no change was notified of, as after the
// privileges were loaded again.
func TestSweepLeavesRemovedCameras(t *testing.T) {
	camera := guarded().start(t)
	h := open(t, camera, func(c *Config) { c.CloseAfter, c.CheckEvery = time.Hour, 20*time.Millisecond })
	if got := h.status(t, "/dev-1/1", annKey); got != 200 {
		t.Fatal(got)
	}
	h.grants.setSick(true)
	h.grants.remove("ann", "dev-1")
	h.Recheck("", "", "")
	if camera.open.Load() != 1 {
		t.Error("the camera is left while it is not known what is permitted")
	}
	h.grants.setSick(false)
	eventually(t, "the camera is left", func() bool { return camera.open.Load() == 0 })
}

// TestAwaitCutsIsBounded by its context while a camera is left.
func TestAwaitCutsIsBounded(t *testing.T) {
	h := open(t, nil)
	u := h.pool.upstream(upstreamOf{"dev-1", 1, Main})
	u.left, u.over = time.Now(), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.AwaitCuts(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(u.over)
	if err := h.AwaitCuts(t.Context()); err != nil {
		t.Error(err)
	}
}
