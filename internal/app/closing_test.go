package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// closer is HoldingsOf and Eraser over memory.
type closer struct {
	unlisted []Unlisted
	world    *world
	fail     error
	erased   []string
}

func (c *closer) HoldingsOf(_ context.Context, account string, _ position.Position) (h Holdings, err error) {
	h.Devices = []string{c.world.cam, c.world.dvr}
	if account != c.world.alice {
		h.Devices = nil
	}
	for name, events := range c.world.log.streams {
		id, ok := strings.CutPrefix(name, "share-")
		if !ok {
			continue
		}
		state, err := fold(share.State{}, events, share.Evolve)
		if err != nil {
			return h, err
		}
		if state.Owner == account {
			h.Sent = append(h.Sent, id)
		} else {
			h.Received = append(h.Received, id)
		}
		if slices.ContainsFunc(state.Devices, func(d share.Device) bool { return d.Account == account }) {
			h.Accepted = append(h.Accepted, id)
		}
	}
	return h, c.fail
}

// OffersOf lists the offers that wait.
func (c *closer) OffersOf(_ context.Context, account string, _ position.Position) (list []string, err error) {
	for name, events := range c.world.log.streams {
		if !strings.HasPrefix(name, "device-") {
			continue
		}
		state, err := fold(device.State{}, events, device.Evolve)
		if err != nil {
			return nil, err
		}
		if state.Owner == account && state.Transfer.Number != 0 {
			list = append(list, device.TransferID(state.Device, state.Transfer.Number))
		}
	}
	return list, c.fail
}

// Stranded lists what is accepted by logins that the account does not have.
func (c *closer) Stranded(_ context.Context, login string, _ position.Position) (list []Stranded, err error) {
	for name, events := range c.world.log.streams {
		id, ok := strings.CutPrefix(name, "share-")
		if !ok {
			continue
		}
		state, err := fold(share.State{}, events, share.Evolve)
		if err != nil {
			return nil, err
		}
		holder, err := c.world.core.holder(ctx, state.Login)
		if err != nil {
			return nil, err
		}
		for _, d := range state.Devices {
			if d.Account != "" && d.Account != holder && (login == "" || login == state.Login) {
				list = append(list, Stranded{Share: id, Account: d.Account})
			}
		}
	}
	return list, c.fail
}

func (c *closer) Unlisted(context.Context, position.Position) ([]Unlisted, error) {
	return c.unlisted, c.fail
}

func (c *closer) LockOut(_ context.Context, account string) error {
	delete(c.world.vault.passwords, account)
	return nil
}

func (c *closer) Erase(_ context.Context, account string, _ []string) error {
	if c.fail == nil {
		c.erased = append(c.erased, account)
	}
	return c.fail
}

func (w *world) closing() *closer {
	c := &closer{world: w}
	w.accounts.holdings, w.accounts.eraser = c, c
	return c
}

// TestCloseIsResumed: a closing that was cut off after its event is finished by the
// policy, and again does nothing more.
func TestCloseIsResumed(t *testing.T) {
	for _, who := range []string{"owner", "recipient"} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t)
			c := w.closing()
			id := w.share(gives(w.cam, 1, privilege.LiveView))
			if _, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam); err != nil {
				t.Fatal(err)
			}
			account := map[string]string{"owner": w.alice, "recipient": w.bob}[who]
			_, err := w.accounts.Close(ctx, Meta{Account: account}, "not this one")
			wantCode(t, err, Forbidden, "wrong_password")
			c.fail = errors.New("the power went")
			_, err = w.accounts.Close(ctx, Meta{Account: account}, password)
			wantCode(t, err, Unavailable, "unavailable")
			if has, err := w.vault.HasPassword(ctx, account); has || err != nil {
				t.Errorf("a closed account can be logged in to while the rest waits: %v, %v", has, err)
			}
			c.fail = nil
			events := w.log.streams[accountStream(account)]
			closed := events[len(events)-1]
			var before int
			for i := range 2 {
				if err := w.accounts.FinishClosing(ctx, closed.ID, account, closed.Position); err != nil {
					t.Fatal(err)
				}
				if n := len(w.log.all()); i > 0 && n != before {
					t.Errorf("finishing again wrote %d events", n-before)
				}
				before = len(w.log.all())
			}
			there, err := w.loadShare(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := there.state.Find(w.cam); there.state.Live && ok && d.Active() {
				t.Errorf("the share still has %+v", d)
			}
			if d, err := w.loadDevice(ctx, w.cam); err != nil || d.Live != (who == "recipient") {
				t.Errorf("the owner's device lives: %v, %v", d.Live, err)
			}
			if !slices.Contains(c.erased, account) {
				t.Error("the person was not forgotten")
			}
			_, err = w.keys.Add(ctx, Meta{Account: account}, NewStreamKey{})
			wantCode(t, err, NotFound, "account_not_found")
			email := map[string]string{"owner": "alice@example.com", "recipient": "bob@example.com"}[who]
			if holder, err := w.accounts.ByLogin(ctx, "email", email); err != nil || holder != "" {
				t.Errorf("the login is of %q, %v", holder, err)
			}
		})
	}
}

// TestFollowsOnlyAClosedAccount: what a read model says by mistake ends no account.
func TestFollowsOnlyAClosedAccount(t *testing.T) {
	w := newWorld(t)
	c := w.closing()
	before := len(w.log.all())
	if err := w.accounts.FinishClosing(ctx, w.log.all()[0].ID, w.alice, 1); err != nil || len(w.log.all()) != before || c.erased != nil {
		t.Fatalf("%v, %d events, erased %v", err, len(w.log.all())-before, c.erased)
	}
}
