package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/event"
	"latchkey/internal/position"
)

// NewPassword is a change of the caller's password.
type NewPassword struct {
	Current, New string
	Session      NewSession // for the caller to continue with
}

// PasswordChanged is the result of Accounts.ChangePassword.
type PasswordChanged struct {
	Position position.Position
	Token    string // of the new session
}

// ChangePassword changes the caller's password, and ends every session and stream key
// of the account.
//
// The order is: log, vault, log.
//
//   - In the log the keys are revoked first. A crash after that leaves the old password,
//     which the person still knows and which was not acknowledged to be gone: they change
//     it again. The other way around, the new password would work, and look like a change
//     that was done, while keys that somebody else may have still open.
//   - In the vault the password is replaced and the sessions end in one transaction, and
//     only while the password that was checked is still there. No moment has a password
//     of neither, so nobody is locked out; of two changes at once the second is refused.
//   - A request of an old session that was under way may have made a key in between. So
//     the keys are looked at once more when no old session is left; a request that comes
//     later finds that its session has ended, and takes the key back itself.
func (a *Accounts) ChangePassword(ctx context.Context, m Meta, n NewPassword) (PasswordChanged, error) {
	c, err := a.core.begin(m, "change password")
	if err != nil {
		return PasswordChanged{}, err
	}
	if err := a.checkNew(ctx, c.Account, "new", n.New); err != nil {
		return PasswordChanged{}, err
	}
	change, err := a.passwords.PreparePassword(ctx, c.Account, n.Current, n.New)
	if err != nil {
		return PasswordChanged{}, unavailable(fmt.Errorf("checking a password: %w", err))
	}
	if change == nil {
		return PasswordChanged{}, wrongPassword(nil)
	}
	return a.replace(ctx, c, account.ChangePassword{At: c.at}, change, &n.Session)
}

// replace carries out a change of a password in the order described at ChangePassword.
func (a *Accounts) replace(ctx context.Context, c command, how account.ChangePassword, change PasswordChange, session *NewSession) (PasswordChanged, error) {
	done, err := run(ctx, a.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, how)
	})
	if err != nil {
		return PasswordChanged{}, err
	}
	token, err := change.Commit(ctx, session)
	if errors.Is(err, ErrPasswordChanged) {
		return PasswordChanged{}, wrongPassword(err)
	}
	if err != nil {
		return PasswordChanged{}, unavailable(fmt.Errorf("replacing a password: %w", err))
	}
	revoked, err := a.revokeKeys(ctx, c)
	if a.holdings != nil { // else the policy does it; nobody can accept one in any case
		a.core.afterwards(ctx, "withdrawing what was offered with the password before", func(ctx context.Context) error {
			return a.endOffers(ctx, a.core.following(uuid.New()), c.Account, max(done.position, revoked), anyOffer)
		})
	}
	if err == nil && a.webhooks != nil {
		a.core.afterwards(ctx, "forgetting the webhook of the password before", func(ctx context.Context) error {
			return a.webhooks.KeepWebhook(ctx, c.Account, "")
		})
	}
	return PasswordChanged{Position: max(done.position, revoked), Token: token}, err
}

// revokeKeys revokes an account's current keys, and returns the position of that.
func (a *Accounts) revokeKeys(ctx context.Context, c command) (position.Position, error) {
	again := c
	again.IdempotencyKey = ""
	done, err := run(ctx, a.core, again, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.RevokeKeys{At: a.core.now()})
	})
	return done.position, err
}

// checkNew validates a new password of an account.
func (a *Accounts) checkNew(ctx context.Context, id string, at Field, password string) error {
	there, err := load(ctx, a.core, accountKind, accountStream(id))
	if err != nil {
		return err
	}
	f := faults{}
	f.password(at, password, a.core.known(ctx, event.FieldAddress, there.state.Address), a.core.known(ctx, event.FieldName, there.state.Name))
	return f.err()
}

// known opens a sealed text, "" if it cannot be read.
func (s *core) known(ctx context.Context, field, sealed string) string {
	plain, err := s.sealer.Unseal(ctx, field, sealed)
	if err != nil {
		return ""
	}
	return plain
}

func wrongPassword(cause error) error {
	return &Error{Code: "wrong_password", Kind: Forbidden, Message: "The current password is wrong.", Cause: cause}
}
