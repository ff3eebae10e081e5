package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// projector writes one read model. It takes events from its feed while its writer writes
// earlier ones: a message is acknowledged when its events were taken, as only the
// checkpoint records what is written.
type projector struct {
	store    *Store
	p        *Projection
	logger   *slog.Logger
	progress *progress
	covered  *progress           // every event up to here that concerns the read model is written
	identity eventstore.Identity // of the log that the events come from
	lost     func()              // called when the database failed
	changes  changes             // of the rows, as far as they were taken

	reducer    Reducer             // the writer's own
	base       eventstore.Position // the writer's own: the checkpoint was here, or later
	written    eventstore.Mark     // the writer's own: that of the checkpoint then
	generation int64               // the writer's own: that of the tables known to the reducer

	mu      sync.Mutex
	pending []Record
	bytes   int                 // of pending
	taken   eventstore.Position // pending holds every event up to here that is not written
	seen    eventstore.Mark     // of the last event of ours up to there
	halted  *unreadable         // an unreadable event: nothing after it is taken
	err     error               // why it cannot be written now
	writing time.Time           // since when it has been trying to write; zero: it is not
	ready   chan struct{}       // there is something to write
	room    chan struct{}       // something was written
}

// backlog is how many events may have been taken but not written, and thus the size of a
// transaction while the projector catches up. On SQLite every other writer waits for it
// meanwhile.
func (s *Store) backlog() int {
	if s.sqlite {
		return 8 * eventstore.MaxBatch
	}
	return 32 * eventstore.MaxBatch
}

// backlogBytes is their maximum total size, excluding the last message.
const backlogBytes = 8 * eventstore.MaxBatchBytes

// A checkpoint is also written if no event concerned the read model: when a query waits
// for it, when nothing has arrived for idleAfter, and every persistEvery.
const (
	idleAfter    = time.Second
	persistEvery = 30 * time.Second
)

// errWentBack is returned when the checkpoint is not where this process left it: the
// database was restored, a crash lost the last commits, or the rows are built from
// another epoch of the log. The events must be read again.
var errWentBack = errors.New("the checkpoint went back")

func newProjector(s *Store, p *Projection, logger *slog.Logger, reached, covered *progress) *projector {
	return &projector{
		store: s, p: p, logger: logger, progress: reached, covered: covered, reducer: p.newReducer(), lost: func() {},
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// start positions the projector at its checkpoint.
func (p *projector) start(c *checkpoint) {
	p.base, p.taken, p.seen, p.written = c.Position, c.Position, c.mark(), c.mark()
	p.identity = p.seen.Identity
	p.progress.reset(c.Position)
	p.covered.reset(c.Position)
	p.changes.start(c.Position)
}

// position returns the last one that was taken.
func (p *projector) position() eventstore.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// mark returns that of the last event that was taken.
func (p *projector) mark() eventstore.Mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// halt records why the projector has stopped.
func (p *projector) halt(ctx context.Context, err error) {
	p.logger.Error("a projection has stopped", "projection", p.p.Name, "error", err)
	if err := p.store.fail(ctx, p.p.Name, err); err != nil {
		p.logger.Warn("a failure could not be recorded", "projection", p.p.Name, "error", err)
	}
}

// failed stores an error, nil for none, and reports whether it is a new one.
func (p *projector) failed(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	other := err != nil && (p.err == nil || p.err.Error() != err.Error())
	p.err = err
	return other
}

// failure returns why the projector is stopped now, nil if it is not.
func (p *projector) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.halted != nil {
		return p.halted.err
	}
	return p.err
}

// haltedAt returns the position of an event that the projector cannot read, 0 if there is
// none.
func (p *projector) haltedAt() eventstore.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.halted == nil {
		return 0
	}
	return p.halted.position
}

