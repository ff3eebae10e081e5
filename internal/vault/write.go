package vault

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
)

// writer commits what the vault changes. On SQLite, which has one writer and
// syncs each commit, changes that come at the same time share a transaction; a
// server of PostgreSQL does that by itself.
type writer struct {
	db     *bun.DB
	sqlite bool
	raise  bool // the server does not sync commits unless it is asked to

	doubt atomic.Int64 // when a change was not written, Unix nanoseconds; 0: the last one was

	mu      sync.Mutex
	waiting []*change
	busy    bool // a goroutine commits

	committing sync.Mutex // to SQLite
}

// change is something to write.
type change struct {
	ctx  context.Context
	do   func(context.Context, bun.Tx) error
	lazy bool
	done chan error
}

const (
	atOnce      = 256              // changes in one transaction
	writeWithin = 30 * time.Second // for one transaction
)

// durably runs do in a transaction and returns when it is on the disk. do may be
// run twice, and must not depend on what it did before.
func (w *writer) durably(ctx context.Context, do func(context.Context, bun.Tx) error) error {
	return w.write(ctx, do, false)
}

// lazily runs do in a transaction that a loss of power may undo. It is for what
// needs no more than that, such as dropping what has expired.
func (w *writer) lazily(ctx context.Context, do func(context.Context, bun.Tx) error) error {
	return w.write(ctx, do, true)
}

func (w *writer) write(ctx context.Context, do func(context.Context, bun.Tx) error, lazy bool) error {
	err := w.commitOne(ctx, do, lazy)
	switch {
	case err == nil && !lazy: // a small one may find room where others do not
		w.doubt.Store(0)
	case err != nil && ctx.Err() == nil:
		w.doubt.Store(time.Now().UnixNano())
	}
	return err
}

// doubtFor is how long a database that did not take a change counts as one that
// takes none, unless it takes another.
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
		return ctx.Err() // it may be written all the same
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

// commitAll commits what waits, until nothing does.
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

// commit commits a batch together. If that fails each change is tried alone, so
// that none fails because of another.
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
	// Who asked for the first change may stop waiting, and the others must not
	// fail for that.
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
			if err := c.do(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}
