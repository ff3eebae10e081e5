package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrBehind is returned by WaitFor when the context ends before the projection
// is where it should be.
var ErrBehind = errors.New("the projection is behind")

// progress is how far something is, with a way to wait for it.
type progress struct {
	mu      sync.Mutex
	at      uint64
	changed chan struct{} // closed when it changes
}

func newProgress() *progress { return &progress{changed: make(chan struct{})} }

// reach says that everything up to a position is done.
func (p *progress) reach(position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if position > p.at {
		p.set(position)
	}
}

// reset says so even when that is further back.
func (p *progress) reset(position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(position)
}

func (p *progress) set(position uint64) {
	p.at = position
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *progress) position() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *progress) wait(ctx context.Context, position uint64) error {
	for {
		p.mu.Lock()
		at, changed := p.at, p.changed
		p.mu.Unlock()
		if at >= position {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: at position %d, waited for %d: %w", ErrBehind, at, position, ctx.Err())
		}
	}
}
