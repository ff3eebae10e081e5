package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Log is the source of a rebuild.
type Log interface {
	ReadAll(ctx context.Context, after eventstore.Position, prefix string, each func(eventstore.Recorded) error) error
	Tail(ctx context.Context, most int, each func(eventstore.Recorded) (more bool)) error
	Identify(ctx context.Context) (eventstore.Identity, error)
}

// RebuildProgress is the progress of a rebuild.
type RebuildProgress struct {
	Position eventstore.Position // in the log
	Head     eventstore.Position // the end of the log when the rebuild began
	Events   int64               // read
}

// ErrRebuildTaken is returned if another rebuild of the same read model was started,
// which continues instead of this one.
var ErrRebuildTaken = errors.New("another rebuild of the read model has started")

// shadow is the suffix of the tables that a rebuild fills.
const shadow = "_shadow"

// Rebuild rebuilds a read model from the log. It fills new tables while the old ones are
// read and written, by other processes, too; then it swaps them in one transaction.
// progress may be nil.
func (s *Store) Rebuild(ctx context.Context, name string, log Log, progress func(RebuildProgress)) error {
	p := s.find(name)
	if p == nil {
		return fmt.Errorf("rebuilding %q: no such projection; the projections are %s", name, strings.Join(s.Names(), ", "))
	}
	r := &rebuild{store: s, p: p, log: log, token: rand.Text(), reducer: p.newReducer(), told: progress}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("rebuilding %s: %w", name, err)
	}
	return nil
}

type rebuild struct {
	store   *Store
	p       *Projection
	log     Log
	token   string // identifies the rebuild in the checkpoint
	reducer Reducer
	told    func(RebuildProgress)

	at       RebuildProgress
	mark     eventstore.Mark     // of the last event of ours that was read
	position eventstore.Position // of that event
	counts   Counts              // of the shadow
	list     []Record            // read, but not in the shadow yet
	bytes    int                 // of list
}

func (r *rebuild) run(ctx context.Context) error {
	var err error
	if r.mark.Identity, err = r.log.Identify(ctx); err != nil {
		return err
	}
	if err := r.log.Tail(ctx, 1, func(e eventstore.Recorded) bool { r.at.Head = e.Position; return false }); err != nil {
		return fmt.Errorf("finding the end of the log: %w", err)
	}
	generation, err := r.begin(ctx)
	if err != nil {
		return err
	}
	if err := r.fill(ctx); err != nil {
		return err
	}
	err = r.locked(ctx, func(ctx context.Context, tx bun.Tx, _ *checkpoint) error {
		return r.store.createIndexes(ctx, tx, r.p, shadow, generation)
	})
	if err != nil {
		return err
	}
	// The events since; the rest is small, and is read under the lock.
	if err := r.fill(ctx); err != nil {
		return err
	}
	return r.swapUntilDone(ctx)
}

// begin creates empty tables, and records their owner in the checkpoint.
func (r *rebuild) begin(ctx context.Context) (generation int64, err error) {
	err = r.store.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		c, err := r.store.lock(ctx, tx, r.p.Name)
		if err != nil {
			return err
		}
		for _, t := range r.p.Tables {
			if _, err := tx.ExecContext(ctx, "DROP TABLE IF EXISTS "+t.Name+shadow); err != nil {
				return fmt.Errorf("dropping the leftovers of another rebuild: %w", err)
			}
		}
		if err := r.store.createTables(ctx, tx, r.p, shadow); err != nil {
			return err
		}
		c.Rebuild, generation = r.token, c.Generation+1
		return r.store.save(ctx, tx, c)
	})
	return generation, err
}

// locked runs f in a transaction with the checkpoint's lock, if the rebuild is
// still ours.
func (r *rebuild) locked(ctx context.Context, f func(context.Context, bun.Tx, *checkpoint) error) error {
	return r.store.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		c, err := r.store.lock(ctx, tx, r.p.Name)
		if err != nil {
			return err
		}
		if c.Rebuild != r.token {
			return ErrRebuildTaken
		}
		return f(ctx, tx, c)
	})
}

