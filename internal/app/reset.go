package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/event"
)

// Nobody needs a session to ask for a code or to try one, so that strangers must not be able
// to keep a person from a new password: neither by asking, nor by guessing.
const (
	// resetDigits is how many digits a code has: so many that guesses need not use it up.
	// resetAttempts only bounds what very many networks can try.
	resetDigits   = 12
	resetAttempts = 10_000
	// resetTTL is how long a code is valid. An address gets resetBurst codes at once and one
	// more each resetTTL, so whenever it gets none, the one before is still valid.
	resetTTL   = time.Hour
	resetBurst = 3
	// resetPause is how long a code is not replaced, so that the person can use it.
	resetPause = 5 * time.Minute
)

// Reset is a new password for somebody who forgot the one before.
type Reset struct{ Login, Code, Password string }

// RequestReset sends a code for a new password to the address that the login names, if it
// is a verified address of an account; for a user name to the address that the account is
// shown with. It takes its time: whoever asks must not wait for it, since the time would
// tell whether there is an account.
func (a *Accounts) RequestReset(ctx context.Context, login string) error {
	kind := LoginKind(login)
	id, err := a.ByLogin(ctx, kind, login)
	if err != nil || id == "" {
		return err
	}
	there, err := load(ctx, a.core, accountKind, accountStream(id))
	if err != nil {
		return err
	}
	address, ok := a.resetAddress(there.state, login)
	if !ok {
		return nil
	}
	if may, err := a.maySendReset(ctx, there.state, address); err != nil || !may {
		return err // the code that was sent before is still valid
	}
	plain, err := a.core.sealer.Unseal(ctx, event.FieldAddress, address.Text)
	if err != nil {
		return fmt.Errorf("reading an address: %w", err)
	}
	n := Notice{
		ID: "reset-" + uuid.NewString(), Account: id, Kind: address.Kind, To: plain, Language: there.state.Language,
		What: NoticeReset, Until: a.core.now().Add(resetTTL),
	}
	if n.Code, err = a.codes.NewCode(ctx, resetOf(there.state, address), resetDigits, resetTTL, resetAttempts); err != nil {
		return fmt.Errorf("making a code: %w", err)
	}
	n.Code = inGroups(n.Code)
	return a.messenger.Send(ctx, n)
}

// maySendReset reports whether an address of an account may be sent one more code for a new
// password, whichever login it was asked for with. It is counted for the password that the
// account has: once that is changed, the code that was sent before is of no use.
func (a *Accounts) maySendReset(ctx context.Context, of account.State, address account.Address) (bool, error) {
	if a.allowances == nil {
		return true, nil
	}
	code := "\x00" + resetOf(of, address)
	wait, err := a.allowances.Take(ctx, "pause between codes"+code, resetPause, 1)
	if err == nil && wait == 0 {
		wait, err = a.allowances.Take(ctx, "codes"+code, resetTTL, resetBurst)
	}
	if err != nil {
		return false, fmt.Errorf("counting codes for a new password: %w", err)
	}
	return wait == 0, nil
}

// inGroups writes a long code so that people can read it.
func inGroups(code string) string {
	var groups []string
	for digits := range slices.Chunk([]byte(code), 4) {
		groups = append(groups, string(digits))
	}
	return strings.Join(groups, "-")
}

// resetAddress returns the address of an account to which a code for a login is sent: the
// login itself, or for a user name the address that the account is shown with. Only a
// verified one will do.
func (a *Accounts) resetAddress(of account.State, login string) (address account.Address, ok bool) {
	hash := of.Login
	if kind := LoginKind(login); kind != userNameKind {
		normal, _ := normaliseAddress(kind, login)
		hash = a.core.sealer.LoginHash(kind, normal)
	}
	address, ok = of.FindAddress(hash)
	return address, ok && (address.Verified || !a.core.verify)
}

