package app

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

func TestSaveShare(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.alice}
	r, err := w.shares.Save(ctx, m, NewShare{Email: "BOB@example.com", Remark: "The neighbour", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
	if err != nil || !r.Created || r.Revision != 1 || r.Position == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	login := w.vault.LoginHash("email", "bob@example.com")
	name, _ := w.vault.Seal(ctx, w.alice, event.FieldDevice, "Front door")
	recipient, _ := w.vault.Seal(ctx, "login-"+login, event.FieldRecipient, "bob@example.com")
	remark, _ := w.vault.Seal(ctx, "login-"+login, event.FieldRemark, "The neighbour")
	want := share.State{
		ID: w.alice + "." + login, Owner: w.alice, Login: login, Kind: "email", Recipient: recipient, Remark: remark, Live: true,
		Devices: []share.Device{{Device: w.cam, Status: share.StatusInvited, Grants: gives(w.cam, 1, privilege.LiveView).Grants, InvitedAt: w.clock}},
	}
	if !reflect.DeepEqual(r.Share, want) || r.Names[w.cam] != name {
		t.Fatalf("%+v, %v; want %+v, %s", r.Share, r.Names, want, name)
	}
	more, err := w.shares.Save(ctx, m, NewShare{Email: "bob@example.com", Devices: []DeviceGrants{gives(w.dvr, 2, privilege.Playback)}})
	if err != nil || more.Created || more.Share.ID != r.Share.ID || len(more.Share.Devices) != 2 || more.Share.Remark != remark || more.Revision != 2 {
		t.Fatalf("%+v, %v", more, err)
	}
	_, err = w.shares.Save(ctx, m, NewShare{Email: "bob@example.com", Devices: []DeviceGrants{gives(w.dvr, 1, privilege.LiveView)}})
	wantCode(t, err, Conflict, "already_shared")
	w.wantAbsent("bob@", "neighbour", "Front door")
}

func TestSaveShareRefuses(t *testing.T) {
	w := newWorld(t)
	eves := w.addDevice(w.eve, NewDevice{Name: "Eve's"})
	events := len(w.log.all())
	to := func(devices ...DeviceGrants) NewShare { return NewShare{Email: "bob@example.com", Devices: devices} }
	for name, in := range map[string]struct {
		n    NewShare
		kind Kind
		code string
		at   Field // the field, "" for none
	}{
		"an own login":       {NewShare{Email: "alice@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}}, Invalid, "own_login", ""},
		"another's device":   {to(gives(w.cam, 1, privilege.LiveView), gives(eves, 1, privilege.LiveView)), NotFound, "device_not_found", "devices[1].device"},
		"no such device":     {to(gives("nothing", 1, privilege.LiveView)), NotFound, "device_not_found", "devices[0].device"},
		"an earlier id":      {to(gives(w.cam+".2", 1, privilege.LiveView)), NotFound, "device_not_found", "devices[0].device"},
		"an id of a stream":  {to(gives("../account-1", 1, privilege.LiveView)), NotFound, "device_not_found", "devices[0].device"},
		"an unknown channel": {to(gives(w.cam, 2, privilege.LiveView)), Invalid, "unknown_channel", "devices[0].channels[0].channel"},
		"channel 0":          {to(gives(w.cam, 0, privilege.LiveView)), Invalid, "unknown_channel", "devices[0].channels[0].channel"},
		"a channel twice":    {to(DeviceGrants{Device: w.dvr, Grants: []share.Grant{{Channel: 2}, {Channel: 1}, {Channel: 2}}}), Invalid, "channel_twice", "devices[0].channels[2].channel"},
		"beyond capability":  {to(gives(w.cam, 1, privilege.PTZ), gives(w.dvr, 2, privilege.LiveView)), Invalid, "beyond_capability", "devices[1].channels[0].privileges"},
		"no channel":         {to(DeviceGrants{Device: w.cam}), Invalid, "no_channels", "devices[0].channels"},
		"a device twice":     {to(gives(w.cam, 1, privilege.LiveView), gives(w.cam, 1, privilege.LiveView)), Invalid, "device_twice", "devices[1].device"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.shares.Save(ctx, Meta{Account: w.alice}, in.n)
			if e := wantCode(t, err, in.kind, in.code); in.at != "" {
				wantField(t, e, in.at)
			}
		})
	}
	for name, in := range map[string]struct {
		n      NewShare
		fields []Field
	}{
		"no recipient":      {NewShare{}, []Field{"recipient.email", "recipient.phone"}},
		"a bad recipient":   {NewShare{Phone: "1"}, []Field{"recipient.phone"}},
		"a long remark":     {NewShare{Email: "b@c.d", Remark: strings.Repeat("r", 257)}, []Field{"remark"}},
		"too many devices":  {NewShare{Email: "b@c.d", Devices: make([]DeviceGrants, 257)}, []Field{"devices"}},
		"too many channels": {NewShare{Email: "b@c.d", Devices: []DeviceGrants{{Grants: make([]share.Grant, 512)}}}, []Field{"devices[0].channels"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.shares.Save(ctx, Meta{Account: w.alice}, in.n)
			wantFields(t, err, in.fields...)
		})
	}
	_, err := w.shares.Save(ctx, Meta{}, to())
	wantCode(t, err, Unauthenticated, "unauthenticated")
	_, err = w.shares.Save(ctx, Meta{Account: w.alice}, to(gives(w.cam, 1, 1<<7)))
	wantCode(t, err, Invalid, "invalid_body")
	if n := len(w.log.all()); n != events {
		t.Fatalf("refusals wrote %d events", n-events)
	}
}

// TestEditsSayWhere: the screens that save again show what is wrong where it is.
func TestEditsSayWhere(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	m := Meta{Account: w.alice}
	_, err := w.shares.Replace(ctx, m, id, "", nil, []DeviceGrants{gives(w.cam, 1, privilege.All), gives(w.dvr, 2, privilege.PTZ)})
	wantField(t, wantCode(t, err, Invalid, "beyond_capability"), "devices[1].channels[0].privileges")
	_, err = w.shares.PutDevice(ctx, m, id, DeviceGrants{Device: w.dvr, Grants: []share.Grant{{Channel: 1}, {Channel: 9}}})
	wantField(t, wantCode(t, err, Invalid, "unknown_channel"), "channels[1].channel")
	_, err = w.shares.PutDevice(ctx, m, id, DeviceGrants{Device: w.dvr})
	wantField(t, wantCode(t, err, Invalid, "no_channels"), "channels")
	_, err = w.shares.PutDevice(ctx, m, id, gives("cam-nothing", 1, privilege.PTZ))
	if e := wantCode(t, err, NotFound, "device_not_found"); len(e.Fields) != 0 {
		t.Errorf("the device of the path is no field: %v", e.Fields)
	}
	_, err = w.shares.Save(ctx, m, NewShare{Email: "bob@example.com", Devices: []DeviceGrants{gives(w.dvr, 1, privilege.LiveView), gives(w.cam, 1, privilege.LiveView)}})
	wantField(t, wantCode(t, err, Conflict, "already_shared"), "devices[1].device")
}

// TestWhoMayWhat tries every command as everybody.
func TestWhoMayWhat(t *testing.T) {
	commands := map[string]func(w *world, m Meta, id string) error{
		"replace": func(w *world, m Meta, id string) error {
			_, err := w.shares.Replace(ctx, m, id, "other", nil, []DeviceGrants{gives(w.cam, 1, privilege.All)})
			return err
		},
		"put": func(w *world, m Meta, id string) error {
			_, err := w.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.All))
			return err
		},
		"remove": func(w *world, m Meta, id string) error {
			_, err := w.shares.RemoveDevice(ctx, m, id, w.cam)
			return err
		},
		"delete": func(w *world, m Meta, id string) error { _, err := w.shares.Delete(ctx, m, id); return err },
		"accept": func(w *world, m Meta, id string) error { _, err := w.shares.Accept(ctx, m, id, w.dvr); return err },
		"reject": func(w *world, m Meta, id string) error { _, err := w.shares.Reject(ctx, m, id, w.cam); return err },
		"domain": func(w *world, m Meta, id string) error {
			_, err := w.shares.SetDomain(ctx, m, id, w.cam, "door")
			return err
		},
	}
	last := map[string]map[string]string{ // the event that it ends with; none: refused
		"replace": {"alice": "share.privileges_edited"},
		"put":     {"alice": "share.privileges_edited"},
		"remove":  {"alice": "share.device_removed", "bob": "share.left"},
		"delete":  {"alice": "share.deleted", "bob": "share.left"},
		"accept":  {"bob": "share.accepted"},
		"reject":  {"bob": "share.rejected"},
		"domain":  {"bob": "share.domain_set"},
	}
	for name, run := range commands {
		for _, who := range []string{"alice", "bob", "eve", "nobody"} {
			t.Run(name+" "+who, func(t *testing.T) {
				w := newWorld(t)
				id := w.accepted(gives(w.cam, 1, privilege.LiveView))
				w.share(gives(w.dvr, 2, privilege.Playback))
				before := w.log.types(shareStream(id))
				m := Meta{Account: map[string]string{"alice": w.alice, "bob": w.bob, "eve": w.eve}[who]}
				err := run(w, m, id)
				after := strings.TrimSpace(strings.TrimPrefix(w.log.types(shareStream(id)), before))
				if want := last[name][who]; want != "" {
					if err != nil || !strings.HasSuffix(after, want) {
						t.Fatalf("%v; wrote %q; want %s", err, after, want)
					}
					return
				}
				if after != "" {
					t.Fatalf("refused with %v, but wrote %q", err, after)
				}
				switch who {
				case "eve":
					wantCode(t, err, NotFound, "share_not_found")
				case "nobody":
					wantCode(t, err, Unauthenticated, "unauthenticated")
				case "bob":
					wantCode(t, err, Forbidden, "not_the_owner")
				default:
					wantCode(t, err, Forbidden, "not_the_recipient")
				}
			})
		}
	}
}

