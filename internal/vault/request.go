package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"latchkey/internal/position"
)

// Request is the record of a command with an Idempotency-Key. Its strings are keyed
// hashes, computed elsewhere; they reveal nothing about the command.
type Request struct {
	Key         string // of the account and the Idempotency-Key
	Fingerprint string // of the command
	Token       string // of one claim
	Stream      string
	Until       time.Time // the claim lapses, unless it is done
	Expires     time.Time // when the record is dropped

	Done     bool
	Revision int64
	Position position.Position
	Answers  string // to the parts of a command that are refused one by one; "" for none
}

// request is the row of a Request. Times are Unix milliseconds.
type request struct {
	bun.BaseModel `bun:"table:vault_requests,alias:request"`

	ID          string            `bun:"id,pk"`
	Fingerprint string            `bun:"fingerprint,notnull"`
	Token       string            `bun:"token,notnull"`
	Stream      string            `bun:"stream,notnull"`
	Until       int64             `bun:"until,notnull"`
	Expires     int64             `bun:"expires,notnull"`
	Done        int               `bun:"done,notnull"` // 0 or 1
	Revision    int64             `bun:"revision,notnull"`
	Position    position.Position `bun:"position,notnull"`
	Answers     string            `bun:"answers,notnull"`
}

func rowOf(r Request) *request {
	row := &request{
		ID: r.Key, Fingerprint: r.Fingerprint, Token: r.Token, Stream: r.Stream,
		Until: r.Until.UnixMilli(), Expires: r.Expires.UnixMilli(), Revision: r.Revision, Position: r.Position, Answers: r.Answers,
	}
	if r.Done {
		row.Done = 1
	}
	return row
}

func (r *request) request() Request {
	return Request{
		Key: r.ID, Fingerprint: r.Fingerprint, Token: r.Token, Stream: r.Stream,
		Until: time.UnixMilli(r.Until), Expires: time.UnixMilli(r.Expires),
		Done: r.Done != 0, Revision: r.Revision, Position: r.Position, Answers: r.Answers,
	}
}

// ClaimRequest takes the key of a request. It is the caller's (mine) if the key is
// unknown, has expired at now, or is that of the same command whose claim has lapsed at
// now; otherwise the holder is returned. A loss of power may undo it: the log proves what
// a command wrote.
func (v *Vault) ClaimRequest(ctx context.Context, claim Request, now time.Time) (there Request, mine bool, err error) {
	row, at := rowOf(claim), now.UnixMilli()
	drop := v.expired.due(now)
	err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		if drop {
			if _, err := tx.NewDelete().Model((*request)(nil)).Where("expires <= ?", at).Exec(ctx); err != nil {
				return err
			}
		}
		taken, err := changed(tx.NewInsert().Model(row).On("CONFLICT (id) DO UPDATE").
			Set("fingerprint = EXCLUDED.fingerprint, token = EXCLUDED.token, stream = EXCLUDED.stream, until = EXCLUDED.until").
			Set("expires = EXCLUDED.expires, done = EXCLUDED.done, revision = EXCLUDED.revision, position = EXCLUDED.position, answers = EXCLUDED.answers").
			Where("request.expires <= ? OR request.done = 0 AND request.until <= ? AND request.fingerprint = EXCLUDED.fingerprint", at, at).
			Exec(ctx))
		if mine = taken; err != nil || mine {
			return err
		}
		found := &request{ID: claim.Key}
		if err := tx.NewSelect().Model(found).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		there = found.request()
		return nil
	})
	if err != nil {
		return Request{}, false, fmt.Errorf("claiming an Idempotency-Key: %w", err)
	}
	return there, mine, nil
}

// FindRequest returns what is recorded for a key; found is false if nothing is.
func (v *Vault) FindRequest(ctx context.Context, key string) (there Request, found bool, err error) {
	row := &request{ID: key}
	err = v.db.NewSelect().Model(row).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Request{}, false, nil
	}
	if err != nil {
		return Request{}, false, fmt.Errorf("looking for an Idempotency-Key: %w", err)
	}
	return row.request(), true, nil
}

// FinishRequest records the outcome of a claim that still has its key.
func (v *Vault) FinishRequest(ctx context.Context, done Request) error {
	row := rowOf(done)
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model(row).WherePK().Where("token = ?", row.Token).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("remembering what an Idempotency-Key was used for: %w", err)
	}
	return nil
}

// ReleaseRequest drops a claim that still has its key.
func (v *Vault) ReleaseRequest(ctx context.Context, claim Request) error {
	err := v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*request)(nil)).Where("id = ? AND token = ?", claim.Key, claim.Token).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("releasing an Idempotency-Key: %w", err)
	}
	return nil
}

// hourly reports when hourly work is due.
type hourly struct {
	mu   sync.Mutex
	last time.Time
}

func (h *hourly) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.last) < time.Hour {
		return false
	}
	h.last = now
	return true
}
