package vault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// session is known by the hash of its token only; the token has 130 random
// bits, so a plain hash is enough.
type session struct {
	bun.BaseModel `bun:"table:vault_sessions"`

	Token   string `bun:"token,pk"` // SHA-256 in hexadecimal
	Account string `bun:"account,notnull"`
	Expires int64  `bun:"expires,notnull"` // Unix seconds
}

func tokenHash(token string) string {
	h := sha256.Sum256([]byte(token))
	return hex.EncodeToString(h[:])
}

// NewSession makes a session that ends by itself after ttl and answers its
// token, which is not kept.
func (v *Vault) NewSession(ctx context.Context, account string, ttl time.Duration) (string, error) {
	token := rand.Text()
	row := &session{Token: tokenHash(token), Account: account, Expires: v.now().Add(ttl).Unix()}
	if _, err := v.db.NewInsert().Model(row).Exec(ctx); err != nil {
		return "", fmt.Errorf("making a session for %s: %w", account, err)
	}
	return token, nil
}

// Session answers whose session the token is. ErrNoSession: nobody's.
func (v *Vault) Session(ctx context.Context, token string) (account string, err error) {
	row := &session{Token: tokenHash(token)}
	err = v.db.NewSelect().Model(row).WherePK().Scan(ctx)
	if notFound(err) || err == nil && v.now().Unix() >= row.Expires {
		return "", ErrNoSession
	}
	if err != nil {
		return "", fmt.Errorf("looking for a session: %w", err)
	}
	return row.Account, nil
}

// EndSession ends a session; one that does not exist is ended already.
func (v *Vault) EndSession(ctx context.Context, token string) error {
	if _, err := v.db.NewDelete().Model(&session{Token: tokenHash(token)}).WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// DropExpiredSessions deletes the rows of sessions that have ended.
func (v *Vault) DropExpiredSessions(ctx context.Context) error {
	_, err := v.db.NewDelete().Model((*session)(nil)).Where("expires <= ?", v.now().Unix()).Exec(ctx)
	if err != nil {
		return fmt.Errorf("dropping expired sessions: %w", err)
	}
	return nil
}