func TestNoSuchShare(t *testing.T) {
	w := newWorld(t)
	login := w.vault.LoginHash("email", "bob@example.com")
	for _, id := range []string{
		"", ".", w.alice, w.alice + "." + login, w.alice + "." + login + "x", w.alice + "." + strings.ToUpper(login),
		"{" + w.alice + "}." + login, strings.ToUpper(w.alice) + "." + login, strings.ReplaceAll(w.alice, "-", "") + "." + login, "../account-" + w.alice,
	} {
		for _, who := range []string{w.alice, w.bob, w.eve} {
			_, err := w.shares.Delete(ctx, Meta{Account: who}, id)
			wantCode(t, err, NotFound, "share_not_found")
		}
	}
}

func TestAcceptLooksAgain(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	w.log.behind = true // so that the share holds the device still
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	_, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam)
	wantCode(t, err, NotFound, "device_not_found")
	w.addDevice(w.eve, NewDevice{Name: "Eve's now", Serial: w.cam})
	_, err = w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam)
	wantCode(t, err, NotFound, "device_not_found")
	if got := w.log.types(shareStream(id)); got != "share.opened share.invited" {
		t.Fatal(got)
	}
}

func TestInvitedBeforeRegistered(t *testing.T) {
	w := newWorld(t)
	r, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Phone: "+86 18969190000", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.shares.Accept(ctx, Meta{Account: w.bob}, r.Share.ID, w.cam)
	wantCode(t, err, NotFound, "share_not_found")
	carol, err := w.accounts.Register(ctx, Meta{}, Registration{Phone: "+8618969190000", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	done, err := w.shares.Accept(ctx, Meta{Account: carol.Account}, r.Share.ID, w.cam)
	if err != nil || !done.Share.Allows(carol.Account, w.cam, 1, privilege.LiveView, time.Now()) {
		t.Fatalf("%+v, %v", done, err)
	}
}

func TestReplaceShare(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 2, privilege.Playback))
	nvr := w.addDevice(w.alice, NewDevice{Name: "New", Serial: "nvr"})
	r, err := w.shares.Replace(ctx, Meta{Account: w.alice}, id, "Uncle Bob", nil, []DeviceGrants{gives(w.cam, 1, privilege.All), gives(nvr, 1, privilege.Alarm)})
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]share.Status{}
	for _, d := range r.Share.Devices {
		status[d.Device] = d.Status
	}
	want := map[string]share.Status{w.cam: share.StatusAccepted, w.dvr: share.StatusRemoved, nvr: share.StatusInvited}
	if !reflect.DeepEqual(status, want) || len(r.Names) != 3 {
		t.Fatalf("%v; want %v", status, want)
	}
	if !r.Share.Allows(w.bob, w.cam, 1, privilege.PTZ, time.Now()) || r.Share.Allows(w.bob, w.dvr, 2, privilege.Playback, time.Now()) {
		t.Fatalf("%+v", r.Share)
	}
	same, err := w.shares.Replace(ctx, Meta{Account: w.alice}, id, "Uncle Bob", nil, []DeviceGrants{gives(w.cam, 1, privilege.All), gives(nvr, 1, privilege.Alarm)})
	if err != nil || same.Revision != r.Revision || same.Position != r.Position {
		t.Fatalf("saving the same: %+v, %v; want revision %d at %d", same, err, r.Revision, r.Position)
	}
}

