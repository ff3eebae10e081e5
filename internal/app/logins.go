package app

import (
	"cmp"
	"context"
	"fmt"

	"latchkey/domain/account"
)

// A login is the keyed hash of an address.

// holder returns the account that has claimed a login, "" for none. It is in the last
// event of the login's stream.
func (s *core) holder(ctx context.Context, login string) (string, error) {
	there, err := load(ctx, s, loginKind, loginStream(login))
	return there.state.Account, err
}

// nobody stands for the account of an unclaimed login.
const nobody = "00000000-0000-0000-0000-000000000000"

// registeredHolder returns the account that has claimed a login, "" if that was never
// registered. It always reads two events, so that its duration reveals nothing.
func (s *core) registeredHolder(ctx context.Context, login string) (string, error) {
	id, err := s.holder(ctx, login)
	if err != nil {
		return "", err
	}
	stored, ok, err := s.log.First(ctx, accountStream(cmp.Or(id, nobody)))
	if err != nil {
		return "", unavailable(fmt.Errorf("checking whether an account is registered: %w", err))
	}
	if !ok || id == "" {
		return "", nil
	}
	event, err := decode[account.Event](stored)
	if err != nil || !account.Evolve(account.State{}, event).Registered {
		return "", err
	}
	return id, nil
}

// earlierLogin returns the account that was registered for an address before the current
// normalisation, and its login; "" for none. Nothing is read for an ASCII address, which
// has no earlier spelling.
func (s *core) earlierLogin(ctx context.Context, kind, raw, address string) (login, account string, err error) {
	for _, form := range earlierForms(kind, raw, address) {
		earlier := s.sealer.LoginHash(kind, form)
		id, err := s.registeredHolder(ctx, earlier)
		if err != nil {
			return "", "", err
		}
		if id != "" && account == "" {
			login, account = earlier, id
		}
	}
	return login, account, nil
}

// loginOf returns the login of an address: its keyed hash, or that of an earlier spelling
// if only that one has an account. Both are always looked up: how long it takes must not
// tell whether the address is registered.
func (s *core) loginOf(ctx context.Context, kind, raw, address string) (string, error) {
	login := s.sealer.LoginHash(kind, address)
	if len(earlierForms(kind, raw, address)) == 0 {
		return login, nil
	}
	holder, err := s.registeredHolder(ctx, login)
	if err != nil {
		return "", err
	}
	earlier, account, err := s.earlierLogin(ctx, kind, raw, address)
	if err != nil || holder != "" || account == "" {
		return login, err
	}
	return earlier, nil
}
