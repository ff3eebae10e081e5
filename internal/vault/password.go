package vault

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"latchkey/internal/heavy"
)

// password is the hash of an account's password, in the PHC string format.
type password struct {
	bun.BaseModel `bun:"table:vault_passwords"`

	Account string `bun:"account,pk"`
	Hash    string `bun:"hash,notnull"`
	MAC     string `bun:"mac,notnull,default:''"`
}

// SetPassword sets or replaces the password of an account. It makes the key of
// the account's person in the same transaction, if the vault has none.
// hashing.ErrBusy: too many passwords are waiting to be hashed; see hashing.For.
func (v *Vault) SetPassword(ctx context.Context, account, plain string) error {
	row := &password{Account: account}
	err := v.hash(ctx, func() (err error) { row.Hash, err = hashPassword(plain); return err })
	if err != nil {
		return fmt.Errorf("setting the password of %s: %w", account, err)
	}
	row.MAC = v.macOfPassword(account, row.Hash)
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		if _, err := v.ensureKey(ctx, tx, account); err != nil {
			return false, err
		}
		replaced, err := changed(tx.NewUpdate().Model(row).WherePK().Exec(ctx))
		if err != nil || replaced {
			return replaced, err
		}
		_, err = tx.NewInsert().Model(row).On("CONFLICT (account) DO UPDATE").Set("hash = EXCLUDED.hash, mac = EXCLUDED.mac").Exec(ctx)
		return false, err
	})
	if err != nil {
		return fmt.Errorf("setting the password of %s: %w", account, err)
	}
	return nil
}

// void precedes the hash of a password that is void.
const void = "void:"

// VoidPassword makes the password of an account void and ends its sessions: nobody can log
// in until a new one is set. It reports whether that changed anything.
func (v *Vault) VoidPassword(ctx context.Context, account string) (done bool, err error) {
	hash := void + v.dummy
	row := &password{Account: account, Hash: hash, MAC: v.macOfPassword(account, hash)}
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		done, err = changed(tx.NewUpdate().Model(row).WherePK().Where("hash NOT LIKE ?", void+"%").Exec(ctx))
		if err != nil || !done {
			return false, err
		}
		if err := endMade(ctx, tx, account); err != nil {
			return false, err
		}
		_, err := tx.NewDelete().Model((*session)(nil)).Where("account = ?", account).Exec(ctx)
		return true, err
	})
	if err != nil {
		return false, fmt.Errorf("making the password of %s void: %w", account, err)
	}
	return done, nil
}

// HasPassword reports whether the account has a password. An account that is in the log
// but has none here was lost with a part of the vault: nobody can log in to it.
func (v *Vault) HasPassword(ctx context.Context, account string) (bool, error) {
	has, err := v.db.NewSelect().Model((*password)(nil)).Where("account = ?", account).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking up the password of %s: %w", account, err)
	}
	return has, nil
}

// VerifyPassword compares a password with that of the account. An account without one, or
// "" for no account, takes the same time and the same place in the queue, and never
// matches. A hash that was made with weaker parameters than today's is replaced when the
// password is right.
//
// hashing.ErrBusy: too many passwords are waiting to be hashed; see hashing.For.
// ErrBadHash: no password can match the account's hash.
func (v *Vault) VerifyPassword(ctx context.Context, account, plain string) (bool, error) {
	held, right, err := v.holds(ctx, account, plain)
	if err == nil && held.renewed != "" {
		v.renew(ctx, &held.row, held.renewed)
	}
	return right, err
}

// renew replaces the hash of a password, unless it has changed in the meantime. If that
// fails, the log-in still succeeds, the next one tries again, and Ping reports a database
// that accepts no writes.
func (v *Vault) renew(ctx context.Context, row *password, renewed string) {
	_ = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model(row).Set("hash = ?, mac = ?", renewed, v.macOfPassword(row.Account, renewed)).WherePK().Where("hash = ?", row.Hash).Exec(ctx)
		return err
	})
}

// hash runs f when it is the turn of the context's caller.
func (v *Vault) hash(ctx context.Context, f func() error) (err error) {
	if queued := v.hashing.Do(ctx, func() { err = heavily(ctx, f) }); queued != nil {
		return queued
	}
	return err
}

// heavily runs f when a core is free for it.
func heavily(ctx context.Context, f func() error) error {
	end, err := heavy.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return f()
}
