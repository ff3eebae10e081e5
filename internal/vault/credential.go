package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
)

// ErrPasswordChanged is returned if the checked password is not the account's any more.
var ErrPasswordChanged = errors.New("the password was changed in the meantime")

// Candidates are the accounts that a log-in may be meant for.
type Candidates struct {
	Account string // that has the login; "" for none
	Applied string // login for which accounts may have applied; "" for none
	// Blind is set if the time must not tell whether any has applied.
	Blind bool
}

// LogIn creates a session if the password is that of one of the candidates, and returns
// its account: the one that has the login goes first. The session is only created while
// the checked password is still the account's: a change of password leaves no session
// with the old one. An account without a password, or "" for no account, takes the same
// time and the same place in the queue, and never matches.
//
// hashing.ErrBusy: too many passwords are waiting to be hashed; see hashing.For.
// ErrBadHash: no password can match the account's hash.
func (v *Vault) LogIn(ctx context.Context, who Candidates, plain string, n NewSession) (account, token string, right bool, err error) {
	held, right, err := v.holdsOneOf(ctx, who, plain)
	if err != nil || !right {
		return "", "", false, err
	}
	if v.afterCheck != nil {
		v.afterCheck()
	}
	account = held.row.Account
	row, token := v.newSession(account, n)
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := held.still(ctx, tx); err != nil {
			return err
		}
		if held.renewed != "" {
			_, err := tx.NewUpdate().Model(&held.row).Set("hash = ?, mac = ?", held.renewed, v.macOfPassword(account, held.renewed)).WherePK().Exec(ctx)
			if err != nil {
				return err
			}
		}
		return addSession(ctx, tx, row, n.Most)
	})
	if errors.Is(err, ErrPasswordChanged) {
		return "", "", false, nil
	}
	if err != nil {
		return "", "", false, fmt.Errorf("logging in %s: %w", account, err)
	}
	return account, token, true, nil
}

// heldPassword is a password that was right when it was checked.
type heldPassword struct {
	row     password
	renewed string // its hash with today's parameters, "" if it has them
}

// still returns ErrPasswordChanged unless the password is still the account's. A
// concurrent change waits for the end of the transaction.
func (h *heldPassword) still(ctx context.Context, tx bun.Tx) error {
	now := &password{Account: h.row.Account}
	q := tx.NewSelect().Model(now).WherePK()
	if !isSQLite(tx) {
		q = q.For("UPDATE")
	}
	err := q.Scan(ctx)
	if notFound(err) || err == nil && now.Hash != h.row.Hash {
		return ErrPasswordChanged
	}
	return err
}

// holds checks a password as VerifyPassword does, but does not renew its hash.
func (v *Vault) holds(ctx context.Context, account, plain string) (h heldPassword, right bool, err error) {
	return v.holdsOneOf(ctx, Candidates{Account: account}, plain)
}

// holdsOneOf checks a password for candidates: one hash for the account that has the
// login, and if that does not match, one for all that have applied for it.
func (v *Vault) holdsOneOf(ctx context.Context, who Candidates, plain string) (h heldPassword, right bool, err error) {
	account := who.Account
	var applied []password
	var salt []byte
	if who.Applied != "" {
		if applied, salt, err = v.applicants(ctx, who.Applied); err != nil {
			return h, false, err
		}
	}
	h.row.Account = account
	err = v.db.NewSelect().Model(&h.row).WherePK().Scan(ctx)
	known := err == nil && account != ""
	if err != nil && !notFound(err) {
		return h, false, fmt.Errorf("reading the password of %s: %w", account, err)
	}
	if known && !equal(h.row.MAC, v.macOfPassword(account, h.row.Hash)) {
		return h, false, fmt.Errorf("reading the password of %s: %w", account, ErrBadHash)
	}
	known = known && !strings.HasPrefix(h.row.Hash, void)
	if !known {
		h.row.Hash = v.dummy
	}
	var match, another bool
	var other password
	err = v.hash(ctx, func() (err error) {
		match, h.renewed, err = checkPassword(plain, h.row.Hash)
		if match = match && known; err == nil && !match && (len(applied) > 0 || who.Blind && who.Applied != "") {
			other, another = matching(plain, salt, applied)
		}
		return err
	})
	if err != nil {
		return h, false, fmt.Errorf("checking the password of %s: %w", account, err)
	}
	if another {
		return heldPassword{row: other}, true, nil
	}
	return h, match, nil
}

