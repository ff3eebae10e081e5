package app

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/privilege"
)

func TestAddStreamKey(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.bob}
	expires := w.clock.Add(time.Hour)
	r, err := w.keys.Add(ctx, m, NewStreamKey{Label: "Phone", Expires: new(expires.In(time.FixedZone("", 3600)))})
	if err != nil || r.Position == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !regexp.MustCompile(`^k[a-z2-7]{12}$`).MatchString(r.Key.Name) || !regexp.MustCompile(`^[a-z2-7]{20}$`).MatchString(r.Secret) {
		t.Errorf("key %q, secret of %d characters", r.Key.Name, len(r.Secret))
	}
	if !r.Key.Expires.Equal(expires) || r.Key.Device != "" || w.vault.secrets[r.Key.Name] != r.Secret {
		t.Errorf("%+v", r.Key)
	}
	w.wantAbsent("Phone", r.Secret)
	other, err := w.keys.Add(ctx, m, NewStreamKey{})
	if err != nil || other.Key.Name == r.Key.Name || other.Secret == r.Secret {
		t.Fatalf("%+v, %v", other, err)
	}
	_, err = w.keys.Add(ctx, m, NewStreamKey{Expires: &w.clock})
	wantCode(t, err, Invalid, "invalid_expiry")
	_, err = w.keys.Add(ctx, m, NewStreamKey{Label: strings.Repeat("l", 129)})
	wantFields(t, err, "label")
	_, err = w.keys.Add(ctx, Meta{Account: "0198c0de-0000-7000-8000-0000000000ff"}, NewStreamKey{})
	wantCode(t, err, NotFound, "account_not_found")
}

func TestStreamKeyOfDevice(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	add := func(who, device string) error {
		_, err := w.keys.Add(ctx, Meta{Account: who}, NewStreamKey{Device: device})
		return err
	}
	if err := add(w.alice, w.cam); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{w.bob, w.eve} {
		wantCode(t, add(who, w.cam), NotFound, "device_not_found")
	}
	if _, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam); err != nil {
		t.Fatal(err)
	}
	if err := add(w.bob, w.cam); err != nil {
		t.Fatal(err)
	}
	wantCode(t, add(w.eve, w.cam), NotFound, "device_not_found")
	wantCode(t, add(w.bob, w.dvr), NotFound, "device_not_found")
	if _, err := w.shares.Delete(ctx, Meta{Account: w.alice}, id); err != nil {
		t.Fatal(err)
	}
	wantCode(t, add(w.bob, w.cam), NotFound, "device_not_found")
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	wantCode(t, add(w.alice, w.cam), NotFound, "device_not_found")
}

func TestRevokeStreamKey(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.bob, IdempotencyKey: "key"}
	r, err := w.keys.Add(ctx, m, NewStreamKey{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.keys.Revoke(ctx, Meta{Account: w.alice}, r.Key.Name)
	wantCode(t, err, NotFound, "stream_key_not_found")
	if w.vault.secrets[r.Key.Name] == "" {
		t.Fatal("another's revocation forgot the secret")
	}
	done, err := w.keys.Revoke(ctx, Meta{Account: w.bob}, r.Key.Name)
	if err != nil || done.Position <= r.Position {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, ok := w.vault.secrets[r.Key.Name]; ok {
		t.Error("the secret is still there")
	}
	_, err = w.keys.Revoke(ctx, Meta{Account: w.bob}, r.Key.Name)
	wantCode(t, err, NotFound, "stream_key_not_found")
	_, err = w.keys.Add(ctx, m, NewStreamKey{})
	wantCode(t, err, NotFound, "stream_key_not_found")
}

// TestSecretFirst: a key that the log has, has a secret.
func TestSecretFirst(t *testing.T) {
	w := newWorld(t)
	w.vault.fail = errors.New("the vault is away")
	_, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{})
	wantCode(t, err, Unavailable, "unavailable")
	if got := w.log.types(accountStream(w.bob)); got != "account.registered" {
		t.Fatal(got)
	}
}

func TestTooManyStreamKeys(t *testing.T) {
	w := newWorld(t)
	for range account.MaxKeys {
		if _, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{})
	wantCode(t, err, Exhausted, "quota_exceeded")
	if e, _ := errors.AsType[*Error](err); e.Quota != QuotaStreamKeys {
		t.Errorf("refused by the quota %q", e.Quota)
	}
	if n := len(w.vault.secrets); n != account.MaxKeys {
		t.Fatalf("%d secrets", n)
	}
}

// TestNoSecretWithoutKey: a secret whose key did not come to be is forgotten.
func TestNoSecretWithoutKey(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.bob, IdempotencyKey: "key"}
	var first StreamKeyAdded
	w.log.before = once(func(string) {
		w.clock = w.clock.Add(keyLease) // the first is slow
		var err error
		if first, err = w.node().keys.Add(ctx, m, NewStreamKey{}); err != nil {
			t.Error(err)
		}
	})
	r, err := w.keys.Add(ctx, m, NewStreamKey{})
	if err != nil || r.Secret != first.Secret || len(w.vault.secrets) != 1 {
		t.Fatalf("%+v, %v, %d secrets; want the answer of whoever was faster", r, err, len(w.vault.secrets))
	}
	w.log.crash = func(string) crash { return crashAfter }
	if _, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{}); err == nil || len(w.vault.secrets) != 2 {
		t.Fatalf("%v, %d secrets; the key may be there, so its secret must", err, len(w.vault.secrets))
	}
}
