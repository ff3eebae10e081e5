package vault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/uptrace/bun"
)

// session is known by the keyed hash of its token only.
type session struct {
	bun.BaseModel `bun:"table:vault_sessions"`

	Token   string `bun:"token,pk"` // a MAC of its SHA-256 in hexadecimal, which earlier versions kept
	Account string `bun:"account,notnull"`
	Expires int64  `bun:"expires,notnull"` // Unix seconds
	MAC     string `bun:"mac,notnull,default:''"`
}

func (v *Vault) tokenHash(token string) string {
	h := sha256.Sum256([]byte(token))
	return v.mac("token", hex.EncodeToString(h[:]))
}

// NewSession makes a session that ends by itself after ttl and returns its
// token, which is not kept. If the account has more than most then, those end that
// would end first: an account whose programs log in and never out must not keep its
// owner from logging in. 0: it may have any number.
func (v *Vault) NewSession(ctx context.Context, account string, ttl time.Duration, most int) (string, error) {
	token := rand.Text()
	row := &session{Token: v.tokenHash(token), Account: account, Expires: v.now().Add(ttl).Unix()}
	row.MAC = v.macOfSession(row)
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil || most == 0 {
			return err
		}
		return dropSurplus(ctx, tx, row, most)
	})
	if err != nil {
		return "", fmt.Errorf("making a session for %s: %w", account, err)
	}
	return token, nil
}

// dropSurplus leaves an account so many sessions, the new one among them.
func dropSurplus(ctx context.Context, tx bun.Tx, added *session, most int) error {
	surplus := tx.NewSelect().Model((*session)(nil)).Column("token").
		Where("account = ? AND token <> ?", added.Account, added.Token).
		OrderExpr("expires DESC, token").Offset(int64(most) - 1).Limit(math.MaxInt32)
	_, err := tx.NewDelete().Model((*session)(nil)).Where("token IN (?)", surplus).Exec(ctx)
	return err
}

// Sessions counts the sessions of an account that have not ended.
func (v *Vault) Sessions(ctx context.Context, account string) (int, error) {
	n, err := v.db.NewSelect().Model((*session)(nil)).Where("account = ? AND expires > ?", account, v.now().Unix()).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("counting the sessions of %s: %w", account, err)
	}
	return int(n), nil
}

// Session returns the account that the session belongs to. ErrNoSession.
func (v *Vault) Session(ctx context.Context, token string) (account string, err error) {
	row := &session{Token: v.tokenHash(token)}
	err = v.readSession.QueryRowContext(ctx, row.Token).Scan(&row.Account, &row.Expires, &row.MAC)
	if notFound(err) || err == nil && (v.now().Unix() >= row.Expires || !equal(row.MAC, v.macOfSession(row))) {
		return "", ErrNoSession
	}
	if err != nil {
		return "", fmt.Errorf("looking for a session: %w", err)
	}
	return row.Account, nil
}

// EndSession ends a session; one that does not exist is ended already.
func (v *Vault) EndSession(ctx context.Context, token string) error {
	err := v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewDelete().Model(&session{Token: v.tokenHash(token)}).WherePK().Exec(ctx))
	})
	if err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// EndAllSessions ends every session, and raises what Taken returns to at least
// the number given.
func (v *Vault) EndAllSessions(ctx context.Context, taken uint64) error {
	if taken > math.MaxInt64 {
		return errors.New("ending all sessions: the count is out of bounds")
	}
	err := v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		if _, err := tx.NewDelete().Model((*session)(nil)).Where("1 = 1").Exec(ctx); err != nil {
			return false, err
		}
		if err := countTaken(ctx, tx); err != nil {
			return false, err
		}
		_, err := tx.NewUpdate().Model((*state)(nil)).Set("taken = ?", int64(taken)).Where("taken < ?", int64(taken)).Exec(ctx)
		return true, err
	}, false)
	if err != nil {
		return fmt.Errorf("ending all sessions: %w", err)
	}
	return nil
}

// DropExpiredSessions deletes the rows of sessions that have ended.
func (v *Vault) DropExpiredSessions(ctx context.Context) error {
	now := v.now().Unix()
	some, err := v.db.NewSelect().Model((*session)(nil)).Where("expires <= ?", now).Exists(ctx)
	if err == nil && some {
		err = v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
			return changed(tx.NewDelete().Model((*session)(nil)).Where("expires <= ?", now).Exec(ctx))
		}, true)
	}
	if err != nil {
		return fmt.Errorf("dropping expired sessions: %w", err)
	}
	return nil
}

// changed reports whether a statement changed or deleted a row.
func changed(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}
