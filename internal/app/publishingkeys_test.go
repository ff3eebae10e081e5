package app

import (
	"context"
	"errors"
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

// TestPublishedDevices are added without a proof, and with nothing that would need one.
func TestPublishedDevices(t *testing.T) {
	w := newWorld(t)
	w.devices.prover = provers{} // proves nothing
	if _, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Barn"}); err == nil {
		t.Error("a device without an address was added unproven")
	}
	added, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Barn", Published: true, Channels: []NewChannel{{Channel: 1}, {Channel: 2}}})
	if err != nil || !added.Unproven || len(added.Device.Channels) != 2 {
		t.Errorf("%+v, %v", added, err)
	}
	for name, n := range map[string]NewDevice{
		"a serial": {Serial: "barn-1"}, "an address": {RTSPURL: "rtsp://192.0.2.1/"}, "a password": {Username: "u", Password: "p"},
		"a second stream": {Channels: []NewChannel{{Channel: 1, SubURL: "rtsp://192.0.2.1/"}}}, "ONVIF": {ONVIFURL: "http://192.0.2.1/"},
	} {
		n.Name, n.Published = "Barn", true
		_, err := w.devices.Add(ctx, Meta{Account: w.alice}, n)
		wantFields(t, err, "published")
		if err == nil {
			t.Errorf("with %s it was added", name)
		}
	}
}

// provers connect to nothing.
type provers struct{}

func (provers) Prove(context.Context, string, Camera) (DeviceFacts, error) {
	return DeviceFacts{}, errors.New("nothing is there")
}
