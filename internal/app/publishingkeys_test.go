package app

import (
	"testing"

	"latchkey/domain/ids"
)

// TestPublishingKeys: they are made by the owner of a device for one of its channels, and a
// repeat returns the same one.
func TestPublishingKeys(t *testing.T) {
	w := newWorld(t)
	added, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Barn", Serial: "barn-1"})
	if err != nil {
		t.Fatal(err)
	}
	device := added.Device.Device
	make := func(account, device string, channel int) (StreamKeyAdded, error) {
		return w.keys.Add(ctx, Meta{Account: account, IdempotencyKey: "once"}, NewStreamKey{Device: device, Publish: channel})
	}
	one, err := make(w.alice, device, 1)
	if err != nil || ids.Key(one.Key.Name).Publishes() != 1 || one.Key.Device != device || one.Secret == "" {
		t.Fatalf("%+v, %v", one, err)
	}
	if again, err := make(w.alice, device, 1); err != nil || again.Key != one.Key || again.Secret != one.Secret {
		t.Errorf("a repeat returns %+v, %v", again, err)
	}
	for name, c := range map[string]struct {
		account, device string
		channel         int
	}{
		"a stranger": {w.bob, device, 1}, "no device": {w.alice, "", 1}, "another channel": {w.alice, device, 2}, "channel 600": {w.alice, device, 600}, "channel -1": {w.alice, device, -1},
	} {
		if _, err := w.keys.Add(ctx, Meta{Account: c.account}, NewStreamKey{Device: c.device, Publish: c.channel}); err == nil {
			t.Errorf("%s: a publishing key was made", name)
		}
	}
	if plain, err := w.keys.Add(ctx, Meta{Account: w.alice}, NewStreamKey{Device: device}); err != nil || ids.Key(plain.Key.Name).Publishes() != 0 {
		t.Errorf("a stream key is %+v, %v", plain, err)
	}
	if _, err := w.keys.Revoke(ctx, Meta{Account: w.alice}, one.Key.Name); err != nil {
		t.Error(err)
	}
}