// fill brings the shadow to the end of the log.
func (r *rebuild) fill(ctx context.Context) error {
	flush := func() error {
		err := r.locked(ctx, func(ctx context.Context, tx bun.Tx, _ *checkpoint) error { return r.write(ctx, tx) })
		if err != nil {
			return err
		}
		r.written()
		if r.told != nil {
			r.at.Position = r.position
			r.told(r.at)
		}
		return nil
	}
	err := r.read(ctx, func() error {
		if len(r.list) < r.store.backlog() && r.bytes < backlogBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// read reads the events after the last one read, to the end of the log, and calls enough
// after each event.
func (r *rebuild) read(ctx context.Context, enough func() error) error {
	events := r.store.events
	err := r.log.ReadAll(ctx, r.position, events.Prefix, func(e eventstore.Recorded) error {
		r.position = e.Position
		r.mark.Position, r.mark.Event = e.Position, e.ID
		r.at.Events++
		decoded, wanted, err := events.decodeOne(&e, r.p.reads)
		if err != nil || !wanted {
			return err
		}
		r.list = append(r.list, decoded)
		r.bytes += len(e.Data)
		return enough()
	})
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	return nil
}

// write writes the events read to the shadow.
func (r *rebuild) write(ctx context.Context, tx bun.Tx) error {
	return r.reducer.Reduce(r.store.newWriter(ctx, tx, &r.counts, shadow), r.list)
}

// written drops the events that are in the shadow.
func (r *rebuild) written() {
	clear(r.list)
	r.list, r.bytes = r.list[:0], 0
}

// swapUntilDone retries while queries hold the tables.
func (r *rebuild) swapUntilDone(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		kept := r.counts
		err := r.locked(ctx, r.swap)
		if !errors.Is(err, errBusy) {
			return err
		}
		r.counts = kept
		r.reducer.Forget() // nothing that it wrote is there
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errBusy is returned if the tables could not be locked for a swap.
var errBusy = errors.New("the tables are being read")

// lockTables locks a read model's tables against its readers; errBusy if that failed. It
// must give up sooner than PostgreSQL looks for deadlocks (1 s): otherwise a query that
// holds one table and waits for another would be the one that fails.
func (s *Store) lockTables(ctx context.Context, tx bun.Tx, p *Projection) error {
	if s.sqlite {
		return nil
	}
	names := make([]string, len(p.Tables))
	for i, t := range p.Tables {
		names[i] = t.Name
	}
	for _, q := range []string{"SET LOCAL lock_timeout = '250ms'", "LOCK TABLE " + strings.Join(names, ", ") + " IN ACCESS EXCLUSIVE MODE", "SET LOCAL lock_timeout = 0"} {
		_, err := tx.ExecContext(ctx, q)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == lockNotAvailable {
			return fmt.Errorf("%w: %w", errBusy, err)
		}
		if err != nil {
			return fmt.Errorf("locking the tables: %w", err)
		}
	}
	return nil
}

// lockNotAvailable is PostgreSQL's code for a lock_timeout.
const lockNotAvailable = "55P03"

// swap replaces the read model with the shadow. It holds the lock, so the checkpoint
// stays while it reads the rest.
func (r *rebuild) swap(ctx context.Context, tx bun.Tx, c *checkpoint) error {
	if err := r.read(ctx, func() error { return nil }); err != nil {
		return err
	}
	end, err := r.covers(ctx, c.Position)
	if err != nil {
		return err
	}
	if err := r.write(ctx, tx); err != nil {
		return err
	}
	if err := r.store.lockTables(ctx, tx, r.p); err != nil {
		return err
	}
	for _, t := range r.p.Tables {
		for _, q := range []string{"DROP TABLE " + t.Name, "ALTER TABLE " + t.Name + shadow + " RENAME TO " + t.Name} {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("swapping the table %s: %w", t.Name, err)
			}
		}
	}
	// A checkpoint beyond the end belongs to a log that lost its end.
	c.Position = max(min(c.Position, end), r.position)
	c.setMark(r.mark)
	c.setCounts(r.counts)
	c.Generation++
	c.Rebuild, c.State, c.Error = "", stateRunning, ""
	return r.store.save(ctx, tx, c)
}

// tailed is how many events of the end of the log are checked.
const tailed = 4096

// covers makes sure that no event up to the checkpoint is missing: the last read may have
// come from a follower that lags. It returns the end of the log.
func (r *rebuild) covers(ctx context.Context, checkpoint eventstore.Position) (end eventstore.Position, err error) {
	missing := false
	err = r.log.Tail(ctx, tailed, func(e eventstore.Recorded) bool {
		end = max(end, e.Position)
		if e.Position <= r.position {
			return false
		}
		missing = missing || e.Position <= checkpoint && strings.HasPrefix(e.Type, r.store.events.Prefix)
		return !missing
	})
	if err != nil {
		return 0, fmt.Errorf("finding the end of the log: %w", err)
	}
	if missing {
		return 0, errors.New("the node lags behind the log: try again")
	}
	return end, nil
}
