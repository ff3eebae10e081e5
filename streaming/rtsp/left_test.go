package rtsp

import (
	"context"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// removeDevice does what the removal of ann's device does, up to its answer.
func (h *house) removeDevice(t testing.TB, device string) {
	t.Helper()
	h.grants.remove("ann", device)
	h.recheck(t, "", ids.Device(device), "")
	atOnce, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.pool.AwaitLeft(atOnce); err != nil {
		t.Errorf("connections to cameras of %s are open after the answer: %v", device, err)
	}
}

// TestRemovedCameraIsLeftAtOnce, though its last viewer is gone for less than
// CloseAfter, and is not dialled again; other cameras are not left.
func TestRemovedCameraIsLeftAtOnce(t *testing.T) {
	removed, kept := cameratest.Guarded().Start(t), cameratest.Guarded().Start(t)
	h := open(t, removed, func(c *config) { c.Up.CloseAfter, c.CheckEvery = time.Hour, time.Hour })
	h.grants.grant("ann", "dev-11", 1, privilege.LiveView)
	h.sources.set("dev-11", 1, upstream.Main, sourceOf(kept))
	for _, path := range []string{"/dev-1/1", "/dev-11/1"} {
		if got := h.status(t, path, annKey); got != 200 {
			t.Fatalf("%s: status %d", path, got)
		}
	}
	watching := h.watching(t, "/dev-1/1", annKey, "tcp")
	h.removeDevice(t, "dev-1")
	eventually(t, "the removed camera is left", func() bool { return removed.Open.Load() == 0 })
	if _, err := watching.drain(); err == nil {
		t.Error("the viewer is not ended")
	}
	requests, dials := removed.Authorised.Load(), removed.Dials.Load()
	for range 3 {
		if got := h.status(t, "/dev-1/1", annKey); got != 404 {
			t.Errorf("the removed device: status %d, want 404", got)
		}
	}
	if removed.Authorised.Load() != requests || removed.Dials.Load() != dials {
		t.Errorf("%d requests with the password, %d dials after the removal", removed.Authorised.Load()-requests, removed.Dials.Load()-dials)
	}
	if kept.Open.Load() != 1 {
		t.Error("another camera was left too")
	}
}

// TestRemovalEndsDials: one that has come to the camera, and one that waits for
// its turn.
func TestRemovalEndsDials(t *testing.T) {
	described, goOn := make(chan struct{}, 9), make(chan struct{})
	camera := cameratest.Guarded()
	camera.Hold = func() { described <- struct{}{}; <-goOn }
	camera.Start(t)
	h := open(t, camera, func(c *config) { c.CheckEvery = time.Hour })
	h.grants.grant("ann", "dev-1", 2, privilege.LiveView)
	h.sources.set("dev-1", 2, upstream.Main, sourceOf(camera))
	statuses := make(chan int, 2)
	for _, path := range []string{"/dev-1/1", "/dev-1/2"} {
		go func() { statuses <- h.status(t, path, annKey) }()
	}
	<-described
	eventually(t, "the other one waits", func() bool { return h.upstreams(t, "dialing") == 2 })
	h.removeDevice(t, "dev-1")
	requests := camera.Authorised.Load() // the one that is held
	close(goOn)
	for range 2 {
		if got := <-statuses; got != 404 {
			t.Errorf("a viewer of the removed device: status %d, want 404", got)
		}
	}
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
	if n := camera.Authorised.Load(); n != requests || camera.Dials.Load() != 1 {
		t.Errorf("%d requests with the password after the removal, %d dials", n-requests, camera.Dials.Load())
	}
}

// TestRemovalWhileTheCameraIsLookedUp: what the vault returned before the removal
// is not used.
func TestRemovalWhileTheCameraIsLookedUp(t *testing.T) {
	camera := cameratest.Guarded().Start(t)
	h := open(t, camera, func(c *config) { c.CheckEvery = time.Hour })
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
	if n := camera.Dials.Load(); n != 0 {
		t.Errorf("%d dials", n)
	}
}
