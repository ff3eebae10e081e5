package streaming

import (
	"errors"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

// TestKnownKeysOpenWhileTheDatabaseIsAway: the secret of a key is read once. What
// the door does not know it does not refuse for good.
func TestKnownKeysOpenWhileTheDatabaseIsAway(t *testing.T) {
	h := open(t, (&fakeCamera{}).start(t))
	for _, name := range []string{"kused", "klearned", "kother", "kgone"} {
		h.grants.key(Key{Name: name, Account: "ann"}, "secret")
	}
	for _, name := range []string{"kused", "kgone"} {
		if got := h.status(t, "/dev-1/1", name+":secret"); got != 200 {
			t.Fatalf("%s: status %d", name, got)
		}
	}
	h.Learn("klearned", "secret")
	h.grants.setAway(true)
	h.grants.revokeKey("kgone")
	h.recheck(t, "ann", "", "kgone")
	for _, c := range []struct {
		key  string
		want int
	}{
		{"kused:secret", 200}, {"kused:wrong", 401}, {"klearned:secret", 200}, {"klearned:wrong", 401},
		{"kother:secret", 503}, {"kgone:secret", 401}, {"knever:secret", 401},
	} {
		if got := h.status(t, "/dev-1/1", c.key); got != c.want {
			t.Errorf("%s while the database is away: status %d, want %d", c.key, got, c.want)
		}
	}
	if err := h.watching(t, "/dev-1/1", "klearned:secret", "tcp").receive(5); err != nil {
		t.Error(err)
	}
	h.Learn("kgone", "secret") // by a reading that was overtaken by the revocation
	h.grants.setAway(false)
	for key, want := range map[string]int{"kother:secret": 200, "kgone:secret": 401} {
		if got := h.status(t, "/dev-1/1", key); got != want {
			t.Errorf("%s when it is back: status %d, want %d", key, got, want)
		}
	}
	h.forgetDead(time.Now())
	if _, ok := h.secrets.Get("kgone"); ok {
		t.Error("the secret of a revoked key is remembered")
	}
	if _, ok := h.secrets.Get("kother"); !ok {
		t.Error("the secret of a live key was forgotten")
	}
}

// TestSecretsAreForgotten at revocation at once, and after expiry; none while it
// is not known what is permitted.
func TestSecretsAreForgotten(t *testing.T) {
	h := open(t, nil)
	now := time.Now()
	h.grants.key(Key{Name: "kshort", Account: "ann", Expires: now.Add(time.Hour)}, "secret")
	h.Learn("kann", "secret")
	h.Learn("kshort", "secret")
	known := func(name string) bool { _, ok := h.secrets.Get(name); return ok }
	h.grants.setSick(true)
	h.forgetDead(now)
	h.grants.setSick(false)
	h.forgetDead(now)
	if !known("kann") || !known("kshort") {
		t.Error("the secret of a live key was forgotten")
	}
	h.forgetDead(now.Add(2 * time.Hour))
	if known("kshort") {
		t.Error("the secret of an expired key is remembered")
	}
	h.grants.revokeKey("kann")
	h.Recheck("ann", "", "kann")
	if known("kann") {
		t.Error("the secret of a revoked key is remembered")
	}
}

// TestCamerasAreDialledAgainWhileTheDatabaseIsAway, as they were last known;
// those of a removed device are not.
func TestCamerasAreDialledAgainWhileTheDatabaseIsAway(t *testing.T) {
	camera := (&fakeCamera{}).start(t)
	h := open(t, camera)
	h.grants.grant("ann", "dev-11", 1, privilege.LiveView)
	h.sources.set("dev-11", 1, Main, camera.source())
	for _, path := range []string{"/dev-1/1", "/dev-11/1"} {
		if got := h.status(t, path, annKey); got != 200 {
			t.Fatalf("%s: status %d", path, got)
		}
	}
	eventually(t, "the cameras are left", func() bool { return camera.open.Load() == 0 })
	h.sources.setBug(func() error { return errors.New("the database is away") })
	for _, path := range []string{"/dev-1/1", "/dev-11/1"} {
		if got := h.status(t, path, annKey); got != 200 {
			t.Errorf("%s while the database is away: status %d", path, got)
		}
	}
	h.removeDevice(t, "dev-1")
	for device, want := range map[string]bool{"dev-1": false, "dev-11": true} {
		if _, ok := h.Door.sources.Get(upstreamOf{device, 1, Main}.name()); ok != want {
			t.Errorf("the camera of %s is remembered: %v, want %v", device, ok, want)
		}
	}
	h.sources.setBug(func() error { return ErrNoStream })
	eventually(t, "the cameras are left again", func() bool { return camera.open.Load() == 0 })
	if got := h.status(t, "/dev-11/1", annKey); got != 404 {
		t.Errorf("a camera that is gone: status %d, want 404", got)
	}
	if _, ok := h.Door.sources.Get(upstreamOf{"dev-11", 1, Main}.name()); ok {
		t.Error("a camera that is gone is remembered")
	}
}
