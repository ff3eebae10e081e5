package app

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
)

// TestOffersEndWithThePassword: what was offered before a change of the owner's password
// takes no device, whether the read model has found it or not, and is withdrawn.
func TestOffersEndWithThePassword(t *testing.T) {
	for name, found := range map[string]bool{"found": true, "left to the policy": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.closing()
			if !found {
				w.accounts.holdings = nil
			}
			transfer := w.offer(w.cam, "eve@example.com", device.EndShares)
			w.clock = w.clock.Add(time.Minute)
			changed, err := w.change(Meta{Account: w.alice}, password, nextPassword)
			if err != nil {
				t.Fatal(err)
			}
			w.clock = w.clock.Add(time.Minute)
			there, err := w.devices.asksFor(ctx, "cam-1")
			if err != nil || there.Owner != w.alice || (there.Transfer.Number == 0) != found {
				t.Errorf("after the change: %+v, %v", there, err)
			}
			_, err = w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
			wantCode(t, err, NotFound, "transfer_not_found")
			w.accounts.holdings = c
			for range 2 {
				if err := w.accounts.EndOffers(ctx, uuid.New(), w.alice, changed.Position); err != nil {
					t.Fatal(err)
				}
			}
			if there, err := w.devices.asksFor(ctx, "cam-1"); err != nil || there.Transfer.Number != 0 {
				t.Errorf("after the policy: %+v, %v", there, err)
			}
			made, err := w.devices.OfferTransfer(ctx, Meta{Account: w.alice}, w.cam, NewTransfer{Email: "eve@example.com", Shares: device.EndShares, Password: nextPassword})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.accounts.EndOffers(ctx, uuid.New(), w.alice, changed.Position); err != nil {
				t.Fatal(err)
			}
			if _, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, device.TransferID(w.cam, made.Device.Transfer.Number)); err != nil {
				t.Errorf("an offer with the new password: %v", err)
			}
		})
	}
}

// TestOfferDuringAChangeOfPassword: the order in the log decides as well as the clock.
func TestOfferDuringAChangeOfPassword(t *testing.T) {
	for name, skew := range map[string]time.Duration{"its clock is ahead": time.Minute, "it began before": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			began := w.clock
			offer := func() string {
				w.clock = began.Add(skew)
				defer func() { w.clock = began }()
				return w.offer(w.cam, "eve@example.com", device.EndShares)
			}
			var transfer string
			if skew > 0 {
				transfer = offer() // in the log before the change, with a later time
			} else {
				w.vault.beforeCommit = func(string) { transfer = offer() }
			}
			if _, err := w.change(Meta{Account: w.alice}, password, nextPassword); err != nil {
				t.Fatal(err)
			}
			w.clock = began.Add(time.Hour)
			_, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
			wantCode(t, err, NotFound, "transfer_not_found")
		})
	}
}

// TestOfferBetweenTheStepsOfAChange: what is offered with the password before after the
// event of the change, and before that password is gone, is withdrawn.
func TestOfferBetweenTheStepsOfAChange(t *testing.T) {
	w := newWorld(t)
	w.closing()
	var transfer string
	w.vault.beforeCommit = func(string) {
		w.clock = w.clock.Add(time.Second)
		transfer = w.offer(w.cam, "eve@example.com", device.EndShares)
	}
	if _, err := w.change(Meta{Account: w.alice}, password, nextPassword); err != nil {
		t.Fatal(err)
	}
	_, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
	wantCode(t, err, NotFound, "transfer_not_found")
}
