package app

import (
	"context"
	"slices"

	"latchkey/domain/account"
)

// accountNow loads an account as the streams of its logins have it.
func (s *core) accountNow(ctx context.Context, id string) (account.State, error) {
	there, err := load(ctx, s, accountKind, accountStream(id))
	if err != nil {
		return account.State{}, err
	}
	return s.held(ctx, there.state)
}

// held returns an account as the streams of its logins have it: an address counts as
// verified only while the account has its login. The events of two accounts may say that
// they verified the same address; one of them has it.
func (s *core) held(ctx context.Context, of account.State) (account.State, error) {
	of.Addresses = slices.Clone(of.Addresses)
	for i := range of.Addresses {
		address := &of.Addresses[i]
		if !address.Verified {
			continue
		}
		holder, err := s.holder(ctx, address.Login)
		if err != nil {
			return account.State{}, err
		}
		address.Verified = holder == of.Account
	}
	return of, nil
}

// onHeld decides a command about the addresses of an account.
func (s *core) onHeld(ctx context.Context, todo account.Command) func(stream[account.State]) ([]account.Event, error) {
	return func(there stream[account.State]) ([]account.Event, error) {
		state, err := s.held(ctx, there.state)
		if err != nil {
			return nil, err
		}
		return account.Decide(state, todo)
	}
}
