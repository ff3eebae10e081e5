package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/internal/position"
)

// An offer to hand a device over needs the owner's password. Whoever knew the one before
// may have made it, so a change of the password ends it: the guard is at the acceptance,
// and the withdrawals that follow let lists say so.

// outdated reports whether the owner's password was changed after the present offer of a
// device: in the log, or by the clock, as an offer that began before may be written later.
func (s *core) outdated(ctx context.Context, there device.State) (bool, error) {
	owner, err := load(ctx, s, accountKind, accountStream(there.Owner))
	if err != nil || owner.state.PasswordAt.IsZero() {
		return false, err
	}
	if !there.Transfer.At.After(owner.state.PasswordAt) {
		return true, nil
	}
	changed, err := s.lastOf(ctx, accountStream(there.Owner), account.PasswordChanged{}.Type())
	if err != nil {
		return false, err
	}
	serial, _ := device.SerialOf(there.Device)
	offered, err := s.lastOf(ctx, deviceStream(serial), device.TransferOffered{}.Type())
	return offered < changed, err
}

// lastOf returns the position of the last event of a type in a stream, 0 for none.
func (s *core) lastOf(ctx context.Context, stream, kind string) (position.Position, error) {
	is := func(e Stored, _ int) bool { return e.Type == kind }
	events, err := s.log.LoadBack(ctx, stream, is)
	if err != nil {
		return 0, unavailable(err)
	}
	if len(events) == 0 || !is(events[0], 0) {
		return 0, nil
	}
	return events[0].Position, nil
}

// EndOffers is the policy that follows a change of a password, whose event is at a position:
// what the account offered before is withdrawn. Following it again does nothing more.
func (a *Accounts) EndOffers(ctx context.Context, cause uuid.UUID, owner string, at position.Position) error {
	return a.endOffers(ctx, a.core.following(cause), owner, at, func(there device.State) (bool, error) { return a.core.outdated(ctx, there) })
}

// anyOffer is for when no session of the password before is left: what waits then was
// offered with that, also if it came after the event of the change.
func anyOffer(device.State) (bool, error) { return true, nil }

func (a *Accounts) endOffers(ctx context.Context, c command, owner string, at position.Position, ends func(device.State) (bool, error)) error {
	if a.holdings == nil {
		return nil
	}
	transfers, err := a.holdings.OffersOf(ctx, owner, at)
	if err != nil {
		return fmt.Errorf("listing what an account offers: %w", err)
	}
	var failed []error
	for _, id := range transfers {
		of, number, ok := device.ParseTransfer(id)
		if !ok {
			continue
		}
		_, err := a.core.withdraw(ctx, c, of, number, ends)
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
