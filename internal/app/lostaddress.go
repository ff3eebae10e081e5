package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// A share belongs to the address that it was given to. An account that loses the address,
// because it removes it, another account takes it, or the account is closed, loses what it
// has accepted by it: otherwise it would have what neither it nor the next holder of the
// address could see or give up. Devices that wait for a decision stay for the next holder.

// Stranded is a share in which an account has accepted devices, by an address that it does
// not have any more.
type Stranded struct{ Share, Account string }

// acceptedBy lists the shares in which an account has accepted a device by an address;
// with "" by any.
func (a *Accounts) acceptedBy(ctx context.Context, id, login string, at position.Position) (list []string, err error) {
	if a.holdings == nil {
		return nil, nil
	}
	has, err := a.holdings.HoldingsOf(ctx, id, at)
	if err != nil {
		return nil, unavailable(fmt.Errorf("listing what an account has accepted: %w", err))
	}
	for _, s := range has.Accepted {
		if _, of, ok := share.Parties(s); ok && (login == "" || of == login) {
			list = append(list, s)
		}
	}
	return list, nil
}

// giveUp ends what an account has accepted in shares.
func (a *Accounts) giveUp(ctx context.Context, cause uuid.UUID, id string, shares []string) (last position.Position, err error) {
	var failed []error
	for _, s := range shares {
		p, err := a.core.giveUp(ctx, cause, id, s)
		last, failed = max(last, p), append(failed, err)
	}
	return last, errors.Join(failed...)
}

// giveUp ends what an account has accepted in a share.
func (s *core) giveUp(ctx context.Context, cause uuid.UUID, id, of string) (position.Position, error) {
	done, err := run(ctx, s, s.following(cause), onShare(of), func(there stream[share.State]) ([]share.Event, error) {
		return share.Decide(there.state, share.GiveUp{Account: id, At: s.now()})
	})
	if err != nil {
		return 0, fmt.Errorf("ending what account %s has accepted in share %s: %w", id, of, err)
	}
	if len(done.events) == 0 {
		return 0, nil
	}
	return done.position, nil
}

// has reports whether an account has an address: it lists it, and has its login.
func (s *core) has(ctx context.Context, id, login string) (bool, error) {
	has, _, err := s.hasNow(ctx, id, login)
	return has, err
}

// hasNow is has, and returns the account.
func (s *core) hasNow(ctx context.Context, id, login string) (bool, account.State, error) {
	holder, err := s.holder(ctx, login)
	if err != nil || holder != id {
		return false, account.State{}, err
	}
	there, err := load(ctx, s, accountKind, accountStream(id))
	if err != nil {
		return false, account.State{}, err
	}
	_, ok := there.state.FindAddress(login)
	return ok && there.state.Registered, there.state, nil
}

// FinishRemoval is the policy that follows an address that was removed from an account:
// what was accepted by it ends, and its login is free. cause is the id of the event, which
// is at a position. Following it again does nothing more.
func (a *Accounts) FinishRemoval(ctx context.Context, cause uuid.UUID, id, login string, at position.Position) error {
	there, err := load(ctx, a.core, accountKind, accountStream(id))
	if err != nil {
		return err
	}
	if _, again := there.state.FindAddress(login); again {
		return nil
	}
	_, err = a.finishRemoval(ctx, cause, id, login, at)
	return err
}

func (a *Accounts) finishRemoval(ctx context.Context, cause uuid.UUID, id, login string, at position.Position) (last position.Position, err error) {
	shares, err := a.acceptedBy(ctx, id, login, at)
	if err != nil {
		return 0, err
	}
	last, err = a.giveUp(ctx, cause, id, shares)
	if err != nil {
		return last, err
	}
	c := a.core.following(cause)
	c.Account, c.seed = id, uuid.New()
	released, err := a.release(ctx, c, login)
	return max(last, released), err
}