func TestExpectedRevision(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	revision := int64(2)
	old := revision - 1
	_, err := w.shares.PutDevice(ctx, Meta{Account: w.alice, Revision: &old}, id, gives(w.cam, 1, privilege.All))
	wantCode(t, err, Precondition, "revision_changed")
	_, err = w.shares.Delete(ctx, Meta{Account: w.eve, Revision: &old}, id)
	wantCode(t, err, NotFound, "share_not_found")
	m := Meta{Account: w.alice, Revision: &revision, IdempotencyKey: "key"}
	r, err := w.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.All))
	if err != nil || r.Revision != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	again, err := w.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.All))
	if err != nil || again.Revision != 3 {
		t.Fatalf("a repeat is no longer at its revision: %+v, %v", again, err)
	}
	// Somebody is faster between the check and the append.
	revision = 3
	w.log.before = once(func(string) {
		if _, err := w.node().shares.SetDomain(ctx, Meta{Account: w.bob}, id, w.cam, "door"); err != nil {
			t.Error(err)
		}
	})
	_, err = w.shares.PutDevice(ctx, Meta{Account: w.alice, Revision: &revision}, id, gives(w.cam, 1, privilege.LiveView))
	wantCode(t, err, Precondition, "revision_changed")
}

// TestFaster: a command that others overtake is decided anew over what they
// did.
func TestFaster(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	w.log.before = once(func(string) {
		if _, err := w.node().shares.RemoveDevice(ctx, Meta{Account: w.alice}, id, w.cam); err != nil {
			t.Error(err)
		}
	})
	_, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam)
	wantCode(t, err, Conflict, "not_invited")
	if got := w.log.types(shareStream(id)); got != "share.opened share.invited share.device_removed" {
		t.Fatal(got)
	}
}

