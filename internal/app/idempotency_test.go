package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"latchkey/domain/device"
	"latchkey/domain/privilege"
)

// atOnce runs a command of another server just before the next append to a
// stream: both have loaded the same and carry the same key.
func (w *world) atOnce(other func(*server)) {
	node := w.node()
	w.log.before = func(string) {
		w.log.before = nil
		w.clock = w.clock.Add(keyLease) // the first is slow
		other(node)
	}
}

func TestKeyAtOnce(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.alice, IdempotencyKey: "one"}
	var first StreamKeyAdded
	w.atOnce(func(s *server) { first, _ = s.keys.Add(ctx, m, NewStreamKey{Label: "TV"}) })
	r, err := w.keys.Add(ctx, m, NewStreamKey{Label: "TV"})
	if err != nil || first.Key.Name == "" || r.Key.Name != first.Key.Name || r.Secret != first.Secret {
		t.Errorf("two at once got keys %+v and %+v, %v", first.Key, r.Key, err)
	}

	// Of two different requests the first has the key, wherever it stands.
	m.IdempotencyKey = "two"
	var lost error
	w.atOnce(func(s *server) {
		_, lost = s.devices.Add(ctx, m, NewDevice{Name: "Lost", RTSPURL: "rtsp://192.0.2.1/lost"})
	})
	won, err := w.devices.Add(ctx, m, NewDevice{Name: "Won", RTSPURL: "rtsp://192.0.2.1/won"})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, lost, Invalid, "idempotency_key_reused")
	if got := w.vault.cameras[won.Device.Device].Channels[0].MainURL; got != "rtsp://192.0.2.1/won" {
		t.Errorf("the device is reached at %s", got)
	}

	m.IdempotencyKey = "three"
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	w.atOnce(func(s *server) { _, lost = s.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.PTZ)) })
	if _, err := w.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.Alarm)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, lost, Invalid, "idempotency_key_reused")

	// Without memory of keys the log has the last word.
	w.requests = forgetful{}
	w.server = w.node()
	m.IdempotencyKey = "four"
	w.atOnce(func(s *server) { _, err = s.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.PTZ)) })
	if _, lost := w.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.LiveView)); err == nil {
		err = lost
	}
	wantCode(t, err, Invalid, "idempotency_key_reused")
}

// forgetful remembers no key.
type forgetful struct{ err error }

func (f forgetful) ClaimRequest(_ context.Context, claim Request, _ time.Time) (Request, bool, error) {
	return claim, true, f.err
}

func (f forgetful) FindRequest(context.Context, string) (Request, bool, error) {
	return Request{}, false, f.err
}
func (f forgetful) FinishRequest(context.Context, Request) error  { return f.err }
func (f forgetful) ReleaseRequest(context.Context, Request) error { return f.err }

// TestNothingIsRepeated: the repeat of a command that changed nothing changes
// nothing, whatever has happened since, on whatever server.
func TestNothingIsRepeated(t *testing.T) {
	for name, run := range map[string]func(s *server, w *world, m Meta, id string) (ShareChanged, error){
		"put": func(s *server, w *world, m Meta, id string) (ShareChanged, error) {
			return s.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.LiveView))
		},
		"save": func(s *server, w *world, m Meta, id string) (ShareChanged, error) {
			return s.shares.Replace(ctx, m, id, "", nil, []DeviceGrants{gives(w.cam, 1, privilege.LiveView)})
		},
		"share": func(s *server, w *world, m Meta, _ string) (ShareChanged, error) {
			return changes(s.shares.Save(ctx, m, NewShare{Email: "bob@example.com"}))
		},
		"bob accept": func(s *server, w *world, m Meta, id string) (ShareChanged, error) {
			return s.shares.Accept(ctx, m, id, w.cam)
		},
		"bob domain": func(s *server, w *world, m Meta, id string) (ShareChanged, error) {
			return s.shares.SetDomain(ctx, m, id, w.cam, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.accepted(gives(w.cam, 1, privilege.LiveView))
			m := Meta{Account: w.alice, IdempotencyKey: "key"}
			if strings.HasPrefix(name, "bob") {
				m.Account = w.bob
			}
			events := len(w.log.all())
			first, err := run(w.server, w, m, id)
			if err != nil || len(w.log.all()) != events {
				t.Fatalf("%+v, %v: it was to change nothing", first, err)
			}
			if _, err := w.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(w.cam, 1, privilege.All)); err != nil {
				t.Fatal(err)
			}
			if _, err := w.shares.SetDomain(ctx, Meta{Account: w.bob}, id, w.cam, "door"); err != nil {
				t.Fatal(err)
			}
			events = len(w.log.all())
			for _, server := range []*server{w.server, w.node()} {
				again, err := run(server, w, m, id)
				if err != nil || !reflect.DeepEqual(again, first) || len(w.log.all()) != events {
					t.Errorf("answered\n%+v\nthen\n%+v, %v, with %d more events", first, again, err, len(w.log.all())-events)
				}
			}
			// The key is used, on every server and for every stream.
			_, err = w.node().keys.Add(ctx, m, NewStreamKey{})
			wantCode(t, err, Invalid, "idempotency_key_reused")
			// Long after it is a new one.
			w.clock = w.clock.Add(keysKept)
			if name == "put" {
				if again, err := run(w.server, w, m, id); err != nil || again.Revision == first.Revision {
					t.Errorf("after the key was forgotten: %+v, %v", again, err)
				}
			}
		})
	}
}

