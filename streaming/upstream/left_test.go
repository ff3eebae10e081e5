package upstream

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/streaming/cameratest"
)

// removeDevice does what the removal of a device does, up to its answer.
func (h *house) removeDevice(t testing.TB, device ids.Device) {
	t.Helper()
	h.devices.remove(device)
	h.Recheck("", device)
	ctx, cancel := context.WithTimeout(context.Background(), cameratest.Patience)
	defer cancel()
	if err := h.AwaitLeft(ctx); err != nil {
		t.Error(err)
	}
	if list := h.left(); len(list) > 0 {
		t.Errorf("%d connections to cameras of %s are open after the answer", len(list), device)
	}
}

// TestRemovedCameraIsLeftAtOnce, though it is leased and CloseAfter is long, and is
// not dialled again; other cameras are not left.
func TestRemovedCameraIsLeftAtOnce(t *testing.T) {
	removed, kept := cameratest.Guarded().Start(t), cameratest.Guarded().Start(t)
	h := open(t, removed, func(c *Config) { c.CloseAfter, c.CheckEvery = time.Hour, time.Hour })
	h.sources.set("dev-11", 1, sourceOf(kept))
	if err := h.ask("dev-11", 1); err != nil {
		t.Fatal(err)
	}
	q, _ := h.reading(t, "dev-1", 1)
	h.removeDevice(t, "dev-1")
	if h.remembered("dev-1") {
		t.Error("the password of a removed camera is remembered")
	}
	eventually(t, "the removed camera is left", func() bool { return removed.Open.Load() == 0 })
	if err := receive(t, q, 2000); !errors.Is(err, ErrEnded) {
		t.Errorf("the reader's end: %v", err)
	}
	requests, dials := removed.Authorised.Load(), removed.Dials.Load()
	for range 3 {
		if err := h.ask("dev-1", 1); !errors.Is(err, ErrLeft) {
			t.Errorf("the removed device: %v", err)
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
	h := open(t, camera, func(c *Config) { c.CheckEvery = time.Hour })
	h.sources.set("dev-1", 2, sourceOf(camera))
	results := make(chan error, 2)
	for channel := 1; channel <= 2; channel++ {
		go func() { results <- h.ask("dev-1", channel) }()
	}
	<-described
	eventually(t, "the other one waits", func() bool { _, dialing, _ := h.states(); return dialing == 2 })
	h.removeDevice(t, "dev-1")
	requests := camera.Authorised.Load() // the one that is held
	close(goOn)
	for range 2 {
		if err := <-results; !errors.Is(err, ErrLeft) {
			t.Errorf("a dial of the removed device: %v", err)
		}
	}
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
	if n := camera.Authorised.Load(); n != requests || camera.Dials.Load() != 1 {
		t.Errorf("%d requests with the password after the removal, %d dials", n-requests, camera.Dials.Load())
	}
}

// TestRemovalWhileTheCameraIsLookedUp: what the vault returned before the removal
// is neither used nor remembered.
func TestRemovalWhileTheCameraIsLookedUp(t *testing.T) {
	camera := cameratest.Guarded().Start(t)
	h := open(t, camera, func(c *Config) { c.CheckEvery = time.Hour })
	asked, goOn := make(chan struct{}), make(chan struct{})
	h.sources.setBug(func() error { close(asked); <-goOn; return nil })
	result := make(chan error, 1)
	go func() { result <- h.ask("dev-1", 1) }()
	<-asked
	h.devices.remove("dev-1")
	h.Recheck("", "dev-1")
	close(goOn)
	if err := <-result; !errors.Is(err, ErrLeft) {
		t.Errorf("%v, want that the camera is left", err)
	}
	if err := h.AwaitLeft(t.Context()); err != nil {
		t.Error(err)
	}
	if h.remembered("dev-1") || camera.Dials.Load() != 0 {
		t.Errorf("remembered: %v; dials: %d", h.remembered("dev-1"), camera.Dials.Load())
	}
}

// TestNoDialAfterARemoval that came between the viewer's check and the dial.
func TestNoDialAfterARemoval(t *testing.T) {
	camera := cameratest.Guarded().Start(t)
	h := open(t, camera)
	_, err := h.Acquire(t.Context(), Stream{Device: "dev-1", Channel: 1}, func() bool { return false })
	if !errors.Is(err, ErrLeft) || camera.Dials.Load() != 0 {
		t.Errorf("%v, %d dials", err, camera.Dials.Load())
	}
}

// TestSweepLeavesRemovedCameras that no change was notified of, as after the
// privileges were loaded again.
func TestSweepLeavesRemovedCameras(t *testing.T) {
	camera := cameratest.Guarded().Start(t)
	h := open(t, camera, func(c *Config) { c.CloseAfter, c.CheckEvery = time.Hour, 20*time.Millisecond })
	if err := h.ask("dev-1", 1); err != nil {
		t.Fatal(err)
	}
	h.devices.setSick(true)
	h.devices.remove("dev-1")
	h.Recheck("", "")
	if camera.Open.Load() != 1 {
		t.Error("the camera is left while it is not known what is permitted")
	}
	h.devices.setSick(false)
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
}

// TestAwaitLeftIsBounded by its context while a camera is left.
func TestAwaitLeftIsBounded(t *testing.T) {
	h := open(t, nil)
	over := make(chan struct{})
	h.mu.Lock()
	u := h.upstream(Stream{Device: "dev-1", Channel: 1})
	u.left, u.over = time.Now(), over
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.AwaitLeft(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(over)
	if err := h.AwaitLeft(t.Context()); err != nil {
		t.Error(err)
	}
}
