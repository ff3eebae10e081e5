package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// A lease lets one of all processes of a database act. It is in the row of a checkpoint:
// its holder, and its end. No transaction is open while the holder acts, so writers need
// not wait; and a process that dies or is paused loses the lease when its time is over.
// Only its holder can save the result.
//
// On PostgreSQL the clock is the server's, on SQLite that of the machine, which all
// processes of a file share. If it is set back, a lease lasts at most twice as long.

// AddLeases adds the columns for leases.
func AddLeases(ctx context.Context, s *Store) error {
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, c := range []Column{Text("holder"), Number("held_until")} {
			if err := s.addColumn(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// Followed returns the position of a follower's checkpoint, whichever process wrote it.
func (s *Store) Followed(ctx context.Context, name string) (position eventstore.Position, seen eventstore.Mark, err error) {
	c, err := s.checkpoint(ctx, name)
	if err == nil {
		err = c.sound()
	}
	if err != nil {
		return 0, eventstore.Mark{}, err
	}
	return c.Position, c.mark(), nil
}

// SaveFollowed advances a follower's checkpoint, unless another process has advanced it
// further. It is for followers that found nothing to do.
func (s *Store) SaveFollowed(ctx context.Context, name string, position eventstore.Position, seen eventstore.Mark) error {
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error { return s.moveOn(ctx, tx, name, position, seen) })
}

// Lease gives a holder the lease on a follower's checkpoint, or extends it: for the given
// time from now on. has is false if another holder has it.
func (s *Store) Lease(ctx context.Context, name, holder string, lasts time.Duration) (has bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
		if s.sqlite {
			now = fmt.Sprint(time.Now().UnixMicro()) // with the write lock
		}
		has, err = s.changes(ctx, tx, fmt.Sprintf(`UPDATE projection_checkpoints SET holder = $1, held_until = %[1]s + %[2]d
			WHERE name = $2 AND (holder IN ('', $1) OR held_until < %[1]s OR held_until > %[1]s + %[3]d)`, now, lasts.Microseconds(), 2*lasts.Microseconds()), holder, name)
		return err
	})
	return has, wrapped("leasing the checkpoint of "+name, err)
}

// Release ends the lease.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	return wrapped("giving the lease of "+name+" back", s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := s.release(ctx, tx, name, holder)
		return err
	}))
}

// SaveLeased advances a follower's checkpoint and ends the lease. saved is false if the
// holder has lost the lease: then nothing was saved.
func (s *Store) SaveLeased(ctx context.Context, name, holder string, position eventstore.Position, seen eventstore.Mark) (saved bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if saved, err = s.release(ctx, tx, name, holder); err != nil || !saved {
			return err
		}
		return s.moveOn(ctx, tx, name, position, seen)
	})
	return saved && err == nil, wrapped("saving what "+name+" has followed", err)
}

func (s *Store) release(ctx context.Context, tx bun.Tx, name, holder string) (held bool, err error) {
	return s.changes(ctx, tx, "UPDATE projection_checkpoints SET holder = '', held_until = 0 WHERE holder = $1 AND name = $2", holder, name)
}

// moveOn writes the checkpoint of a follower.
func (s *Store) moveOn(ctx context.Context, tx bun.Tx, name string, position eventstore.Position, seen eventstore.Mark) error {
	c, err := s.lock(ctx, tx, name)
	if err != nil || c.Position >= position {
		return err
	}
	if c.mark().Identity != seen.Identity {
		return fmt.Errorf("%s: %w, to another epoch of the log", name, errWentBack)
	}
	c.Position, c.State, c.Error = position, stateRunning, ""
	c.setMark(seen)
	return s.save(ctx, tx, c)
}

// changes runs a statement and reports whether it changed a row.
func (s *Store) changes(ctx context.Context, tx bun.Tx, q string, args ...any) (bool, error) {
	done, err := tx.Tx.ExecContext(ctx, s.placed(q), args...)
	if err != nil {
		return false, err
	}
	n, err := done.RowsAffected()
	return n > 0, err
}
