package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"latchkey/eventstore"
)

// ErrBehind is returned by a query whose read models have not seen the position that it
// must see, and if waiting for that failed.
var ErrBehind = errors.New("the read model is behind")

// Behind returns the ErrBehind of a query that found a read model at a position before
// the required one.
func Behind(projection string, at, want eventstore.Position) error {
	return &behindError{projection: projection, at: at, want: want}
}

// behindError is ErrBehind, with the read model.
type behindError struct {
	projection string
	at, want   eventstore.Position
}

func (e *behindError) Error() string {
	return fmt.Sprintf("the read model %s has seen position %d of the log, not %d", e.projection, e.at, e.want)
}

func (e *behindError) Is(target error) bool { return target == ErrBehind }

// progress is the position of a checkpoint, as known to this process, with a way to wait
// for it. It is a hint: a query that must see a position checks the checkpoint itself.
type progress struct {
	asked chan struct{} // a waiter was added

	mu      sync.Mutex
	at      eventstore.Position
	waiters map[*waiter]struct{}
}

// waiter waits for a position.
type waiter struct {
	position eventstore.Position
	reached  chan struct{} // closed when it is reached
}

func newProgress() *progress {
	return &progress{asked: make(chan struct{}, 1), waiters: map[*waiter]struct{}{}}
}

// reach records that the checkpoint is at least at a position.
func (p *progress) reach(position eventstore.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if position > p.at {
		p.set(position)
	}
}

// reset records a position even if it is lower.
func (p *progress) reset(position eventstore.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(position)
}

func (p *progress) set(position eventstore.Position) {
	p.at = position
	for w := range p.waiters {
		if w.position <= position {
			close(w.reached)
			delete(p.waiters, w)
		}
	}
}

func (p *progress) position() eventstore.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// due reports whether a waiter's position is not after this one.
func (p *progress) due(position eventstore.Position) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiters {
		if w.position <= position {
			return true
		}
	}
	return false
}

// wait returns when a position is reached. ErrBehind: the context ended first.
func (p *progress) wait(ctx context.Context, position eventstore.Position) error {
	p.mu.Lock()
	if p.at >= position {
		p.mu.Unlock()
		return nil
	}
	w := &waiter{position, make(chan struct{})}
	p.waiters[w] = struct{}{}
	p.mu.Unlock()
	signal(p.asked)
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiters, w)
	return fmt.Errorf("%w: at position %d, waited for %d: %w", ErrBehind, p.at, position, ctx.Err())
}
