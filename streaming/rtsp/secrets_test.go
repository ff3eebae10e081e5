package rtsp

import (
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
)

// TestKnownKeysOpenWhileTheDatabaseIsAway: the secret of a key is read once. What
// the door does not know it does not refuse for good.
func TestKnownKeysOpenWhileTheDatabaseIsAway(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	for _, name := range []string{"kused", "klearned", "kother", "kgone"} {
		h.grants.key(access.Key{Name: ids.Key(name), Account: "ann"}, "secret")
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
	h.grants.key(access.Key{Name: "kshort", Account: "ann", Expires: now.Add(time.Hour)}, "secret")
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
