package app

import (
	"testing"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// twice shares Alice's camera with two addresses of Bob's.
func (w *world) twice() (home, work string) {
	w.t.Helper()
	if _, err := w.accounts.AddAddress(ctx, Meta{Account: w.bob}, "bob@work.example", ""); err != nil {
		w.t.Fatal(err)
	}
	ids := make([]string, 2)
	for i, email := range []string{"bob@example.com", "bob@work.example"} {
		saved, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: email, Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
		if err != nil {
			w.t.Fatal(err)
		}
		ids[i] = saved.Share.ID
	}
	return ids[0], ids[1]
}

// inForce lists the shares in which Bob has the camera.
func (w *world) inForce(ids ...string) (list []string) {
	w.t.Helper()
	for _, id := range ids {
		there, err := w.loadShare(ctx, id)
		if err != nil {
			w.t.Fatal(err)
		}
		if d, _ := there.state.Find(w.cam); d.Status == share.StatusAccepted {
			list = append(list, id)
		}
	}
	return list
}

// TestOneDeviceByTwoAddresses: what an account has accepted by one address it does not
// accept by another.
func TestOneDeviceByTwoAddresses(t *testing.T) {
	w := newWorld(t)
	home, work := w.twice()
	accept := func(id string) error {
		_, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam)
		return err
	}
	if err := accept(work); err != nil {
		t.Fatal(err)
	}
	err := accept(home)
	wantCode(t, err, Conflict, "already_accepted")
	if e := err.(*Error); len(e.Shares) != 1 || e.Shares[0] != work { //nolint:errorlint // checked above
		t.Errorf("it names %v", e.Shares)
	}
	if err := accept(work); err != nil {
		t.Errorf("accepting again: %v", err)
	}
	if _, err := w.shares.RemoveDevice(ctx, Meta{Account: w.bob}, work, w.cam); err != nil {
		t.Fatal(err)
	}
	if err := accept(home); err != nil {
		t.Errorf("after it was left: %v", err)
	}
}

// TestDecidingOneDeviceTwice: of two decisions about the same device, one counts.
func TestDecidingOneDeviceTwice(t *testing.T) {
	w := newWorld(t)
	home, work := w.twice()
	results, err := w.shares.DecideAll(ctx, Meta{Account: w.bob}, []Decision{{home, w.cam, true}, {work, w.cam, true}})
	if err != nil {
		t.Fatal(err)
	}
	if (results[0].Err == nil) == (results[1].Err == nil) {
		t.Errorf("%v, %v", results[0].Err, results[1].Err)
	}
	if n := len(w.inForce(home, work)); n != 1 {
		t.Errorf("%d shares have it", n)
	}
}

// TestTwoProcessesAcceptOneDevice: one process accepts a device by one share while another
// one is about to by another.
func TestTwoProcessesAcceptOneDevice(t *testing.T) {
	w := newWorld(t)
	home, work := w.twice()
	another := w.node()
	w.log.before = func(stream string) {
		if stream == shareStream(home) {
			w.log.before = nil
			if _, err := another.shares.Accept(ctx, Meta{Account: w.bob}, work, w.cam); err != nil {
				t.Error(err)
			}
		}
	}
	_, err := w.shares.Accept(ctx, Meta{Account: w.bob}, home, w.cam)
	wantCode(t, err, Conflict, "already_accepted")
	if list := w.inForce(home, work); len(list) != 1 || list[0] != work {
		t.Errorf("%v have it", list)
	}
}

// TestDoublesEnd: a log of an earlier version has a device that was accepted by two shares.
// The first one stays, and is the last to be heard of.
func TestDoublesEnd(t *testing.T) {
	w := newWorld(t)
	c := w.closing()
	home, work := w.twice()
	if _, err := w.shares.Accept(ctx, Meta{Account: w.bob}, work, w.cam); err != nil {
		t.Fatal(err)
	}
	w.clock = w.clock.Add(1)
	there, err := w.loadShare(ctx, home)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := there.state.Find(w.cam)
	w.append(shareStream(home), share.Accepted{
		Share: home, Owner: w.alice, Login: there.state.Login, Account: w.bob, Device: w.cam, Grants: d.Grants, At: w.clock,
	})
	c.unlisted = []Unlisted{{work, w.bob, w.cam}}
	for range 2 {
		if err := w.accounts.EndDoubles(ctx); err != nil {
			t.Fatal(err)
		}
		if list := w.inForce(home, work); len(list) != 1 || list[0] != work {
			t.Fatalf("%v have it", list)
		}
		last, _, err := w.log.Last(ctx, shareStream(work))
		if err != nil || last.Type != (share.PrivilegesEdited{}).Type() || last.Position != w.log.position {
			t.Errorf("the last event is %s, %v", last.Type, err)
		}
	}
}
