package app

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

func (w *world) offer(id, to string, shares device.Shares) string {
	w.t.Helper()
	made, err := w.devices.OfferTransfer(ctx, Meta{Account: w.alice}, id, NewTransfer{Email: to, Shares: shares, Password: password})
	if err != nil {
		w.t.Fatal(err)
	}
	return device.TransferID(id, made.Device.Transfer.Number)
}

// inShareOf is a device in the share of an owner with Bob.
func (w *world) inShareOf(owner, id string) (d share.Device, in bool) {
	w.t.Helper()
	there, err := w.loadShare(ctx, share.ID(owner, w.vault.LoginHash("email", "bob@example.com")))
	if err != nil {
		w.t.Fatal(err)
	}
	d, in = there.state.Find(id)
	return d, in && there.state.Live
}

// policy follows the last removal of a device as the reactor does.
func (w *world) policy(id string) {
	w.t.Helper()
	serial, _ := device.SerialOf(id)
	for _, e := range w.log.streams[deviceStream(serial)] {
		v, err := decode[device.Event](e)
		if err != nil {
			w.t.Fatal(err)
		}
		switch v := v.(type) {
		case device.Removed:
			holding, _, err := w.log.SharesWithDevice(ctx, v.Device, 0)
			if err != nil {
				w.t.Fatal(err)
			}
			if err := w.devices.EndShares(ctx, e.ID, v.Device, holding); err != nil {
				w.t.Fatal(err)
			}
		case device.Added:
			if err := w.devices.FinishHandover(ctx, e.ID, v); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for staged := range w.vault.staged {
		if err := w.devices.SettleStaged(ctx, staged[0], staged[1], w.clock); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestKeptShares: what becomes of each device of the shares of a device that goes to
// another account with its shares.
func TestKeptShares(t *testing.T) {
	w := newWorld(t)
	terms := privilege.Terms{Validity: privilege.Validity{Until: w.clock.Add(time.Hour)}}
	id := w.accepted(gives(w.cam, 1, privilege.LiveView|privilege.PTZ), gives(w.dvr, 1, privilege.LiveView))
	if _, err := w.shares.Replace(ctx, Meta{Account: w.alice}, id, "Bobby", &terms, []DeviceGrants{gives(w.cam, 1, privilege.LiveView|privilege.PTZ), gives(w.dvr, 1, privilege.LiveView)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.shares.Pause(ctx, Meta{Account: w.alice}, id, w.cam); err != nil {
		t.Fatal(err)
	}
	if _, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "eve@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}}); err != nil {
		t.Fatal(err)
	}
	before := w.vault.cameras[w.cam]
	taken, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, w.offer(w.cam, "eve@example.com", device.KeepShares))
	if err != nil {
		t.Fatal(err)
	}
	next := taken.Device.Device
	if next == w.cam || taken.Device.Owner != w.eve || !strings.HasPrefix(taken.Device.Name, w.eve+":") {
		t.Errorf("the device: %+v", taken.Device)
	}
	if _, has := w.vault.cameras[w.cam]; has || len(before.Channels) == 0 || w.vault.cameras[next].Channels[0] != before.Channels[0] || len(w.vault.staged) != 0 {
		t.Errorf("the camera: %+v, staged %+v", w.vault.cameras, w.vault.staged)
	}
	d, in := w.inShareOf(w.eve, next)
	if !in || d.Status != share.StatusAccepted || d.Account != w.bob || !d.Paused || !d.Terms.Until.Equal(terms.Until) || d.Grants[0].Privileges != privilege.LiveView|privilege.PTZ {
		t.Errorf("the new owner's share: %+v, %v", d, in)
	}
	there, err := w.loadShare(ctx, share.ID(w.eve, w.vault.LoginHash("email", "bob@example.com")))
	if err != nil || there.state.Remark != "" || there.state.Recipient == "" {
		t.Errorf("the new owner's share: %+v, %v", there.state, err)
	}
	if d, _ := w.inShareOf(w.alice, w.cam); d.Status != share.StatusRemoved {
		t.Errorf("the old share still has %+v", d)
	}
	if d, in := w.inShareOf(w.alice, w.dvr); !in || d.Status != share.StatusAccepted {
		t.Errorf("the other device of the old share: %+v, %v", d, in)
	}
	if types := w.log.types(shareStream(share.ID(w.eve, w.vault.LoginHash("email", "eve@example.com")))); types != "" {
		t.Errorf("the new owner shares with themselves: %s", types)
	}
	events := len(w.log.all())
	w.policy(w.cam)
	if n := len(w.log.all()); n != events {
		t.Errorf("the policy wrote %d events more", n-events)
	}
	// The new owner gives it away again: what is not Bob's any more is not Bob's again.
	if _, err := w.shares.RemoveDevice(ctx, Meta{Account: w.eve}, share.ID(w.eve, there.state.Login), next); err != nil {
		t.Fatal(err)
	}
	w.policy(w.cam)
	if d, _ := w.inShareOf(w.eve, next); d.Status != share.StatusRemoved {
		t.Errorf("the policy gave back %+v", d)
	}
}

// TestWhoseAddressIsNotTheirsAnyMore: what somebody had accepted by an address that is
// another's now waits for that one.
func TestWhoseAddressIsNotTheirsAnyMore(t *testing.T) {
	w := newWorld(t)
	w.accepted(gives(w.cam, 1, privilege.LiveView))
	w.accounts.codes = &memoryPost{codes: map[string]string{}}
	if _, err := w.accounts.AddAddress(ctx, Meta{Account: w.bob}, "bob2@example.com", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := w.accounts.RemoveAddress(ctx, Meta{Account: w.bob}, w.vault.LoginHash("email", "bob@example.com"), false); err != nil {
		t.Fatal(err)
	}
	taken, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, w.offer(w.cam, "eve@example.com", device.KeepShares))
	if err != nil {
		t.Fatal(err)
	}
	if d, in := w.inShareOf(w.eve, taken.Device.Device); !in || d.Status != share.StatusInvited {
		t.Errorf("%+v, %v", d, in)
	}
}

// TestHandedOverTwice: shares follow a device through two hands, also if nothing was done
// after the first.
func TestHandedOverTwice(t *testing.T) {
	w := newWorld(t)
	w.accepted(gives(w.cam, 1, privilege.LiveView))
	carol := w.person("carol")
	w.log.crash = func(stream string) crash {
		if strings.HasPrefix(stream, "share-") {
			return crashBefore
		}
		return noCrash
	}
	taken, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, w.offer(w.cam, "eve@example.com", device.KeepShares))
	if err != nil {
		t.Fatal(err)
	}
	made, err := w.devices.OfferTransfer(ctx, Meta{Account: w.eve}, taken.Device.Device, NewTransfer{Email: "carol@example.com", Shares: device.KeepShares, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	taken, err = w.devices.AcceptTransfer(ctx, Meta{Account: carol}, device.TransferID(taken.Device.Device, made.Device.Transfer.Number))
	if err != nil {
		t.Fatal(err)
	}
	w.log.crash = nil
	w.policy(w.cam)
	if d, in := w.inShareOf(carol, taken.Device.Device); !in || d.Status != share.StatusAccepted || d.Account != w.bob {
		t.Errorf("the last owner's share: %+v, %v", d, in)
	}
	if d, _ := w.inShareOf(w.alice, w.cam); d.Status != share.StatusRemoved {
		t.Errorf("the first owner's share: %+v", d)
	}
}

// TestHandoverCutOff: wherever the power goes, there is one owner, and the policy finishes.
func TestHandoverCutOff(t *testing.T) {
	for _, when := range []crash{crashBefore, crashAfter} {
		for at := range 3 {
			w := newWorld(t)
			w.accepted(gives(w.cam, 1, privilege.LiveView))
			transfer := w.offer(w.cam, "eve@example.com", device.KeepShares)
			n := 0
			w.log.crash = func(string) crash {
				if n++; n-1 >= at {
					if n-1 == at {
						return when
					}
					return crashBefore // it is gone
				}
				return noCrash
			}
			_, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve, IdempotencyKey: "k"}, transfer)
			w.log.crash = nil
			w.clock = w.clock.Add(time.Minute) // the claim of the key lapses
			w.server = w.node()                // a new process
			w.policy(w.cam)
			there, _ := w.devices.asksFor(ctx, "cam-1")
			if err == nil && there.Owner != w.eve {
				t.Errorf("cut off %v append %d: it was answered, and the owner is %s", when, at, there.Owner)
			}
			if _, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve, IdempotencyKey: "k"}, transfer); err != nil {
				t.Errorf("cut off %v append %d: the repeat: %v", when, at, err)
			}
			w.policy(w.cam)
			there, _ = w.devices.asksFor(ctx, "cam-1")
			d, in := w.inShareOf(w.eve, "cam-1.2")
			if there.Owner != w.eve || there.Device != "cam-1.2" || !in || d.Status != share.StatusAccepted {
				t.Errorf("cut off %v append %d: %+v, %+v", when, at, there, d)
			}
			if _, has := w.vault.cameras["cam-1.2"]; !has || len(w.vault.staged) != 0 {
				t.Errorf("cut off %v append %d: cameras %v, staged %v", when, at, w.vault.cameras, w.vault.staged)
			}
			if _, has := w.vault.cameras["cam-1"]; has {
				t.Errorf("cut off %v append %d: the old camera is kept", when, at)
			}
		}
	}
}

// TestAcceptanceRaces: of an acceptance and whatever else ends an offer at once, one
// happens.
func TestAcceptanceRaces(t *testing.T) {
	for name, other := range map[string]func(w *world, transfer string) error{
		"a second acceptance": func(w *world, transfer string) error {
			_, err := w.node().devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
			return err
		},
		"a withdrawal": func(w *world, _ string) error {
			_, err := w.node().devices.WithdrawTransfer(ctx, Meta{Account: w.alice}, w.cam)
			return err
		},
		"a removal": func(w *world, _ string) error {
			_, err := w.node().devices.Remove(ctx, Meta{Account: w.alice}, w.cam)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			transfer := w.offer(w.cam, "eve@example.com", device.EndShares)
			errs := make([]error, 2)
			var both sync.WaitGroup
			both.Go(func() { _, errs[0] = w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer) })
			both.Go(func() { errs[1] = other(w, transfer) })
			both.Wait()
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Fatalf("both or neither: %v, %v", errs[0], errs[1])
			}
			there, err := w.devices.asksFor(ctx, "cam-1")
			if err != nil || (errs[0] == nil || name == "a second acceptance") != (there.Owner == w.eve) {
				t.Errorf("the owner is %q (%v); %v", there.Owner, err, errs)
			}
			if len(w.vault.staged) != 0 && there.Owner == w.eve {
				t.Errorf("staged: %v", w.vault.staged)
			}
		})
	}
}