// overtake changes the share before each of the first n appends to it.
func overtake(w *world, id string, n int) {
	i := 0
	w.log.before = func(stream string) {
		if stream != shareStream(id) || i >= n {
			return
		}
		i++
		held := w.log.before
		w.log.before = nil
		if _, err := w.node().shares.SetDomain(ctx, Meta{Account: w.bob}, id, w.cam, fmt.Sprint("door", i)); err != nil {
			w.t.Error(err)
		}
		w.log.before = held
	}
}

// TestOvertaken: whoever is overtaken by another process tries again until the
// patience is over.
func TestOvertaken(t *testing.T) {
	for n, fails := range map[int]bool{1: false, 6: false, 1 << 30: true} {
		w := newWorld(t)
		id := w.accepted(gives(w.cam, 1, privilege.LiveView))
		overtake(w, id, n)
		if fails {
			w.patience = 100 * time.Millisecond
		}
		r, err := w.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(w.cam, 1, privilege.All))
		if fails {
			wantCode(t, err, Unavailable, "busy")
		} else if err != nil || r.Revision != int64(3+n) {
			t.Errorf("after %d conflicts: %+v, %v", n, r, err)
		}
	}
}

// TestRepeat: whatever command, wherever the server dies, a repeat with the
// same key is one effect and one answer.
func TestRepeat(t *testing.T) {
	type answer struct {
		position position.Position
		whole    any // without names, which are those of now
	}
	saved := func(r ShareSaved, err error) (answer, error) { r.Names = nil; return answer{r.Position, r}, err }
	changed := func(r ShareChanged, err error) (answer, error) { r.Names = nil; return answer{r.Position, r}, err }
	done := func(r Done, err error) (answer, error) { return answer{r.Position, r}, err }
	key := func(r StreamKeyAdded, err error) (answer, error) { return answer{r.Position, r}, err }
	commands := map[string]func(w *world, m Meta, id string) (answer, error){
		"save": func(w *world, m Meta, _ string) (answer, error) {
			return saved(w.shares.Save(ctx, m, NewShare{Email: "carol@example.com", Remark: "Carol", Devices: []DeviceGrants{gives(w.cam, 1, privilege.PTZ), gives(w.dvr, 2, privilege.None)}}))
		},
		"replace": func(w *world, m Meta, id string) (answer, error) {
			return changed(w.shares.Replace(ctx, m, id, "other", nil, []DeviceGrants{gives(w.dvr, 1, privilege.LiveView)}))
		},
		"put": func(w *world, m Meta, id string) (answer, error) {
			return changed(w.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.All)))
		},
		"remove": func(w *world, m Meta, id string) (answer, error) {
			return done(w.shares.RemoveDevice(ctx, m, id, w.cam))
		},
		"delete":     func(w *world, m Meta, id string) (answer, error) { return done(w.shares.Delete(ctx, m, id)) },
		"bob accept": func(w *world, m Meta, id string) (answer, error) { return changed(w.shares.Accept(ctx, m, id, w.dvr)) },
		"bob reject": func(w *world, m Meta, id string) (answer, error) { return changed(w.shares.Reject(ctx, m, id, w.cam)) },
		"bob leave":  func(w *world, m Meta, id string) (answer, error) { return done(w.shares.Delete(ctx, m, id)) },
		"bob domain": func(w *world, m Meta, id string) (answer, error) {
			return changed(w.shares.SetDomain(ctx, m, id, w.cam, "door"))
		},
		"add key": func(w *world, m Meta, _ string) (answer, error) {
			return key(w.keys.Add(ctx, m, NewStreamKey{Label: "Phone", Device: w.cam}))
		},
		"remove device": func(w *world, m Meta, _ string) (answer, error) { return done(w.devices.Remove(ctx, m, w.dvr)) },
	}
	for name, run := range commands {
		for _, when := range []crash{noCrash, crashBefore, crashAfter} {
			t.Run(fmt.Sprint(name, " ", when), func(t *testing.T) {
				w := newWorld(t)
				id := w.accepted(gives(w.cam, 1, privilege.LiveView))
				w.share(gives(w.dvr, 2, privilege.Playback))
				m := Meta{Account: w.alice, IdempotencyKey: "its-own-key"}
				if strings.HasPrefix(name, "bob") {
					m.Account = w.bob
				}
				before := len(w.log.all())
				w.log.crash = func(string) crash { return when }
				first, err := run(w, m, id)
				w.log.crash = nil
				if when != noCrash {
					wantCode(t, err, Unavailable, "unavailable")
					w.clock = w.clock.Add(time.Hour)
					if first, err = run(w, m, id); err != nil {
						t.Fatal(err)
					}
				}
				written := len(w.log.all()) - before
				if written == 0 || first.position != w.log.position {
					t.Fatalf("wrote %d events, answered %+v", written, first)
				}
				// Others go on; the answer stays as it was.
				carryOn(w)
				events := len(w.log.all())
				again, err := run(w, m, id)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(again, first) {
					t.Fatalf("answered\n%+v\nthen\n%+v", first, again)
				}
				if n := len(w.log.all()); n != events {
					t.Fatalf("the repeat wrote %d events", n-events)
				}
				w.wantAbsent("carol", "its-own-key")
			})
		}
	}
}

