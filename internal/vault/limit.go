package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// limit is how much of an allowance a name has used up, shared by all processes on one
// database. The name is a keyed hash: no address is stored.
type limit struct {
	bun.BaseModel `bun:"table:vault_limits"`

	Name string `bun:"name,pk"`
	Full int64  `bun:"spent_at,notnull"` // Unix microseconds: when the allowance is full again
}

// network is one from which somebody has logged in. Both are keyed hashes.
type network struct {
	bun.BaseModel `bun:"table:vault_networks"`

	Login   string `bun:"login,pk"`
	Network string `bun:"network,pk"`
	Seen    int64  `bun:"seen,notnull"` // Unix seconds
}

const (
	networksKept   = 16                   // of one login
	networkForgets = 180 * 24 * time.Hour // after this time without a log-in
	networkFresh   = 24 * time.Hour       // within this time it is not recorded again
)

// Take uses up one of a name's burst, of which one is refilled per interval. It returns
// zero, or how long the name has to wait; then nothing was used up.
func (v *Vault) Take(ctx context.Context, name string, every time.Duration, burst int) (wait time.Duration, err error) {
	step := every.Microseconds()
	row := &limit{Name: v.hidden("limit", name)}
	err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		wait = 0
		now := v.now().UnixMicro()
		row.Full = now + step
		taken, err := changed(tx.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").
			Set("spent_at = CASE WHEN ?TableAlias.spent_at > ? THEN ?TableAlias.spent_at ELSE ? END + ?", now, now, step).
			Where("?TableAlias.spent_at <= ?", now+int64(burst-1)*step).Exec(ctx))
		if err != nil || taken {
			return err
		}
		if err := tx.NewSelect().Model(row).WherePK().Scan(ctx); err != nil {
			return err
		}
		wait = max(time.Duration(row.Full-now-int64(burst-1)*step)*time.Microsecond, time.Microsecond)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting against a limit: %w", err)
	}
	return wait, nil
}

// Forgive forgets what a name has used up.
func (v *Vault) Forgive(ctx context.Context, name string) error {
	err := v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model(&limit{Name: v.hidden("limit", name)}).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("forgetting a limit: %w", err)
	}
	return nil
}

// KnownNetwork reports whether somebody has logged in with the login from the
// network in the last months.
func (v *Vault) KnownNetwork(ctx context.Context, login, from string) (bool, error) {
	known, err := v.db.NewSelect().Model(v.network(login, from)).WherePK().Where("seen > ?", v.now().Add(-networkForgets).Unix()).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking up a network: %w", err)
	}
	return known, nil
}

// RememberNetwork records that somebody logged in with the login from the network. The
// most recent networks of each login are kept.
func (v *Vault) RememberNetwork(ctx context.Context, login, from string) error {
	row := v.network(login, from)
	fresh, err := v.db.NewSelect().Model(row).WherePK().Where("seen > ?", v.now().Add(-networkFresh).Unix()).Exists(ctx)
	if err == nil && !fresh {
		err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.NewInsert().Model(row).On("CONFLICT (login, network) DO UPDATE").Set("seen = EXCLUDED.seen").Exec(ctx); err != nil {
				return err
			}
			kept := tx.NewSelect().Model((*network)(nil)).Column("network").Where("login = ?", row.Login).OrderExpr("seen DESC, network").Limit(networksKept)
			_, err := tx.NewDelete().Model((*network)(nil)).Where("login = ?", row.Login).Where("network NOT IN (?)", kept).Exec(ctx)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("remembering a network: %w", err)
	}
	return nil
}

// DropSpentLimits deletes rows that have no effect any more.
func (v *Vault) DropSpentLimits(ctx context.Context) error {
	now := v.now()
	err := v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*limit)(nil)).Where("?TableAlias.spent_at <= ?", now.UnixMicro()).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*network)(nil)).Where("seen <= ?", now.Add(-networkForgets).Unix()).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("dropping spent limits: %w", err)
	}
	return nil
}

func (v *Vault) network(login, from string) *network {
	return &network{Login: v.hidden("login of a network", login), Network: v.hidden("network", from), Seen: v.now().Unix()}
}

// hidden returns a keyed hash of a name, so that it cannot be found by trial.
func (v *Vault) hidden(kind, name string) string {
	mac := hmac.New(sha256.New, v.naming)
	fmt.Fprintf(mac, "%s\x00%s", kind, name)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
