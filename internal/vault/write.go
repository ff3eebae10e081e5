package vault

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
)

// writer commits changes of the vault. On SQLite, which has one writer and syncs each
// commit, concurrent changes share a transaction; a PostgreSQL server does that by
// itself.
type writer struct {
	db     *bun.DB
	sqlite bool
	raise  bool // the server does not sync commits unless requested to

	doubt atomic.Int64 // when a change failed, Unix nanoseconds; 0: the last one succeeded

	mu      sync.Mutex
	waiting []*change
	busy    bool // a goroutine is committing

	committing sync.Mutex // held while committing to SQLite
}

// change is something to write.
type change struct {
	ctx  context.Context
	do   func(context.Context, bun.Tx) error
	lazy bool
	done chan error

	mu   sync.Mutex
	left bool // nobody waits for it
}

// run does the change, unless nobody waits for it.
func (c *change) run(ctx context.Context, tx bun.Tx) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return nil
	}
	return c.do(ctx, tx)
}

// leave returns when the change is not being done and will not be: what it sets is the
// caller's again. If it was done, it may still be written.
func (c *change) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
}

const (
	atOnce      = 256              // changes in one transaction
	writeWithin = 30 * time.Second // for one transaction
)

// durably runs do in a transaction and returns when it is on the disk. do may run twice,
// and must not depend on what it did before.
func (w *writer) durably(ctx context.Context, do func(context.Context, bun.Tx) error) error {
	return w.write(ctx, do, false)
}

// lazily runs do in a transaction that a loss of power may undo. It is for changes that
// need no more, such as dropping expired rows.
func (w *writer) lazily(ctx context.Context, do func(context.Context, bun.Tx) error) error {
	return w.write(ctx, do, true)
}

func (w *writer) write(ctx context.Context, do func(context.Context, bun.Tx) error, lazy bool) error {
	err := w.commitOne(ctx, do, lazy)
	switch {
	case err == nil && !lazy: // a small one may fit where others do not
		w.doubt.Store(0)
	case err != nil && ctx.Err() == nil:
		w.doubt.Store(time.Now().UnixNano())
	}
	return err
}

// doubtFor is how long a database that rejected a change is considered read-only, unless
// it accepts another.
const doubtFor = 5 * time.Second

func (w *writer) commitOne(ctx context.Context, do func(context.Context, bun.Tx) error, lazy bool) error {
	if !w.sqlite {
		return w.onServer(ctx, do, lazy)
	}
	c := &change{ctx: ctx, do: do, lazy: lazy, done: make(chan error, 1)}
	w.mu.Lock()
	w.waiting = append(w.waiting, c)
	if !w.busy {
		w.busy = true
		go w.commitAll()
	}
	w.mu.Unlock()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		c.leave()
		return ctx.Err()
	}
}

func (w *writer) onServer(ctx context.Context, do func(context.Context, bun.Tx) error, lazy bool) error {
	return w.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		set := ""
		switch {
		case lazy:
			set = "SET LOCAL synchronous_commit = off"
		case w.raise:
			set = "SET LOCAL synchronous_commit = on"
		}
		if set != "" {
			if _, err := tx.ExecContext(ctx, set); err != nil {
				return err
			}
		}
		return do(ctx, tx)
	})
}

// commitAll commits waiting changes until there are none.
func (w *writer) commitAll() {
	for {
		w.mu.Lock()
		n := min(len(w.waiting), atOnce)
		batch := w.waiting[:n:n]
		w.waiting = w.waiting[n:]
		w.busy = n > 0
		w.mu.Unlock()
		if n == 0 {
			return
		}
		w.commit(batch)
	}
}

// commit commits a batch together. If that fails, each change is tried alone, so that
// none fails because of another.
func (w *writer) commit(batch []*change) {
	live := batch[:0]
	for _, c := range batch {
		if err := c.ctx.Err(); err != nil {
			c.done <- err
			continue
		}
		live = append(live, c)
	}
	if len(live) > 1 && w.commitTogether(live) == nil {
		for _, c := range live {
			c.done <- nil
		}
		return
	}
	for _, c := range live {
		c.done <- w.commitTogether([]*change{c})
	}
}

func (w *writer) commitTogether(batch []*change) (err error) {
	// The caller of the first change may stop waiting, and the others must not fail for
	// that.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), writeWithin)
	defer cancel()
	lazy := true
	for _, c := range batch {
		lazy = lazy && c.lazy
	}
	w.committing.Lock()
	defer w.committing.Unlock()
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if lazy {
		if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
			return err
		}
		defer func() {
			_, again := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous = FULL")
			err = errors.Join(err, again)
		}()
	}
	return conn.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, c := range batch {
			if err := c.run(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}
