package app

import (
	"encoding/json"
	"testing"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// fingerprints are those in the events of a stream.
func (w *world) fingerprints(stream string) (list []string) {
	w.t.Helper()
	for _, e := range w.log.streams[stream] {
		var m metadata
		if err := json.Unmarshal(e.Metadata, &m); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, m.Request)
	}
	return list
}

// TestFingerprints: an event tells nothing of its request without an
// idempotency key; with one, equal requests of different people differ, and no
// secret is in it.
func TestFingerprints(t *testing.T) {
	w := newWorld(t)
	add := func(account, serial, key, password string) string {
		_, err := w.devices.Add(ctx, Meta{Account: account, IdempotencyKey: key},
			NewDevice{Name: "Door", Serial: serial, RTSPURL: "rtsp://u:" + password + "@192.0.2.1/1"})
		if err != nil {
			t.Fatal(err)
		}
		list := w.fingerprints(deviceStream(serial))
		return list[len(list)-1]
	}
	if f := add(w.alice, "fp-1", "", "one"); f != "" {
		t.Errorf("without a key the fingerprint is %q", f)
	}
	remove := func(account, id string) {
		if _, err := w.devices.Remove(ctx, Meta{Account: account}, id); err != nil {
			t.Fatal(err)
		}
	}
	one := add(w.alice, "fp-2", "key", "one")
	if f := add(w.alice, "fp-2", "key", "another"); f != one || len(w.fingerprints(deviceStream("fp-2"))) != 1 {
		t.Errorf("with another password it is another request: %q, %q", f, one)
	}
	remove(w.alice, "fp-2")
	for name, f := range map[string]string{
		"another person": add(w.bob, "fp-2", "key", "one"),
		"another key":    func() string { remove(w.bob, "fp-2.2"); return add(w.bob, "fp-2", "other key", "one") }(),
	} {
		if f == one || f == "" {
			t.Errorf("the same request of %s has the fingerprint %q", name, f)
		}
	}
}

// TestRemovingLimitsIsAnotherRequest: an empty list of limits and none are not the same
// request.
func TestRemovingLimitsIsAnotherRequest(t *testing.T) {
	canonical := func(limits []privilege.Limit) string {
		raw, err := json.Marshal(DeviceGrants{Device: "cam", Grants: []share.Grant{{Channel: 2, Privileges: privilege.LiveView, Limits: limits}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if kept, removed := canonical(nil), canonical([]privilege.Limit{}); kept == removed {
		t.Errorf("both are %s", kept)
	}
	want := `{"Device":"cam","Grants":[{"channel":2,"privileges":["live_view"]}]}` // as earlier versions made it
	if got := canonical(nil); got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
}

// TestFingerprintOfBefore: a repeat of a command that an earlier version carried
// out is a repeat.
func TestFingerprintOfBefore(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.alice, IdempotencyKey: "key"}
	d := NewDevice{Name: "Door", Serial: "fp-1", RTSPURL: "rtsp://192.0.2.1/1"}
	first, err := w.devices.Add(ctx, m, d)
	if err != nil {
		t.Fatal(err)
	}
	stored := w.log.streams[deviceStream("fp-1")]
	stored[0].Metadata = []byte(`{"account":"` + w.alice + `","request":"00112233445566778899aabbccddeeff"}`)
	again, err := w.devices.Add(ctx, m, d)
	if err != nil || again.Position != first.Position || len(w.log.streams[deviceStream("fp-1")]) != 1 {
		t.Errorf("repeated: %+v, %v; first %+v", again, err, first)
	}
}