// TestCutOffWithKey: a command that died between its claim and its append is
// carried out by its repeat.
func TestCutOffWithKey(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	m := Meta{Account: w.bob, IdempotencyKey: "key"}
	w.log.crash = func(string) crash { return crashBefore }
	_, err := w.shares.Accept(ctx, m, id, w.cam)
	wantCode(t, err, Unavailable, "unavailable")
	w.log.crash = nil
	w.patience = 20 * time.Millisecond
	_, err = w.shares.Accept(ctx, m, id, w.cam) // it may be carried out still
	wantCode(t, err, Unavailable, "busy")
	w.clock = w.clock.Add(keyLease)
	if r, err := w.node().shares.Accept(ctx, m, id, w.cam); err != nil || r.Revision != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestKeysCannotBeKept: what takes away goes on, and nothing else.
func TestKeysCannotBeKept(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView|privilege.PTZ))
	w.requests = forgetful{errors.New("the vault's disk is full")}
	w.server = w.node()
	alice := func(key string) Meta { return Meta{Account: w.alice, IdempotencyKey: key} }
	_, err := w.shares.PutDevice(ctx, alice("more"), id, gives(w.cam, 1, privilege.All))
	wantCode(t, err, Unavailable, "unavailable")
	_, err = w.shares.PutDevice(ctx, alice("same"), id, gives(w.cam, 1, privilege.LiveView|privilege.PTZ))
	wantCode(t, err, Unavailable, "unavailable")
	first, err := w.shares.PutDevice(ctx, alice("less"), id, gives(w.cam, 1, privilege.LiveView))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.shares.PutDevice(ctx, alice("less"), id, gives(w.cam, 1, privilege.LiveView)); err != nil || !reflect.DeepEqual(again, first) {
		t.Errorf("%+v, %v; want %+v", again, err, first)
	}
	if _, err := w.shares.Delete(ctx, alice("delete"), id); err != nil {
		t.Error(err)
	}
}

func TestRecentRequestsAreBounded(t *testing.T) {
	var r recentRequests
	now := time.Unix(0, 0)
	claim := func(i int, fingerprint string) bool {
		_, mine, _ := r.ClaimRequest(ctx, Request{Key: fmt.Sprint(i), Fingerprint: fingerprint, Expires: now.Add(time.Hour), Until: now.Add(time.Hour)}, now)
		return mine
	}
	for i := range recentKept {
		claim(i, "one")
	}
	if claim(0, "another") {
		t.Error("a key was forgotten too soon")
	}
	for i := range 2 * recentKept {
		claim(i+recentKept, "one")
	}
	if !claim(0, "another") || len(r.recent)+len(r.older) > 2*recentKept {
		t.Errorf("%d keys are remembered", len(r.recent)+len(r.older))
	}
}

func TestRegisterAtOnceWithOneKey(t *testing.T) {
	w := emptyWorld(t)
	m := Meta{IdempotencyKey: "one"}
	carol := Registration{Email: "carol@example.com", Password: password, Name: "Carol"}
	var first Registered
	w.atOnce(func(s *server) { first, _ = s.accounts.Register(ctx, m, carol) })
	r, err := w.accounts.Register(ctx, m, carol)
	if err != nil || r.Account != first.Account {
		t.Errorf("two at once got accounts %q and %q, %v", first.Account, r.Account, err)
	}
	holder, err := w.accounts.ByLogin(ctx, emailKind, carol.Email)
	if err != nil || holder != r.Account {
		t.Errorf("the login is of %q, %v; want %q", holder, err, r.Account)
	}
	streams := 0
	for name := range w.log.streams {
		if name != loginStream(w.vault.LoginHash(emailKind, carol.Email)) {
			streams++
		}
	}
	if streams != 1 {
		t.Errorf("%d accounts were made", streams)
	}
}

// TestARepeatOfTheOwnerBefore: somebody else has the device now; a repeat gets the answer
// that it got, and changes nothing.
func TestARepeatOfTheOwnerBefore(t *testing.T) {
	w := newWorld(t)
	add, remove := Meta{Account: w.alice, IdempotencyKey: "add"}, Meta{Account: w.alice, IdempotencyKey: "remove"}
	added, err := w.devices.Add(ctx, add, recorder())
	if err != nil {
		t.Fatal(err)
	}
	removed, err := w.devices.Remove(ctx, remove, added.Device.Device)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := w.devices.Add(ctx, Meta{Account: w.bob}, recorder())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.devices.Add(ctx, add, recorder()); err != nil || again.Device.Device != added.Device.Device || again.Position != added.Position {
		t.Errorf("adding again: %+v, %v", again, err)
	}
	if again, err := w.devices.Remove(ctx, remove, added.Device.Device); err != nil || again.Position != removed.Position {
		t.Errorf("removing again: %+v, %v", again, err)
	}
	for name, m := range map[string]Meta{"with a new key": {Account: w.alice, IdempotencyKey: "other"}, "without": {Account: w.alice}} {
		if _, err := w.devices.Remove(ctx, m, theirs.Device.Device); !errors.Is(err, device.ErrNotFound) {
			t.Errorf("removing what is somebody else's, %s: %v", name, err)
		}
	}
	if _, err := w.devices.Remove(ctx, remove, theirs.Device.Device); err == nil || !strings.HasPrefix(err.Error(), CodeKeyReused) {
		t.Errorf("the key for another request: %v", err)
	}
	if live, err := w.devices.Live(ctx, theirs.Device.Device); !live || err != nil {
		t.Errorf("the device of its owner now: %v, %v", live, err)
	}
}