// FollowClaim is the policy that follows a login that an account has claimed, by an event at
// a position: what other accounts have accepted by it ends.
func (a *Accounts) FollowClaim(ctx context.Context, login string, at position.Position) error {
	return a.endAllStranded(ctx, login, at)
}

// EndStranded ends what accounts have accepted by addresses that they do not have any more:
// by an earlier version, or in a command that was cut off.
func (a *Accounts) EndStranded(ctx context.Context) error { return a.endAllStranded(ctx, "", 0) }

func (a *Accounts) endAllStranded(ctx context.Context, login string, at position.Position) error {
	if a.holdings == nil {
		return nil
	}
	list, err := a.holdings.Stranded(ctx, login, at)
	if err != nil {
		return fmt.Errorf("listing what was accepted by lost addresses: %w", err)
	}
	var failed []error
	for _, s := range list {
		failed = append(failed, a.endStranded(ctx, s))
	}
	return errors.Join(failed...)
}

func (a *Accounts) endStranded(ctx context.Context, s Stranded) error {
	_, login, ok := share.Parties(s.Share)
	if !ok {
		return fmt.Errorf("%q is not the id of a share", s.Share)
	}
	has, err := a.core.has(ctx, s.Account, login)
	if err != nil || has {
		return err
	}
	_, err = a.core.giveUp(ctx, uuid.New(), s.Account, s.Share)
	return err
}

// removable reports why an address cannot be removed, nil if it can: see account.Decide.
func (a *Accounts) removable(ctx context.Context, c command, login string) (stream[account.State], error) {
	there, err := load(ctx, a.core, accountKind, accountStream(c.Account))
	if err != nil {
		return there, err
	}
	_, err = a.core.onHeld(ctx, account.RemoveAddress{Login: login, Any: !a.core.verify, At: c.at})(there)
	return there, err
}

// RemoveAddress removes an address of the caller's, and frees its login. What was accepted
// by it ends first, if the caller wants that: otherwise the address stays, and the refusal
// names the shares. What is cut off between the two, the person repeats; what is cut off
// afterwards follows from the event.
func (a *Accounts) RemoveAddress(ctx context.Context, m Meta, login string, leave bool) (Done, error) {
	args := []any{login}
	if leave {
		args = append(args, leave)
	}
	c, err := a.core.begin(m, "remove address", args...)
	if err != nil {
		return Done{}, err
	}
	if there, err := a.removable(ctx, c, login); err == nil { // else it is refused below, or a repeat
		shares, err := a.acceptedBy(ctx, c.Account, login, there.position())
		if err != nil {
			return Done{}, err
		}
		if len(shares) > 0 && !leave {
			return Done{}, hasShares(shares)
		}
		if _, err := a.giveUp(ctx, uuid.New(), c.Account, shares); err != nil {
			return Done{}, err
		}
	}
	on := onAccount(c.Account)
	done, err := run(ctx, a.core, c, on, a.core.onHeld(ctx, account.RemoveAddress{Login: login, Any: !a.core.verify, At: c.at}))
	if err != nil {
		return Done{}, err
	}
	if _, again := done.latest.FindAddress(login); again {
		return Done{Position: done.position}, nil
	}
	last, err := a.finishRemoval(ctx, c.id(on.name, 0), c.Account, login, done.position)
	if err == nil && a.codes != nil {
		err = a.codes.DropCode(ctx, purposeOf(c.Account, login))
	}
	if err != nil {
		return Done{}, unavailable(fmt.Errorf("the address is removed, and what follows is done later: %w", err))
	}
	return Done{Position: max(done.position, last)}, nil
}

func hasShares(shares []string) error {
	are := "Something is shared with you by this address"
	if n := len(shares); n > 1 {
		are = fmt.Sprintf("%d shares came to you by this address", n)
	}
	return &Error{
		Code: "address_has_shares", Kind: Conflict, Shares: shares,
		Message: are + ". Removing it leaves them: ask for that with leave_shares.",
	}
}
