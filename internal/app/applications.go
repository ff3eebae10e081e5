package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/domain/account"
)

// Where addresses must be proven, registering tells nothing about an address: whoever
// registers gets an account that applies for it, with the same work and the same answer,
// whether the address has an account, others have applied for it, or nobody has. It is the
// account's once a code comes back that was sent to it; if it is another account's, no code
// is sent, but a message to whoever reads it (decision 0036).

// ErrApplied is returned by Passwords.Apply for an account that has a password.
var ErrApplied = errors.New("the account has applied before")

const (
	// noticesOfTaken is how many messages a day tell the holder of an address that
	// somebody else wants it.
	noticesOfTaken  = 3
	noticesRefilled = 24 * time.Hour / noticesOfTaken
)

// Allowances count what is bounded for a name.
type Allowances interface {
	// Take uses up one of a burst, of which one is refilled per interval. It returns zero,
	// or how long to wait; then nothing was used up.
	Take(ctx context.Context, name string, every time.Duration, burst int) (wait time.Duration, err error)
}

// apply registers an account that applies for the login. The account of a repeated request
// is the same: its id follows from the idempotency key.
func (a *Accounts) apply(ctx context.Context, who applicant) (Registered, error) {
	id := a.core.newID()
	if who.IdempotencyKey != "" {
		id = who.id(loginStream(who.login), 0).String()
		there, err := loadFor(ctx, a.core, accountKind, accountStream(id), who.command)
		if err != nil {
			return Registered{}, err
		}
		if there.revision() >= 0 {
			return a.appliedBefore(ctx, who, id, there)
		}
	}
	err := a.passwords.Apply(ctx, id, who.login, who.password)
	if errors.Is(err, ErrApplied) { // it was cut off before
		return a.appliedBefore(ctx, who, id, stream[account.State]{name: accountStream(id)})
	}
	if err != nil {
		return Registered{}, unavailable(fmt.Errorf("setting a password: %w", err))
	}
	return a.open(ctx, who, id, true)
}

// appliedBefore returns the result of a repeated registration to a caller who knows the
// password, or completes it. For others the key was used before.
func (a *Accounts) appliedBefore(ctx context.Context, who applicant, id string, there stream[account.State]) (Registered, error) {
	knows, err := a.passwords.VerifyPassword(ctx, id, who.password)
	if err != nil {
		return Registered{}, unavailable(fmt.Errorf("checking a password: %w", err))
	}
	if !knows {
		return Registered{}, keyReused(nil)
	}
	if there.revision() < 0 {
		return a.open(ctx, who, id, true)
	}
	from, to, found, err := who.repeated(there.name, there.events)
	if err != nil {
		return Registered{}, err
	}
	if !found {
		return Registered{}, keyReused(nil)
	}
	done, err := replay(there, from, to, account.Evolve)
	return Registered{Position: done.position, Account: id}, err
}

// Candidates returns the accounts that a log-in with a login may be meant for. It does the
// same work for every login.
func (a *Accounts) Candidates(ctx context.Context, login string) (Candidates, error) {
	kind := LoginKind(login)
	holder, err := a.ByLogin(ctx, kind, login)
	if e, ok := errors.AsType[*Error](err); ok && (e.Kind == Invalid || e.Kind == NotFound) {
		err = nil // an invalid address must be indistinguishable from an unused one
	}
	if err != nil {
		return Candidates{}, err
	}
	who := Candidates{Account: holder, Blind: a.core.verify}
	if kind != userNameKind {
		normal, _ := normaliseAddress(kind, login)
		who.Applied = a.core.sealer.LoginHash(kind, normal)
	}
	return who, nil
}

// takenBy reports whether another account has proven a login, with the same work whether
// there is one or not.
func (a *Accounts) takenBy(ctx context.Context, other, kind, plain, login string) (bool, error) {
	holder, err := a.core.registeredHolder(ctx, login)
	if err != nil {
		return false, err
	}
	held := login
	if holder == "" {
		if earlier, of, err := a.core.earlierLogin(ctx, kind, plain, plain); err != nil {
			return false, err
		} else if of != "" {
			holder, held = of, earlier
		}
	}
	proven := false
	if holder == "" || holder == other {
		_, err = a.core.proven(ctx, nobody, held)
	} else {
		proven, err = a.core.proven(ctx, holder, held)
	}
	return proven, err
}

// mayTell reports whether the holder of a login may be told once more that somebody wants
// it. It counts for every login, so that the time does not tell which are taken.
func (a *Accounts) mayTell(ctx context.Context, login string) bool {
	if a.allowances == nil {
		return true
	}
	wait, err := a.allowances.Take(ctx, "notices that an address is taken\x00"+login, noticesRefilled, noticesOfTaken)
	return err == nil && wait == 0
}

// ofOwn reports whether an address is in an account's list, proven or not.
func (s *core) ofOwn(ctx context.Context, id, login string) (bool, error) {
	there, err := load(ctx, s, accountKind, accountStream(id))
	if err != nil {
		return false, err
	}
	_, ok := there.state.FindAddress(login)
	return ok, nil
}

// receives reports whether an address in an account's list receives shares: it is proven
// or, where no proof is asked for, the account has its login.
func (s *core) receives(ctx context.Context, id string, address account.Address) (bool, error) {
	if address.Verified || s.verify {
		return address.Verified, nil
	}
	holder, err := s.holder(ctx, address.Login)
	return holder == id, err
}