// take passes the events that concern the read model to the writer, when there is room.
// An unreadable event among them stops the read model before it.
func (p *projector) take(ctx context.Context, b *taking) error {
	for {
		p.mu.Lock()
		if len(p.pending) < p.store.backlog() && p.bytes < backlogBytes {
			break
		}
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if p.halted != nil {
		p.mu.Unlock()
		return nil
	}
	position, seen := b.position, b.seen
	bad := b.unreadableFor(p.p, p.taken)
	if bad != nil {
		p.halted, position, seen = bad, bad.before, bad.seen
	}
	for _, e := range b.list {
		// Taken events are delivered again when another projector of the feed is behind,
		// and when the topic restarts.
		if e.Position > p.taken && e.Position <= position && p.p.reads(e.Raw.Type) {
			p.pending = append(p.pending, e)
			p.bytes += len(e.Raw.Data)
			p.changes.note(p.p.of(e), e.Position)
		}
	}
	if position > p.taken {
		p.taken = position
		p.changes.reach(position)
		if seen.Event != uuid.Nil {
			p.seen.Position, p.seen.Event = seen.Position, seen.Event
		}
	}
	p.mu.Unlock()
	signal(p.ready)
	if bad != nil {
		p.halt(ctx, bad.err)
	}
	return nil
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes taken events until the context ends. It returns errWentBack when the events
// must be read again.
func (p *projector) run(ctx context.Context) error {
	persisted := time.Now()
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		quiet := false
		select {
		case <-p.ready:
			idle.Reset(idleAfter)
		case <-p.progress.asked:
		case <-idle.C:
			quiet = true
		case <-ctx.Done():
			return nil
		}
		p.mu.Lock()
		list, position, seen := p.pending, p.taken, p.seen
		p.pending, p.bytes = nil, 0
		p.mu.Unlock()
		signal(p.room)
		behind := position > p.base && (quiet || p.progress.due(position) || time.Since(persisted) > persistEvery)
		if len(list) > 0 || behind {
			if err := p.writeUntilDone(ctx, list, position, seen); err != nil {
				return err
			}
			persisted = time.Now()
		}
		if ctx.Err() != nil {
			return nil
		}
		if quiet {
			p.reducer.Forget() // its cache is only for speed
		}
		p.covered.reach(min(position, p.position())) // it may have stopped before
	}
}

// writeUntilDone retries until it is written, or the context ends.
func (p *projector) writeUntilDone(ctx context.Context, list []Record, position eventstore.Position, seen eventstore.Mark) error {
	p.since(time.Now())
	defer p.since(time.Time{})
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := p.write(ctx, list, position, seen)
		if err == nil || errors.Is(err, errWentBack) || ctx.Err() != nil {
			p.failed(nil)
			return filtered(ctx, err)
		}
		if errors.Is(err, ErrDamaged) {
			return p.heal(ctx, err)
		}
		if bad, ok := errors.AsType[*unreadableError](err); ok {
			list, position, seen = p.stopBefore(ctx, list, bad)
			continue
		}
		p.reducer.Forget()
		p.lost()
		if p.failed(fmt.Errorf("projection %s: %w", p.p.Name, err)) {
			p.logger.Error("a projection cannot be written; retrying", "projection", p.p.Name, "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// stopBefore stops the read model before an event that its reducer cannot use, and
// returns the part of the list that can be written.
func (p *projector) stopBefore(ctx context.Context, list []Record, bad *unreadableError) ([]Record, eventstore.Position, eventstore.Mark) {
	n, _ := slices.BinarySearchFunc(list, bad.position, byPosition)
	list, position, seen := list[:n], p.base, p.written
	if n > 0 {
		last := list[n-1]
		position, seen.Position, seen.Event = last.Position, last.Raw.Position, last.Raw.ID
	}
	err := fmt.Errorf("projection %s: %w", p.p.Name, bad)
	p.reducer.Forget()
	p.mu.Lock()
	p.halted = &unreadable{name: p.p.Name, known: true, err: err, position: bad.position}
	p.pending, p.bytes, p.taken, p.seen = nil, 0, position, seen
	p.mu.Unlock()
	signal(p.room)
	p.halt(ctx, err)
	return list, position, seen
}

func byPosition(e Record, position eventstore.Position) int { return cmp.Compare(e.Position, position) }

// heal empties the read model. The next round checks it and reads the log again.
func (p *projector) heal(ctx context.Context, cause error) error {
	err := p.store.heal(ctx, p.p.Name, p.generation, cause)
	return filtered(ctx, errors.Join(fmt.Errorf("projection %s: %w: %w", p.p.Name, errWentBack, cause), err))
}

func (p *projector) since(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing = t
}

// filtered returns nil if the context's end is the reason.
func filtered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// write applies the events missing from the rows, in one transaction with the checkpoint
// and its mark.
func (p *projector) write(ctx context.Context, list []Record, position eventstore.Position, seen eventstore.Mark) error {
	base, written := p.base, p.written
	err := p.store.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		c, err := p.store.lock(ctx, tx, p.p.Name)
		if err != nil {
			return err
		}
		if c.Position < p.base {
			return fmt.Errorf("projection %s: %w, from %d to %d", p.p.Name, errWentBack, p.base, c.Position)
		}
		if c.mark().Identity != p.identity {
			return fmt.Errorf("projection %s: %w, to another epoch of the log", p.p.Name, errWentBack)
		}
		if c.Position != p.base || c.Generation != p.generation {
			p.reducer.Forget() // another process wrote
			p.generation = c.Generation
		}
		base, written = c.Position, c.mark()
		if c.Position >= position {
			return nil
		}
		if err := p.reduce(ctx, tx, list, c); err != nil {
			return err
		}
		base, written = position, seen
		c.Position, c.State, c.Error = position, stateRunning, ""
		if p.haltedAt() != 0 {
			c.State, c.Error = stateFailed, p.failure().Error()
		}
		c.setMark(seen)
		return p.store.save(ctx, tx, c)
	})
	if err == nil {
		p.base, p.written = base, written
		p.progress.reach(base)
	}
	return err
}

// reduce applies the events missing from the rows at a checkpoint.
func (p *projector) reduce(ctx context.Context, tx bun.Tx, list []Record, c *checkpoint) error {
	i, _ := slices.BinarySearchFunc(list, c.Position+1, byPosition)
	if i == len(list) {
		return nil
	}
	n := c.counts()
	w := p.store.newWriter(ctx, tx, &n, "")
	if err := p.reducer.Reduce(w, list[i:]); err != nil {
		return err
	}
	c.setCounts(n)
	if w.renewed {
		c.Generation++
		p.generation = c.Generation
	}
	return nil
}
