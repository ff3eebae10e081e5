package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// Acknowledged records the position of a command that has returned: every later Read in
// this process sees it.
func (r *Runner) Acknowledged(position eventstore.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = max(r.acked, position)
}

// least returns the position that every query must see: the end of the log when it was
// checked, as a list without it is incomplete, what every read model has reached since,
// and what was acknowledged.
func (r *Runner) least() (position eventstore.Position, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.floor, r.acked), r.fitted
}

// glance is how long Read waits before it reads the checkpoint itself: another process
// may have written it.
const glance = 50 * time.Millisecond

// Read runs a query that must see a position, everything acknowledged here, and the end
// that the log had when this process began. The query gets the least position; while it
// returns ErrBehind, it is run again, until the context ends. Only the query proves that
// the position is seen: this process's knowledge of the checkpoints may be out of date.
//
// A read model that is permanently stopped, because the log cannot be read further, is
// shown as it is to callers who name no position: otherwise they would see nothing for as
// long as that lasts, and readiness reports it. One that advances, or was emptied, is
// not.
func (r *Runner) Read(ctx context.Context, atLeast eventstore.Position, query func(atLeast eventstore.Position) error) error {
	var first *behindError
	for {
		least, known := r.least()
		if !known {
			if !pause.For(ctx, glance) {
				return fmt.Errorf("%w: %w", ErrBehind, r.Err())
			}
			continue
		}
		err := query(max(atLeast, least))
		var behind *behindError
		if !errors.As(err, &behind) {
			return err
		}
		if first == nil {
			first = behind
		}
		r.await(ctx, behind)
		if ctx.Err() == nil {
			continue
		}
		if atLeast == 0 && behind.projection == first.projection && behind.at == first.at && first.at > 0 {
			return query(0)
		}
		return err
	}
}

// ReadAt is Read without the positions that the callers of this process must see.
func (r *Runner) ReadAt(ctx context.Context, query func() error) error {
	for {
		err := query()
		var behind *behindError
		if !errors.As(err, &behind) {
			return err
		}
		r.await(ctx, behind)
		if ctx.Err() != nil {
			return err
		}
	}
}

// Covered returns when this process has read the log up to a position, for a read model
// whose rows at its checkpoint then have every event up to there. It does not wait for a
// checkpoint to be written. ErrBehind: the context ended first.
func (r *Runner) Covered(ctx context.Context, projection string, position eventstore.Position) error {
	return r.covered[projection].wait(ctx, position)
}

// Written returns the position of a read model's checkpoint, as known to this process.
func (r *Runner) Written(projection string) eventstore.Position {
	return r.progress[projection].position()
}

// await waits briefly for a read model to advance.
func (r *Runner) await(ctx context.Context, behind *behindError) {
	p, ok := r.progress[behind.projection]
	if ok && p.position() < behind.want {
		ctx, cancel := context.WithTimeout(ctx, glance)
		defer cancel()
		_ = p.wait(ctx, behind.want) // the query checks it itself
		return
	}
	signal(r.look) // the checkpoint is not where this process saw it
	pause.For(ctx, glance/5)
}

// WaitFor returns when a read model, and those whose tables its queries need, have
// reached a position as known to this process. ErrBehind: the context ended first.
func (r *Runner) WaitFor(ctx context.Context, projection string, position eventstore.Position) error {
	names := []string{projection}
	if p := r.cfg.Store.find(projection); p != nil {
		names = append(names, p.Joins...)
	}
	for _, name := range names {
		p, ok := r.progress[name]
		if !ok {
			return fmt.Errorf("waiting for the projection %q: no such projection", name)
		}
		if err := p.wait(ctx, position); err != nil {
			return fmt.Errorf("waiting for the projection %s: %w", name, err)
		}
	}
	return nil
}