// carryOn changes what it still can.
func carryOn(w *world) {
	_, _ = w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "carol@example.com", Remark: "again"})
	_, _ = w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "bob@example.com", Remark: "again"})
	_, _ = w.keys.Add(ctx, Meta{Account: w.alice}, NewStreamKey{})
}

func TestKeyReused(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	m := Meta{Account: w.alice, IdempotencyKey: "key"}
	if _, err := w.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.All)); err != nil {
		t.Fatal(err)
	}
	_, err := w.shares.PutDevice(ctx, m, id, gives(w.cam, 1, privilege.PTZ))
	wantCode(t, err, Invalid, "idempotency_key_reused")
	_, err = w.shares.Delete(ctx, m, id)
	wantCode(t, err, Invalid, "idempotency_key_reused")
	// Also where the other request concerns another stream.
	_, err = w.shares.Save(ctx, m, NewShare{Email: "somebody@example.com"})
	wantCode(t, err, Invalid, "idempotency_key_reused")
	_, err = w.keys.Add(ctx, m, NewStreamKey{})
	wantCode(t, err, Invalid, "idempotency_key_reused")
	// What was refused has not used its key.
	refused := Meta{Account: w.alice, IdempotencyKey: "refused"}
	_, err = w.shares.Save(ctx, refused, NewShare{Email: "alice@example.com"})
	wantCode(t, err, Invalid, "own_login")
	if _, err = w.shares.Save(ctx, refused, NewShare{Email: "somebody@example.com"}); err != nil {
		t.Fatal(err)
	}
	// Another's key is another key.
	m.Account = w.bob
	if _, err := w.shares.Reject(ctx, m, id, w.cam); err != nil {
		t.Fatal(err)
	}
	_, err = w.shares.Delete(ctx, Meta{Account: w.alice, IdempotencyKey: strings.Repeat("k", 256)}, id)
	wantFields(t, err, FieldIdempotencyKey)
}

