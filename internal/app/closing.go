package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// Holdings are what an account has, by ids.
type Holdings struct {
	Devices  []string
	Sent     []string // shares
	Received []string // shares with its addresses
	Accepted []string // shares in which it has accepted a device, by whatever address
}

// HoldingsOf knows what accounts have, as far as read models see it.
type HoldingsOf interface {
	// HoldingsOf lists what an account has, with every event up to a position of the log
	// taken into account. It waits for that as long as the context does.
	HoldingsOf(ctx context.Context, account string, atLeast position.Position) (Holdings, error)
	// OffersOf lists the offers of devices that an account has made and that have not ended,
	// as HoldingsOf does.
	OffersOf(ctx context.Context, account string, atLeast position.Position) (transfers []string, err error)
	// Stranded lists what accounts have accepted by an address whose login they do not have,
	// "" for any address, as HoldingsOf does.
	Stranded(ctx context.Context, login string, atLeast position.Position) ([]Stranded, error)
	// Unlisted lists what accounts have accepted while their privileges are not those of
	// that share, as HoldingsOf does. What was answered just now is left out.
	Unlisted(ctx context.Context, atLeast position.Position) ([]Unlisted, error)
}

// Eraser forgets persons.
type Eraser interface {
	// LockOut ends the sessions of an account and destroys its password: nobody acts for it
	// any more. Again it does nothing.
	LockOut(ctx context.Context, account string) error
	// Erase destroys what makes the texts about a person readable, their password and
	// sessions, and the texts that others keep of whoever holds their addresses now: those
	// of the next holder are not concerned. Again it does nothing.
	Erase(ctx context.Context, account string, holders []string) error
}

// Close closes the caller's account. The event comes first: whatever else must end follows
// from it, here before the answer, or by a reactor if this is cut off.
func (a *Accounts) Close(ctx context.Context, m Meta, password string) (Done, error) {
	c, err := a.core.begin(m, "close account")
	if err != nil {
		return Done{}, err
	}
	if a.holdings == nil || a.eraser == nil {
		return Done{}, unavailable(errors.New("accounts cannot be closed here"))
	}
	right, err := a.passwords.VerifyPassword(ctx, c.Account, password)
	if err != nil {
		return Done{}, unavailable(fmt.Errorf("checking a password: %w", err))
	}
	if !right {
		return Done{}, wrongPassword(nil)
	}
	on := onAccount(c.Account)
	done, err := run(ctx, a.core, c, on, func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.Close{At: c.at})
	})
	if err != nil {
		return Done{}, err
	}
	last, err := a.finishClosing(ctx, c.id(on.name, 0), c.Account, done.position)
	if err != nil {
		return Done{}, unavailable(fmt.Errorf("the account is closed, and what follows is done later: %w", err))
	}
	return Done{Position: max(done.position, last)}, nil
}

// FinishClosing is the policy that follows a closed account: its devices are removed, its
// shares end on both sides, its logins are free, and at last its person is forgotten. cause
// is the id of the event, which is at a position. Following it again does nothing more.
func (a *Accounts) FinishClosing(ctx context.Context, cause uuid.UUID, id string, at position.Position) error {
	_, err := a.finishClosing(ctx, cause, id, at)
	return err
}

func (a *Accounts) finishClosing(ctx context.Context, cause uuid.UUID, id string, at position.Position) (last position.Position, err error) {
	there, err := load(ctx, a.core, accountKind, accountStream(id))
	if err != nil || !there.state.Closed { // the log must say it too: what follows cannot be undone
		return 0, err
	}
	// First nobody may act for the account any more: what it gets now would stay.
	if err := a.eraser.LockOut(ctx, id); err != nil {
		return 0, fmt.Errorf("locking a closed account: %w", err)
	}
	has, err := a.holdings.HoldingsOf(ctx, id, at)
	if err != nil {
		return 0, fmt.Errorf("listing what a closed account has: %w", err)
	}
	var failed []error
	note := func(p position.Position, err error) {
		last = max(last, p)
		failed = append(failed, err)
	}
	for _, d := range has.Devices {
		note(a.removeDevice(ctx, cause, id, d))
	}
	for _, s := range has.Sent {
		note(a.endShare(ctx, cause, s, share.Delete{By: id, At: a.core.now()}))
	}
	note(a.giveUp(ctx, cause, id, has.Accepted)) // what waits stays for whoever has the address next
	if err := errors.Join(failed...); err != nil {
		return last, err
	}
	var logins []string
	for _, address := range there.state.Addresses {
		logins = append(logins, address.Login)
	}
	c := a.core.following(cause)
	c.Account, c.seed = id, uuid.New()
	for _, login := range append(logins[:len(logins):len(logins)], there.state.UserLogin) {
		p, err := a.release(ctx, c, login)
		if err != nil {
			return last, err
		}
		last = max(last, p)
	}
	holders := make([]string, len(logins))
	for i, login := range logins {
		holders[i] = loginStream(login)
	}
	if err := a.eraser.Erase(ctx, id, holders); err != nil {
		return last, fmt.Errorf("forgetting the person of a closed account: %w", err)
	}
	return last, nil
}

func (a *Accounts) removeDevice(ctx context.Context, cause uuid.UUID, owner, id string) (position.Position, error) {
	serial, ok := device.SerialOf(id)
	if !ok {
		return 0, fmt.Errorf("%q is not the id of a device", id)
	}
	done, err := run(ctx, a.core, a.core.following(cause), onAnyDevice(serial), func(there stream[device.State]) ([]device.Event, error) {
		events, err := device.Decide(there.state, device.Remove{Device: id, By: owner, At: a.core.now()})
		if errors.Is(err, device.ErrNotFound) {
			return nil, nil
		}
		return events, err
	})
	if err != nil || len(done.events) == 0 {
		return 0, err
	}
	if err := forgetCamera(ctx, a.devices.cameras, id); err != nil {
		return done.position, err
	}
	removal := uuid.NewSHA1(cause, []byte(id))
	return max(done.position, a.devices.followRemoval(ctx, removal, id, done.position)), nil
}

func (a *Accounts) endShare(ctx context.Context, cause uuid.UUID, id string, todo share.Command) (position.Position, error) {
	done, err := run(ctx, a.core, a.core.following(cause), onShare(id), func(there stream[share.State]) ([]share.Event, error) {
		if !there.state.Live {
			return nil, nil
		}
		return share.Decide(there.state, todo)
	})
	if err != nil {
		return 0, fmt.Errorf("ending share %s of a closed account: %w", id, err)
	}
	if len(done.events) == 0 {
		return 0, nil
	}
	return done.position, nil
}