// TestClosedBeforeItAccepts: who was closed while the command was under way gets nothing,
// and the offer stays.
func TestClosedBeforeItAccepts(t *testing.T) {
	w := newWorld(t)
	w.closing()
	transfer := w.offer(w.cam, "eve@example.com", device.EndShares)
	w.core.quotas = closesOnHold(func() {
		w.core.quotas = nil
		other := w.node()
		other.accounts.holdings, other.accounts.eraser = w.accounts.holdings, w.accounts.eraser
		if _, err := other.accounts.Close(ctx, Meta{Account: w.eve}, password); err != nil {
			t.Error(err)
		}
	})
	before := w.log.types(deviceStream("cam-1"))
	_, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
	wantCode(t, err, NotFound, "account_not_found")
	if there, err := w.devices.asksFor(ctx, "cam-1"); err != nil || there.Owner != w.alice || !there.Transfer.Waits(w.clock) {
		t.Errorf("the device: %+v, %v", there, err)
	}
	if after := w.log.types(deviceStream("cam-1")); after != before || len(w.vault.staged) != 0 {
		t.Errorf("the refusal wrote %s; staged %v", after, w.vault.staged)
	}
}

// closesOnHold is a Quotas that does something when room is taken.
type closesOnHold func()

func (closesOnHold) Most(string) int { return 1 }
func (f closesOnHold) Hold(context.Context, string, string) (func(position.Position), error) {
	f()
	return func(position.Position) {}, nil
}
func (closesOnHold) Freed(string, string, position.Position) {}
func (closesOnHold) Spend(string, string, string, int) error { return nil }

