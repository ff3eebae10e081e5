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
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// session is identified only by the keyed hash of its token.
type session struct {
	bun.BaseModel `bun:"table:vault_sessions"`

	Token   string `bun:"token,pk"` // a MAC of its SHA-256 in hexadecimal, which earlier versions stored
	Account string `bun:"account,notnull"`
	Expires int64  `bun:"expires,notnull"` // Unix seconds
	MAC     string `bun:"mac,notnull,default:''"`
	Created int64  `bun:"created,notnull,default:0"`  // Unix seconds; 0: made by an earlier version
	Used    int64  `bun:"used,notnull,default:0"`     // Unix seconds of roughly the last use; not in the MAC
	Network string `bun:"network,notnull,default:''"` // keyed hash of the network that created it
}

// NewSession is a session to create.
type NewSession struct {
	TTL     time.Duration // after which it expires
	Network string        // that creates it; stored only as a keyed hash
	// Most is the maximum number of the account's sessions; 0: no limit. If it has more
	// then, those that would expire first are ended: an account whose programs log in and
	// never out must not keep its owner from logging in.
	Most int
}

// SessionView is a session as shown to its account.
type SessionView struct {
	ID          string    // public name; useless for logging in
	Created     time.Time // zero: unknown
	Used        time.Time // roughly the last use; zero: unknown
	Expires     time.Time
	SameNetwork bool // it was created from the given network
	Current     bool // it has the given token
}

// newSession returns the row of a session and its token, which is not stored.
func (v *Vault) newSession(account string, n NewSession) (row *session, token string) {
	token = rand.Text()
	now := v.now()
	row = &session{Token: v.tokenHash(token), Account: account, Expires: now.Add(n.TTL).Unix(), Created: now.Unix(), Used: now.Unix()}
	if n.Network != "" {
		row.Network = v.hidden("network of a session", n.Network)
	}
	row.MAC = v.macOfSession(row)
	return row, token
}

func addSession(ctx context.Context, tx bun.Tx, row *session, most int) error {
	if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil || most == 0 {
		return err
	}
	return dropSurplus(ctx, tx, row, most)
}

// id returns the public name of a session: a keyed hash, which reveals neither the row
// nor the token.
func (v *Vault) sessionID(row *session) string { return v.hidden("id of a session", row.Token) }

// SessionsOf lists the unexpired sessions of an account, the most recently used first,
// marking the one with the token and those created from a network.
func (v *Vault) SessionsOf(ctx context.Context, account, token, network string) ([]SessionView, error) {
	rows, err := v.liveSessions(ctx, v.db, account)
	if err != nil {
		return nil, fmt.Errorf("listing the sessions of %s: %w", account, err)
	}
	current, from := v.tokenHash(token), v.hidden("network of a session", network)
	list := make([]SessionView, len(rows))
	for i, row := range rows {
		list[i] = SessionView{
			ID: v.sessionID(&row), Created: unixTime(row.Created), Used: unixTime(max(row.Used, v.uses.last(row.Token))), Expires: unixTime(row.Expires),
			SameNetwork: row.Network != "" && row.Network == from, Current: row.Token == current,
		}
	}
	slices.SortStableFunc(list, func(a, b SessionView) int { return b.Used.Compare(a.Used) })
	return list, nil
}

func unixTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func (v *Vault) liveSessions(ctx context.Context, db bun.IDB, account string) ([]session, error) {
	var rows []session
	err := db.NewSelect().Model(&rows).Where("account = ? AND expires > ?", account, v.now().Unix()).OrderExpr("expires DESC, token").Scan(ctx)
	return slices.DeleteFunc(rows, func(row session) bool { return !equal(row.MAC, v.macOfSession(&row)) }), err
}

// EndSessionOf ends the session of an account with the id from SessionsOf. It reports
// whether there was one.
func (v *Vault) EndSessionOf(ctx context.Context, account, id string) (ended bool, err error) {
	rows, err := v.liveSessions(ctx, v.db, account)
	if err != nil {
		return false, fmt.Errorf("looking up a session of %s: %w", account, err)
	}
	at := slices.IndexFunc(rows, func(row session) bool { return equal(id, v.sessionID(&row)) })
	if at < 0 {
		return false, nil
	}
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewDelete().Model(&rows[at]).WherePK().Exec(ctx))
	})
	if err != nil {
		return false, fmt.Errorf("ending a session of %s: %w", account, err)
	}
	return true, nil
}

// EndOtherSessions ends the sessions of an account except that of the token.
func (v *Vault) EndOtherSessions(ctx context.Context, account, token string) error {
	err := v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewDelete().Model((*session)(nil)).Where("account = ? AND token <> ?", account, v.tokenHash(token)).Exec(ctx))
	})
	if err != nil {
		return fmt.Errorf("ending the other sessions of %s: %w", account, err)
	}
	return nil
}

func (v *Vault) tokenHash(token string) string {
	h := sha256.Sum256([]byte(token))
	return v.mac("token", hex.EncodeToString(h[:]))
}

// NewSession creates a session and returns its token, which is not stored.
func (v *Vault) NewSession(ctx context.Context, account string, n NewSession) (string, error) {
	row, token := v.newSession(account, n)
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error { return addSession(ctx, tx, row, n.Most) })
	if err != nil {
		return "", fmt.Errorf("creating a session for %s: %w", account, err)
	}
	return token, nil
}

// dropSurplus ends sessions above the limit, but not the new one.
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
	if v.sqlite { // does not wait for anything, and watching the context takes as long as the query
		ctx = context.WithoutCancel(ctx)
	}
	err = v.readSession.QueryRowContext(ctx, row.Token).Scan(&row.Account, &row.Expires, &row.MAC, &row.Created, &row.Network)
	if notFound(err) || err == nil && (v.now().Unix() >= row.Expires || !equal(row.MAC, v.macOfSession(row))) {
		return "", ErrNoSession
	}
	if err != nil {
		return "", fmt.Errorf("looking up a session: %w", err)
	}
	v.uses.note(row.Token, v.now().Unix())
	return row.Account, nil
}

// EndSession ends a session; it is not an error if it does not exist.
func (v *Vault) EndSession(ctx context.Context, token string) error {
	err := v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewDelete().Model(&session{Token: v.tokenHash(token)}).WherePK().Exec(ctx))
	})
	if err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// EndAllSessions ends every session, code and invitation, and raises the result of Taken to at least the given
// number.
func (v *Vault) EndAllSessions(ctx context.Context, taken uint64) error {
	if taken > math.MaxInt64 {
		return errors.New("ending all sessions: the count is out of bounds")
	}
	err := v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		for _, table := range Passing {
			if _, err := tx.NewDelete().Table(table).Where("1 = 1").Exec(ctx); err != nil {
				return false, err
			}
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
