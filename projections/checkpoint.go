package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// checkpoint says how far a read model is. Whoever writes the read model holds
// this row's lock, so one process at a time does; another finds, when it gets
// the lock, that it is done. On SQLite the lock is the database's own.
type checkpoint struct {
	bun.BaseModel `bun:"table:projection_checkpoints"`

	Name       string `bun:"name,pk,type:text"`
	Position   int64  `bun:"position,notnull,type:bigint"`   // rows hold every event up to here
	Generation int64  `bun:"generation,notnull,type:bigint"` // grows with each rebuild
	Rebuild    string `bun:"rebuild,notnull,type:text"`      // whose rebuild is under way, "" for none
	State      string `bun:"state,notnull,type:text"`
	Error      string `bun:"error,notnull,type:text"`
	Updated    int64  `bun:"updated,notnull,type:bigint"`
}

// The states of a projection.
const (
	stateNew     = "new"     // nothing was ever written
	stateRunning = "running" // as far as it is, it is right
	stateFailed  = "failed"  // it does not go on; Error says why
)

// lock waits for the lock on a checkpoint and reads it.
func lock(ctx context.Context, tx bun.Tx, name string, sqlite bool) (*checkpoint, error) {
	c := &checkpoint{Name: name}
	q := tx.NewSelect().Model(c).WherePK()
	if !sqlite {
		q = q.For("UPDATE")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("locking the checkpoint of %s: %w", name, err)
	}
	return c, nil
}

// save writes the row, whose lock the transaction has.
func (c *checkpoint) save(ctx context.Context, tx bun.Tx) error {
	c.Updated = time.Now().UnixMicro()
	if _, err := tx.NewUpdate().Model(c).WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("writing the checkpoint of %s: %w", c.Name, err)
	}
	return nil
}

// checkpoint reads a checkpoint without a lock.
func (s *Store) checkpoint(ctx context.Context, name string) (*checkpoint, error) {
	c := &checkpoint{Name: name}
	err := s.queries.NewSelect().Model(c).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("reading the checkpoint of %q: no such projection", name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint of %s: %w", name, err)
	}
	return c, nil
}

// fail notes that a projection does not go on, for whoever looks from outside.
// Another process may be better off and say so again.
func (s *Store) fail(ctx context.Context, name string, cause error) error {
	_, err := s.writes.NewUpdate().Model((*checkpoint)(nil)).
		Set("state = ?", stateFailed).Set("error = ?", cause.Error()).Set("updated = ?", time.Now().UnixMicro()).
		Where("name = ?", name).Exec(ctx)
	if err != nil {
		return fmt.Errorf("noting the failure of %s: %w", name, err)
	}
	return nil
}