func TestSetDomain(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	m := Meta{Account: w.bob}
	r, err := w.shares.SetDomain(ctx, m, id, w.cam, "door")
	if d, _ := r.Share.Find(w.cam); err != nil || d.Domain != "door" {
		t.Fatalf("%+v, %v", r, err)
	}
	w.vault.taken[w.bob+" yard"] = true
	_, err = w.shares.SetDomain(ctx, m, id, w.cam, "yard")
	wantCode(t, err, Conflict, "domain_taken")
	w.addDevice(w.bob, NewDevice{Name: "Bob's own", Serial: "garage"})
	w.addDevice(w.eve, NewDevice{Name: "Eve's", Serial: "attic"})
	_, err = w.shares.SetDomain(ctx, m, id, w.cam, "garage")
	wantCode(t, err, Conflict, "domain_taken") // his own camera would not be found any more
	if _, err = w.shares.SetDomain(ctx, m, id, w.cam, "attic"); err != nil {
		t.Fatalf("what he may not see is none of his: %v", err)
	}
	own := w.addDevice(w.alice, NewDevice{Name: "Porch", Serial: "porch"})
	w.accepted(gives(own, 1, privilege.LiveView))
	if _, err = w.shares.SetDomain(ctx, m, id, own, own); err != nil {
		t.Fatalf("a device's own id means no other: %v", err)
	}
	_, err = w.shares.SetDomain(ctx, m, id, w.cam, "cam-yard")
	wantCode(t, err, Invalid, "invalid_domain")
	_, err = w.shares.SetDomain(ctx, m, id, w.dvr, "dvr")
	wantCode(t, err, NotFound, "device_not_in_share")
	w.vault.fail = errCrash
	_, err = w.shares.SetDomain(ctx, m, id, w.cam, "gate")
	wantCode(t, err, Unavailable, "unavailable")
}

