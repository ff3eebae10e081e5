package vault

import (
	"context"
	"fmt"
	"runtime"

	"github.com/alexedwards/argon2id"
	"github.com/uptrace/bun"
)

// hashingParams are OWASP's second choice for Argon2id: 19 MiB, two passes.
var hashingParams = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// hashingAtOnce bounds the memory and the cores that a flood of logins takes.
var hashingAtOnce = max(1, runtime.NumCPU())

// password is the hash of an account's password, in the PHC string format.
type password struct {
	bun.BaseModel `bun:"table:vault_passwords"`

	Account string `bun:"account,pk"`
	Hash    string `bun:"hash,notnull"`
}

func hashPassword(plain string) (string, error) {
	h, err := argon2id.CreateHash(plain, hashingParams)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return h, nil
}

// SetPassword sets or replaces the password of an account. It makes the key of
// the account's person in the same transaction, if the vault has none.
func (v *Vault) SetPassword(ctx context.Context, account, plain string) error {
	row := &password{Account: account}
	err := v.hash(ctx, func() (err error) { row.Hash, err = hashPassword(plain); return err })
	if err != nil {
		return err
	}
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		if _, err := v.ensureKey(ctx, tx, account); err != nil {
			return false, err
		}
		replaced, err := changed(tx.NewUpdate().Model(row).WherePK().Exec(ctx))
		if err != nil || replaced {
			return replaced, err
		}
		_, err = tx.NewInsert().Model(row).On("CONFLICT (account) DO UPDATE").Set("hash = EXCLUDED.hash").Exec(ctx)
		return false, err
	})
	if err != nil {
		return fmt.Errorf("setting the password of %s: %w", account, err)
	}
	return nil
}

// HasPassword reports whether the account has a password. An account that is in
// the log and has none here was lost with a part of the vault: nobody can log in
// to it.
func (v *Vault) HasPassword(ctx context.Context, account string) (bool, error) {
	has, err := v.db.NewSelect().Model((*password)(nil)).Where("account = ?", account).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking for the password of %s: %w", account, err)
	}
	return has, nil
}

// VerifyPassword compares a password with that of the account. An account
// without one, or "" for none at all, costs the same time and is never right.
func (v *Vault) VerifyPassword(ctx context.Context, account, plain string) (bool, error) {
	row := &password{Account: account}
	err := v.db.NewSelect().Model(row).WherePK().Scan(ctx)
	known := err == nil && account != ""
	if err != nil && !notFound(err) {
		return false, fmt.Errorf("reading the password of %s: %w", account, err)
	}
	if !known {
		row.Hash = v.dummy
	}
	var match bool
	err = v.hash(ctx, func() (err error) { match, err = argon2id.ComparePasswordAndHash(plain, row.Hash); return err })
	if err != nil {
		return false, fmt.Errorf("checking the password of %s: %w", account, err)
	}
	return match && known, nil
}

// hash runs f when fewer than hashingAtOnce others run.
func (v *Vault) hash(ctx context.Context, f func() error) error {
	select {
	case v.hashing <- struct{}{}:
		defer func() { <-v.hashing }()
		return f()
	case <-ctx.Done():
		return fmt.Errorf("waiting to hash a password: %w", ctx.Err())
	}
}