// LockOut ends every session and code of an account, and destroys its password: nobody
// can log in to it, or acts for it, any more.
func (v *Vault) LockOut(ctx context.Context, account string) error {
	err := v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		some, err := changed(tx.NewDelete().Model((*password)(nil)).Where("account = ?", account).Exec(ctx))
		if err != nil {
			return false, err
		}
		ended, err := changed(tx.NewDelete().Model((*session)(nil)).Where("account = ?", account).Exec(ctx))
		if err != nil {
			return false, err
		}
		if _, err := tx.NewDelete().Model((*application)(nil)).Where("account = ?", account).Exec(ctx); err != nil {
			return false, err
		}
		return some || ended, endMade(ctx, tx, account)
	})
	if err != nil {
		return fmt.Errorf("locking %s out: %w", account, err)
	}
	return nil
}

// endMade ends the codes and invitations that an account has made: somebody who knew its
// password may have made them.
func endMade(ctx context.Context, tx bun.Tx, account string) error {
	if _, err := tx.NewDelete().Model((*invitation)(nil)).Where("account = ?", account).Where(unused).Exec(ctx); err != nil {
		return err
	}
	return forgetShareCodes(ctx, tx, account)
}

// PasswordChange is a prepared change of a password.
type PasswordChange struct {
	vault *Vault
	held  *heldPassword // the password that it replaces
	row   *password
}

// PreparePassword checks the current password of an account and hashes the next one. It
// changes nothing, and returns nil if the current one is wrong. Errors are those of
// LogIn.
func (v *Vault) PreparePassword(ctx context.Context, account, current, next string) (*PasswordChange, error) {
	held, right, err := v.holds(ctx, account, current)
	if err != nil || !right {
		return nil, err
	}
	change, err := v.PrepareReset(ctx, account, next)
	if err != nil {
		return nil, err
	}
	change.held = &held
	return change, nil
}

// PrepareReset hashes the next password of an account, whatever the current one is: but of
// two changes at once, the second is refused.
func (v *Vault) PrepareReset(ctx context.Context, account, next string) (*PasswordChange, error) {
	row, held := &password{Account: account}, &heldPassword{}
	err := v.db.NewSelect().Model(&held.row).Where("account = ?", account).Scan(ctx)
	if err != nil && !notFound(err) {
		return nil, fmt.Errorf("reading the password of %s: %w", account, err)
	}
	held.row.Account = account
	salt, err := v.saltFor(ctx, account)
	if err != nil {
		return nil, err
	}
	err = v.hash(ctx, func() (err error) {
		if salt != nil {
			row.Hash = hashWith(next, salt)
			return nil
		}
		row.Hash, err = hashPassword(next)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hashing the next password of %s: %w", account, err)
	}
	row.MAC = v.macOfPassword(account, row.Hash)
	return &PasswordChange{vault: v, row: row, held: held}, nil
}

// Commit replaces the password and ends every session of the account, in one transaction,
// and creates a new session in it unless n is nil. ErrPasswordChanged: another change was
// faster, or the account has no password any more; nothing was changed.
func (c *PasswordChange) Commit(ctx context.Context, n *NewSession) (token string, err error) {
	v, account := c.vault, c.row.Account
	var row *session
	if n != nil {
		row, token = v.newSession(account, *n)
	}
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		if err := c.held.still(ctx, tx); err != nil {
			return false, err
		}
		replaced, err := changed(tx.NewUpdate().Model(c.row).WherePK().Exec(ctx))
		if err != nil {
			return false, err
		}
		if !replaced { // it was erased in the meantime
			return false, ErrPasswordChanged
		}
		if err := endMade(ctx, tx, account); err != nil {
			return false, err
		}
		if _, err := tx.NewDelete().Model((*session)(nil)).Where("account = ?", account).Exec(ctx); err != nil || row == nil {
			return err == nil, err
		}
		return true, addSession(ctx, tx, row, 0)
	})
	if err != nil {
		return "", fmt.Errorf("changing the password of %s: %w", account, err)
	}
	return token, nil
}
