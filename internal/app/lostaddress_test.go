package app

import (
	"testing"

	"latchkey/domain/account"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// byWork shares Alice's camera with a second address of Bob's, who accepts it.
func (w *world) byWork() (login, id string) {
	w.t.Helper()
	added, err := w.accounts.AddAddress(ctx, Meta{Account: w.bob}, "bob@work.example", "")
	if err != nil {
		w.t.Fatal(err)
	}
	saved, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "bob@work.example", Devices: []DeviceGrants{
		gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 1, privilege.LiveView),
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.shares.Accept(ctx, Meta{Account: w.bob}, saved.Share.ID, w.cam); err != nil {
		w.t.Fatal(err)
	}
	return added.Address.Login, saved.Share.ID
}

// wantStatus checks what a share has.
func (w *world) wantStatus(id, device string, want share.Status) {
	w.t.Helper()
	there, err := w.loadShare(ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	if d, _ := there.state.Find(device); d.Status != want {
		w.t.Errorf("%s is %q; want %q", device, d.Status, want)
	}
}

// TestRemovedAddressLeavesItsShares: what came by an address goes with it, wherever the
// removal is cut off; what waits stays for the next holder.
func TestRemovedAddressLeavesItsShares(t *testing.T) {
	w := newWorld(t)
	w.closing()
	login, id := w.byWork()
	third := w.addDevice(w.alice, NewDevice{Name: "Yard", Serial: "CAM-3", RTSPURL: "rtsp://192.0.2.3/live"})
	other := w.accepted(gives(third, 1, privilege.LiveView)) // by his other address
	remove := func(leave bool) error {
		_, err := w.accounts.RemoveAddress(ctx, Meta{Account: w.bob}, login, leave)
		return err
	}
	before := len(w.log.all())
	err := remove(false)
	wantCode(t, err, Conflict, "address_has_shares")
	if e := err.(*Error); len(e.Shares) != 1 || e.Shares[0] != id { //nolint:errorlint // checked above
		t.Errorf("it names %v", e.Shares)
	}
	if n := len(w.log.all()); n != before {
		t.Errorf("the refusal wrote %d events", n-before)
	}
	w.log.crash = crashOn(accountStream(w.bob))
	if err := remove(true); err == nil {
		t.Fatal("it was not cut off")
	}
	w.log.crash = nil
	w.wantStatus(id, w.cam, share.StatusLeft)
	if list, err := w.accounts.Addresses(ctx, w.bob); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := remove(false); err != nil { // nothing is left to be asked about
		t.Fatal(err)
	}
	w.wantStatus(id, w.dvr, share.StatusInvited)
	w.wantStatus(other, third, share.StatusAccepted)
	next, err := w.accounts.Register(ctx, Meta{}, Registration{Email: "bob@work.example", Password: password, Name: "Next"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := w.shares.Accept(ctx, Meta{Account: next.Account}, id, w.dvr)
	if err != nil {
		t.Fatal(err)
	}
	if _, shown := answer.Share.Find(w.cam); shown {
		t.Error("the next holder is shown what the one before had")
	}
	_, err = w.shares.Reject(ctx, Meta{Account: next.Account}, id, w.cam)
	wantCode(t, err, Conflict, "not_invited")
}

func crashOn(stream string) func(string) crash {
	return func(s string) crash {
		if s == stream {
			return crashBefore
		}
		return noCrash
	}
}

// TestRemovalCutOffAfterItsEvent: the policy does the rest.
func TestRemovalCutOffAfterItsEvent(t *testing.T) {
	w := newWorld(t)
	c := w.closing()
	login, id := w.byWork()
	w.accounts.holdings = nil // an earlier version did not leave what came by the address
	w.log.crash = crashOn(loginStream(login))
	if _, err := w.accounts.RemoveAddress(ctx, Meta{Account: w.bob}, login, false); err == nil {
		t.Fatal("it was not cut off")
	}
	w.log.crash, w.accounts.holdings = nil, c
	w.wantStatus(id, w.cam, share.StatusAccepted)
	events := w.log.streams[accountStream(w.bob)]
	removed := events[len(events)-1]
	for range 2 {
		if err := w.accounts.FinishRemoval(ctx, removed.ID, w.bob, login, removed.Position); err != nil {
			t.Fatal(err)
		}
	}
	w.wantStatus(id, w.cam, share.StatusLeft)
	if holder, err := w.core.holder(ctx, login); err != nil || holder != "" {
		t.Errorf("the login is of %q, %v", holder, err)
	}
}

// TestAcceptMeetsRemoval: an account accepts by an address that it removes at the same
// moment. In no order does it keep what it accepted.
func TestAcceptMeetsRemoval(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t)
			c := w.closing()
			login, id := w.byWork()
			another := w.node()
			another.accounts.holdings = c
			remove := func() {
				w.log.before = nil
				if _, err := another.accounts.RemoveAddress(ctx, Meta{Account: w.bob}, login, true); err != nil {
					t.Error(err)
				}
			}
			accept := func() error {
				_, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.dvr)
				return err
			}
			if when == "before" { // it is removed between the check and the append
				w.log.before = func(stream string) {
					if stream == shareStream(id) {
						remove()
					}
				}
				wantCode(t, accept(), NotFound, "share_not_found")
			} else { // it is accepted between the list of what is left and the removal
				w.log.before = func(stream string) {
					if stream == accountStream(w.bob) {
						w.log.before = nil
						if err := accept(); err != nil {
							t.Error(err)
						}
					}
				}
				if _, err := w.accounts.RemoveAddress(ctx, Meta{Account: w.bob}, login, true); err != nil {
					t.Fatal(err)
				}
			}
			w.wantStatus(id, w.cam, share.StatusLeft)
			w.wantStatus(id, w.dvr, share.StatusLeft)
		})
	}
}

// TestAddressTakenByAnother: what an account accepted by an address ends when another
// account takes the login.
func TestAddressTakenByAnother(t *testing.T) {
	w := newWorld(t)
	w.closing()
	login, id := w.byWork()
	if err := w.accounts.EndStranded(ctx); err != nil {
		t.Fatal(err)
	}
	w.wantStatus(id, w.cam, share.StatusAccepted)
	w.append(loginStream(login), account.LoginClaimed{Login: login, Account: w.eve, At: w.clock})
	if err := w.accounts.FollowClaim(ctx, login, 0); err != nil {
		t.Fatal(err)
	}
	w.wantStatus(id, w.cam, share.StatusLeft)
	w.wantStatus(id, w.dvr, share.StatusInvited)
}
