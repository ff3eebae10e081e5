package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Seen is what read models had seen of the log in the state in which rows were read from
// them. The zero Seen is unknown.
type Seen struct {
	of []seenModel
}

// Known reports whether the state is known.
func (s Seen) Known() bool { return len(s.of) > 0 }

// seenModel identifies the rows of a read model: rows at the same position of the same log
// are the same, unless the read model was made anew, which raises the generation.
type seenModel struct {
	Name       string
	Position   eventstore.Position
	Generation int64
	Log        string
	Epoch      int64
	Event      string `bun:"event_id"`
}

const seenColumns = "name, position, generation, log, epoch, event_id"

// seenIn reads what read models have seen, in a transaction's snapshot.
func seenIn(ctx context.Context, tx bun.Tx, models []string) (Seen, error) {
	var rows []seenModel
	err := tx.NewSelect().Model(&rows).ModelTableExpr("projection_checkpoints").ColumnExpr(seenColumns).
		Where("name IN (?)", bun.List(models)).Scan(ctx)
	if err == nil && len(rows) != len(models) {
		err = errNoCheckpoint
	}
	return Seen{rows}, wrapped("reading checkpoints", err)
}

// seenNow reads what the same read models have seen now, in one statement.
func (s *Store) seenNow(ctx context.Context, before Seen) (now Seen, err error) {
	args, marks := make([]any, len(before.of)), make([]string, len(before.of))
	for i, m := range before.of {
		args[i], marks[i] = m.Name, fmt.Sprintf("$%d", i+1)
	}
	stmt, err := s.Prepared(ctx, "SELECT "+seenColumns+" FROM projection_checkpoints WHERE name IN ("+strings.Join(marks, ", ")+")") //nolint:sqlclosecheck // it is kept
	if err != nil {
		return Seen{}, err
	}
	rows, err := stmt.QueryContext(s.brief(ctx), args...)
	if err != nil {
		return Seen{}, fmt.Errorf("reading checkpoints: %w", err)
	}
	now.of, err = scanSeen(rows)
	if err == nil && len(now.of) != len(before.of) {
		err = errNoCheckpoint
	}
	return now, wrapped("reading checkpoints", err)
}

// brief returns the context for a query of a few rows: a file's answer does not wait for
// anything, and watching the context's end takes as long as the query.
func (s *Store) brief(ctx context.Context) context.Context {
	if s.sqlite {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func scanSeen(rows *sql.Rows) (list []seenModel, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var m seenModel
		if err := rows.Scan(&m.Name, &m.Position, &m.Generation, &m.Log, &m.Epoch, &m.Event); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

// behind returns ErrBehind unless each read model has seen a position.
func (s Seen) behind(atLeast eventstore.Position) error {
	for _, m := range s.of {
		if m.Position < atLeast {
			return Behind(m.Name, m.Position, atLeast)
		}
	}
	return nil
}

// Unchanged reports whether an account would be given the same rows now as it was when
// the read models had seen what it says. Like a query, it returns ErrBehind unless they
// have seen a position now, whichever process wrote that.
//
// It is false if that is not known: this process must have read every event in between.
func (r *Runner) Unchanged(ctx context.Context, before Seen, account string, atLeast eventstore.Position) (bool, error) {
	now, err := r.cfg.Store.seenNow(ctx, before)
	if err == nil {
		err = now.behind(atLeast)
	}
	if err != nil {
		return false, r.cfg.Store.noticed(err)
	}
	for _, is := range now.of {
		for _, was := range before.of {
			if is.Name == was.Name && !r.sameRows(was, is, account) {
				return false, nil
			}
		}
	}
	return true, nil
}

func (r *Runner) sameRows(was, is seenModel, account string) bool {
	moved := was
	moved.Position, moved.Event = is.Position, is.Event
	switch {
	case was == is:
		return true
	case moved != is || is.Position <= was.Position:
		return false
	}
	r.mu.Lock()
	projectors := r.projectors
	r.mu.Unlock()
	for _, p := range projectors {
		if p.p.Name == is.Name {
			return p.changes.none(account, was.Position, is.Position)
		}
	}
	return false
}

// changes records where in the log a read model's rows changed last, by account. Accounts
// share places; then a change of one counts as one of the other.
type changes struct {
	mu    sync.Mutex
	after eventstore.Position // every change since here is recorded
	until eventstore.Position // and up to here
	any   eventstore.Position // the last change that may concern every account
	of    [changePlaces]eventstore.Position
}

const changePlaces = 1 << 11

var changeSeed = maphash.MakeSeed()

func placeOf(account string) uint64 { return maphash.String(changeSeed, account) % changePlaces }

// start begins after a position; nothing before it is known.
func (c *changes) start(position eventstore.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after, c.until = position, position
}

// note records a change to an account's rows, "" for anybody's.
func (c *changes) note(account string, position eventstore.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if account == "" {
		c.any = position
	} else {
		c.of[placeOf(account)] = position
	}
}

// reach records that every change up to a position is noted.
func (c *changes) reach(position eventstore.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = max(c.until, position)
}

// none reports whether it is known that nothing changed for an account after a position,
// up to another.
func (c *changes) none(account string, after, upTo eventstore.Position) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.after <= after && upTo <= c.until && max(c.any, c.of[placeOf(account)]) <= after
}