// resetOf names the code that sets a new password of an account and was sent to one of its
// addresses. It names another one as soon as the password is changed, or the address was
// removed: what was pending then is of no use.
func resetOf(of account.State, address account.Address) string {
	return fmt.Sprintf("reset %s %s %d %d", of.Account, address.Login, address.AddedAt.UnixNano(), of.PasswordAt.UnixNano())
}

// ConfirmReset sets a new password with a code, and ends everything as a change of the
// password does. An unknown login takes as long as a wrong code, and gets the same answer.
func (a *Accounts) ConfirmReset(ctx context.Context, m Meta, r Reset) (Done, error) {
	f := faults{}
	f.password("new_password", r.Password, r.Login)
	if err := f.err(); err != nil {
		return Done{}, err
	}
	began := time.Now()
	id, err := a.ByLogin(ctx, LoginKind(r.Login), r.Login)
	if err != nil {
		return Done{}, err
	}
	change, err := a.passwords.PrepareReset(ctx, cmp.Or(id, nobody), r.Password)
	if err != nil {
		return Done{}, unavailable(fmt.Errorf("hashing a password: %w", err))
	}
	there, err := load(ctx, a.core, accountKind, accountStream(cmp.Or(id, nobody)))
	if err != nil {
		return Done{}, err
	}
	address, ok := a.resetAddress(there.state, r.Login)
	right, err := a.codes.UseCode(ctx, resetOf(there.state, address), typedCode(r.Code))
	if err != nil {
		return Done{}, unavailable(fmt.Errorf("checking a code: %w", err))
	}
	if !right || !ok || id == "" {
		evenly(ctx, began, resetTakes)
		return Done{}, wrongCode()
	}
	m.Account, m.IdempotencyKey = id, "" // a code is used once
	c, err := a.core.begin(m, "reset password")
	if err != nil {
		return Done{}, err
	}
	done, err := a.replace(ctx, c, account.ChangePassword{By: account.ByCode, At: c.at}, change, nil)
	if e, ok := errors.AsType[*Error](err); ok && errors.Is(e, ErrPasswordChanged) { // the code is void by that
		err = wrongCode()
	}
	return Done{Position: done.Position}, err
}

// resetTakes and addingTakes are longer than what they are about takes on a machine that is
// not busy; on one that is, other work hides what differs.
const (
	resetTakes  = 100 * time.Millisecond
	addingTakes = 15 * time.Millisecond
)

// evenly waits until something has taken a while: what it finds out, such as whether
// somebody has an address, costs some reads more or less, and the time must not tell.
func evenly(ctx context.Context, began time.Time, takes time.Duration) {
	rest := time.NewTimer(takes - time.Since(began))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}

// SetPassword sets a new password for the account of a login, as an operator does for
// somebody whom no code reaches, and ends everything as a change of the password does.
func (a *Accounts) SetPassword(ctx context.Context, m Meta, login, password string) (Done, error) {
	id, err := a.ByLogin(ctx, LoginKind(login), login)
	if err != nil {
		return Done{}, err
	}
	if id == "" {
		return Done{}, &Error{Code: "not_found", Kind: NotFound, Message: "There is no account with this login."}
	}
	if err := a.checkNew(ctx, id, "password", password); err != nil {
		return Done{}, err
	}
	has, err := a.passwords.HasPassword(ctx, id)
	if err == nil && !has {
		err = errors.New("the vault has nothing of this account: put the vault back that belongs to the log")
	}
	if err != nil {
		return Done{}, unavailable(err)
	}
	change, err := a.passwords.PrepareReset(ctx, id, password)
	if err != nil {
		return Done{}, unavailable(fmt.Errorf("hashing a password: %w", err))
	}
	m.Account = id
	c, err := a.core.begin(m, "set password")
	if err != nil {
		return Done{}, err
	}
	done, err := a.replace(ctx, c, account.ChangePassword{By: account.ByOperator, At: c.at}, change, nil)
	return Done{Position: done.Position}, err
}