// TestClosedWhileItAccepts: a device does not stay with an account that was closed in the
// moment in which it accepted; it was the account's before.
func TestClosedWhileItAccepts(t *testing.T) {
	w := newWorld(t)
	w.closing()
	transfer := w.offer(w.cam, "eve@example.com", device.EndShares)
	w.log.before = func(stream string) {
		if strings.HasPrefix(stream, "device-") {
			w.log.before = nil
			other := w.node()
			other.accounts.holdings, other.accounts.eraser = w.accounts.holdings, w.accounts.eraser
			if _, err := other.accounts.Close(ctx, Meta{Account: w.eve}, password); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer); err != nil {
		t.Error(err)
	}
	if there, err := w.devices.asksFor(ctx, "cam-1"); err != nil || there.Device != "" {
		t.Errorf("the device is still in an account: %+v, %v", there, err)
	}
}

// TestTransferTakesRoom: who has no room for a device, or for its shares, does not get it.
func TestTransferTakesRoom(t *testing.T) {
	for _, quota := range []string{QuotaDevices, QuotaShares} {
		w := newWorld(t)
		w.accepted(gives(w.cam, 1, privilege.LiveView))
		transfer := w.offer(w.cam, "eve@example.com", device.KeepShares)
		full := fullQuota(quota)
		w.core.quotas = full
		_, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
		wantCode(t, err, Exhausted, "quota_exceeded")
		if there, _ := w.devices.asksFor(ctx, "cam-1"); there.Owner != w.alice {
			t.Errorf("the owner is %s", there.Owner)
		}
		if len(w.vault.staged) != 0 {
			t.Errorf("staged: %v", w.vault.staged)
		}
	}
}

// fullQuota is a Quotas of which one is used up.
type fullQuota string

func (fullQuota) Most(string) int { return 1 }
func (f fullQuota) Hold(_ context.Context, _, quota string) (func(position.Position), error) {
	if quota == string(f) {
		return nil, &Exceeded{Quota: quota, Most: 1}
	}
	return func(position.Position) {}, nil
}
func (fullQuota) Freed(string, string, position.Position) {}
func (fullQuota) Spend(string, string, string, int) error { return nil }

// TestTellOfTransfer: whoever reads the address is told once; of an offer that has ended
// nobody is.
func TestTellOfTransfer(t *testing.T) {
	w := newWorld(t)
	told := &sent{}
	w.devices.messenger = told
	made, err := w.devices.OfferTransfer(ctx, Meta{Account: w.alice}, w.cam, NewTransfer{Email: "eve@example.com", Shares: device.EndShares, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	offered := device.TransferOffered{Device: w.cam, Transfer: made.Device.Transfer}
	cause := uuid.New()
	for range 2 {
		if err := w.devices.TellOfTransfer(ctx, cause, offered); err != nil {
			t.Fatal(err)
		}
	}
	if len(told.list) != 2 || told.list[0].ID != told.list[1].ID || told.list[0].To != "eve@example.com" || told.list[0].Account != w.eve || told.list[0].What != NoticeTransfer {
		t.Errorf("%+v", told.list)
	}
	if _, err := w.devices.WithdrawTransfer(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	if err := w.devices.TellOfTransfer(ctx, cause, offered); err != nil || len(told.list) != 2 {
		t.Errorf("of an offer that has ended: %v, %+v", err, told.list)
	}
	made, err = w.devices.OfferTransfer(ctx, Meta{Account: w.alice}, w.cam, NewTransfer{Email: "eve@example.com", Shares: device.EndShares, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	w.devices.allowances = &memoryAllowances{}
	offered.Transfer = made.Device.Transfer
	for range toldAtMost + 3 { // each of another event
		if err := w.devices.TellOfTransfer(ctx, uuid.New(), offered); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(told.list) - 2; n != toldAtMost {
		t.Errorf("an address is told %d times", n)
	}
	w.devices.allowances = nil
	if _, err := w.devices.WithdrawTransfer(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	told.fail = errors.New("the vault is away")
	made, err = w.devices.OfferTransfer(ctx, Meta{Account: w.alice}, w.cam, NewTransfer{Email: "nobody@example.com", Shares: device.EndShares, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	offered.Transfer = made.Device.Transfer
	wantCode(t, w.devices.TellOfTransfer(ctx, cause, offered), Unavailable, "unavailable")
}

// sent is a Messenger that keeps what it is given.
type sent struct {
	list []Notice
	fail error
}

func (s *sent) Send(_ context.Context, n Notice) error {
	if s.fail == nil {
		s.list = append(s.list, n)
	}
	return s.fail
}

// TestHoursThatCannotBeCombined: what was shared under two different hours of the week is
// kept, and paused until its new owner has looked.
func TestHoursThatCannotBeCombined(t *testing.T) {
	w := newWorld(t)
	hours := func(from, to privilege.Clock) *privilege.Terms {
		return &privilege.Terms{Validity: privilege.Validity{Hours: privilege.Hours{Zone: "Europe/Berlin", Spans: []privilege.Span{{Days: 127, Start: from, End: to}}}}}
	}
	given := gives(w.cam, 1, privilege.LiveView)
	given.Terms = hours(8*60, 12*60)
	id := w.accepted(given)
	if _, err := w.shares.Replace(ctx, Meta{Account: w.alice}, id, "", hours(10*60, 20*60), []DeviceGrants{given}); err != nil {
		t.Fatal(err)
	}
	taken, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, w.offer(w.cam, "eve@example.com", device.KeepShares))
	if err != nil {
		t.Fatal(err)
	}
	if d, in := w.inShareOf(w.eve, taken.Device.Device); !in || d.Status != share.StatusAccepted || !d.Paused || !d.Terms.Equal(*given.Terms) {
		t.Errorf("%+v, %v", d, in)
	}
	there, err := w.loadShare(ctx, share.ID(w.eve, w.vault.LoginHash("email", "bob@example.com")))
	if err != nil || there.state.Allows(w.bob, taken.Device.Device, 1, privilege.LiveView, w.clock) {
		t.Errorf("it is given: %+v, %v", there.state, err)
	}
}

// TestSharesWhoseTimeIsOver are not handed on.
func TestSharesWhoseTimeIsOver(t *testing.T) {
	w := newWorld(t)
	given := gives(w.cam, 1, privilege.LiveView)
	given.Terms = &privilege.Terms{Validity: privilege.Validity{Until: w.clock.Add(time.Minute)}}
	w.accepted(given)
	transfer := w.offer(w.cam, "eve@example.com", device.KeepShares)
	w.clock = w.clock.Add(time.Minute)
	taken, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
	if err != nil {
		t.Fatal(err)
	}
	if d, in := w.inShareOf(w.eve, taken.Device.Device); in {
		t.Errorf("it goes on: %+v", d)
	}
}

// TestOffersEndOnAFullDisk: withdrawing and rejecting only take away.
func TestOffersEndOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	w.offer(w.cam, "eve@example.com", device.EndShares)
	transfer := w.offer(w.dvr, "eve@example.com", device.EndShares)
	w.log.full = true
	_, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
	wantCode(t, err, Unavailable, "disk_full")
	if _, err := w.devices.WithdrawTransfer(ctx, Meta{Account: w.alice, IdempotencyKey: "k"}, w.cam); err != nil {
		t.Errorf("withdrawing: %v", err)
	}
	if _, err := w.devices.RejectTransfer(ctx, Meta{Account: w.eve, IdempotencyKey: "k"}, transfer); err != nil {
		t.Errorf("rejecting: %v", err)
	}
}

// TestOnlyTheAddresseeRejects: the owner is told what to do instead, and the offer stays.
func TestOnlyTheAddresseeRejects(t *testing.T) {
	w := newWorld(t)
	transfer := w.offer(w.cam, "eve@example.com", device.EndShares)
	_, err := w.devices.RejectTransfer(ctx, Meta{Account: w.alice}, transfer)
	wantCode(t, err, Forbidden, "not_the_recipient")
	_, err = w.devices.RejectTransfer(ctx, Meta{Account: w.alice}, device.TransferID(w.cam, 99))
	wantCode(t, err, NotFound, "transfer_not_found")
	_, err = w.devices.RejectTransfer(ctx, Meta{Account: w.bob}, transfer)
	wantCode(t, err, NotFound, "transfer_not_found")
	if _, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer); err != nil {
		t.Error(err)
	}
}
