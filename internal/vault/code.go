package vault

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/uptrace/bun"
)

// code is a code that proves that somebody reads what is sent to an address. The code
// itself is kept as a keyed hash, and so is what it is for.
type code struct {
	bun.BaseModel `bun:"table:vault_codes"`

	Subject string `bun:"subject,pk"`
	Hash    string `bun:"hash,notnull"`
	Expires int64  `bun:"expires,notnull"`   // Unix milliseconds
	Left    int    `bun:"remaining,notnull"` // attempts
	MAC     string `bun:"mac,notnull"`       // without the attempts
}

// NewCode makes a code of so many digits for a purpose, which is valid for a time and so
// many attempts. It replaces the one before.
func (v *Vault) NewCode(ctx context.Context, purpose string, digits int, ttl time.Duration, attempts int) (string, error) {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return "", fmt.Errorf("making a code: %w", err)
	}
	plain := fmt.Sprintf("%0*d", digits, n)
	row := &code{Subject: v.hidden("subject of a code", purpose), Expires: v.now().Add(ttl).UnixMilli(), Left: attempts}
	row.Hash = v.hashOfCode(row.Subject, plain)
	row.MAC = v.macOfCode(row)
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(row).On("CONFLICT (subject) DO UPDATE").
			Set("hash = EXCLUDED.hash, expires = EXCLUDED.expires, remaining = EXCLUDED.remaining, mac = EXCLUDED.mac").Exec(ctx)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keeping a code: %w", err)
	}
	return plain, nil
}

func (v *Vault) hashOfCode(subject, plain string) string { return v.mac("code", subject, plain) }

func (v *Vault) macOfCode(c *code) string {
	return v.mac("row of a code", c.Subject, c.Hash, strconv.FormatInt(c.Expires, 10))
}

// UseCode reports whether a code is the one of its purpose, and uses up an attempt. A
// code that is right is gone afterwards.
func (v *Vault) UseCode(ctx context.Context, purpose, plain string) (right bool, err error) {
	subject, now := v.hidden("subject of a code", purpose), v.now().UnixMilli()
	hash := v.hashOfCode(subject, plain)
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		right = false
		row := &code{Subject: subject}
		counted, err := changed(tx.NewUpdate().Model(row).Set("remaining = remaining - 1").WherePK().Where("remaining > 0 AND expires > ?", now).Exec(ctx))
		if err != nil {
			return err
		}
		if !counted { // the time must not tell: without a change, the commit would be faster
			if _, err := tx.NewUpdate().Model((*state)(nil)).Set("taken = taken").Where("id = ?", stateRow).Exec(ctx); err != nil {
				return err
			}
		}
		if err := tx.NewSelect().Model(row).WherePK().Scan(ctx); err != nil && !notFound(err) {
			return err
		}
		if !counted {
			return nil
		}
		if !equal(row.MAC, v.macOfCode(row)) || !equal(row.Hash, hash) {
			return nil
		}
		right = true
		_, err = tx.NewDelete().Model(row).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("checking a code: %w", err)
	}
	return right, nil
}

// DropCode forgets the code of a purpose.
func (v *Vault) DropCode(ctx context.Context, purpose string) error {
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model(&code{Subject: v.hidden("subject of a code", purpose)}).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("forgetting a code: %w", err)
	}
	return nil
}

// DropExpiredCodes deletes codes that nobody can use any more.
func (v *Vault) DropExpiredCodes(ctx context.Context) error {
	err := v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*code)(nil)).Where("expires <= ?", v.now().UnixMilli()).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("dropping expired codes: %w", err)
	}
	return nil
}