// TestNothingOverUnknown: over an event that this build cannot read nothing is
// decided.
func TestNothingOverUnknown(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	for _, odd := range []Stored{
		{Type: "latchkey.share.suspended.v1", Data: []byte(`{}`)},
		{Type: "latchkey.device.removed.v1", Data: []byte(`{"device":"cam-1","owner":"a","at":"2026-01-02T03:04:05Z"}`)},
		{Type: "latchkey.share.left.v1", Data: []byte(`{"until":1}`)},
	} {
		stream := shareStream(id)
		held := w.log.streams[stream]
		odd.Revision = int64(len(held))
		w.log.streams[stream] = append(held[:len(held):len(held)], odd)
		if r, err := w.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(w.cam, 1, privilege.All)); err == nil {
			t.Errorf("%s: %+v", odd.Type, r)
		}
		w.log.streams[stream] = held
	}
}

// TestTimesAsStored: the answer of a command has the times that the log has,
// though the clock is finer.
func TestTimesAsStored(t *testing.T) {
	w := newWorld(t)
	w.clock = w.clock.Add(1234567 * time.Nanosecond)
	m := Meta{Account: w.alice, IdempotencyKey: "key"}
	n := NewShare{Email: "bob@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}}
	first, err := w.shares.Save(ctx, m, n)
	if err != nil {
		t.Fatal(err)
	}
	if at := first.Share.Devices[0].InvitedAt; at.Nanosecond() != 1234000 || at.Location() != time.UTC {
		t.Errorf("invited at %v", at)
	}
	again, err := w.shares.Save(ctx, m, n)
	if err != nil || !reflect.DeepEqual(again, first) {
		t.Fatalf("%+v, %v; want %+v", again, err, first)
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Config{})
	for _, name := range []string{"Log", "Sealer", "Passwords", "Cameras", "StreamSecrets", "Domains"} {
		if err == nil || !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

// TestLeavingAllMustBeMeant: to leave a device without name is not to leave all.
func TestLeavingAllMustBeMeant(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	_, err := w.shares.RemoveDevice(ctx, Meta{Account: w.bob}, id, "")
	wantCode(t, err, NotFound, "device_not_in_share")
}

func TestDeletedShare(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	if _, err := w.shares.Delete(ctx, Meta{Account: w.alice}, id); err != nil {
		t.Fatal(err)
	}
	old := int64(0)
	for _, who := range []string{w.alice, w.bob} {
		_, err := w.shares.Delete(ctx, Meta{Account: who, Revision: &old}, id)
		wantCode(t, err, NotFound, "share_not_found")
	}
	again, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "bob@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
	if err != nil || !again.Created || again.Share.ID != id || again.Share.Allows(w.bob, w.cam, 1, privilege.LiveView, time.Now()) {
		t.Fatalf("%+v, %v", again, err)
	}
}
