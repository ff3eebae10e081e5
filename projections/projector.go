package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// projector writes one read model. It takes events from its feed while its writer
// writes those that came before: a message is acknowledged when its events were
// taken, as what is written is in the checkpoint and nowhere else.
type projector struct {
	store    *Store
	p        *projection
	logger   *slog.Logger
	progress *progress
	reducer  reducer // the writer's own
	base     int64   // the writer's own: the checkpoint was here, or further on
	// generation, the writer's own, is that of the tables which the reducer knows.
	generation int64

	mu      sync.Mutex
	pending []recorded
	taken   int64         // pending holds every event up to here that is not written
	ready   chan struct{} // there is something to write
	room    chan struct{} // something was written
	err     error         // why it does not go on now
}

// backlog is how many events may have been taken and not been written, and so
// how many one transaction has while the projector catches up. On SQLite every
// other writer waits for it meanwhile.
func (s *Store) backlog() int {
	if s.sqlite {
		return 8 * eventstore.MaxBatch
	}
	return 32 * eventstore.MaxBatch
}

// persistEvery is how often a checkpoint is written though no event concerned
// the read model.
const persistEvery = 30 * time.Second

// errWentBack says that the database is older than what was read from it: it
// was restored. The events between must be read again.
var errWentBack = errors.New("the checkpoint went back")

func newProjector(s *Store, p *projection, logger *slog.Logger, reached *progress) *projector {
	return &projector{
		store: s, p: p, logger: logger, progress: reached, reducer: p.reducer(),
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// start puts the projector where its checkpoint is.
func (p *projector) start(c *checkpoint) {
	p.base, p.taken = c.Position, c.Position
	p.progress.reset(uint64(c.Position))
}

// position is the last one that was taken.
func (p *projector) position() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// stop notes why the projector does not go on.
func (p *projector) stop(ctx context.Context, err error) error {
	if p.failed(err) {
		p.logger.Error("a projection does not go on", "projection", p.p.name, "error", err)
		if err := p.store.fail(ctx, p.p.name, err); err != nil {
			p.logger.Warn("a failure could not be noted", "projection", p.p.name, "error", err)
		}
	}
	return err
}

// failed keeps an error, nil for none, and says whether it is another one.
func (p *projector) failed(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	other := err != nil && (p.err == nil || p.err.Error() != err.Error())
	p.err = err
	return other
}

func (p *projector) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// take hands the events that concern the read model over to the writer, when
// there is room.
func (p *projector) take(ctx context.Context, list []recorded, position int64) error {
	for {
		p.mu.Lock()
		if len(p.pending) < p.store.backlog() {
			break
		}
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer p.mu.Unlock()
	for _, e := range list {
		// What was taken comes again when another projector of the feed is behind,
		// and when the topic begins anew.
		if e.position > p.taken && p.p.reads(e.name) {
			p.pending = append(p.pending, e)
		}
	}
	p.taken = max(p.taken, position)
	signal(p.ready)
	return nil
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes what is taken until the context ends. It returns errWentBack when
// the events must be read again.
func (p *projector) run(ctx context.Context) error {
	persisted := time.Now()
	for {
		select {
		case <-p.ready:
		case <-ctx.Done():
			return nil
		}
		p.mu.Lock()
		list, position := p.pending, p.taken
		p.pending = nil
		p.mu.Unlock()
		signal(p.room)
		if len(list) > 0 || time.Since(persisted) > persistEvery {
			if err := p.writeUntilDone(ctx, list, position); err != nil {
				return err
			}
			persisted = time.Now()
		}
		if ctx.Err() != nil {
			return nil
		}
		p.progress.reach(uint64(position))
	}
}

// writeUntilDone tries again until it is written, or the context ends.
func (p *projector) writeUntilDone(ctx context.Context, list []recorded, position int64) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := p.write(ctx, list, position)
		if err == nil || errors.Is(err, errWentBack) || ctx.Err() != nil {
			p.failed(nil)
			return filtered(ctx, err)
		}
		p.reducer.forget()
		if p.failed(fmt.Errorf("projection %s: %w", p.p.name, err)) {
			p.logger.Error("a projection cannot be written; trying again", "projection", p.p.name, "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// filtered is no error where the context's end is the reason.
func filtered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// write applies the events that the rows lack, in one transaction with the
// checkpoint.
func (p *projector) write(ctx context.Context, list []recorded, position int64) error {
	base := p.base
	err := p.store.writing(ctx, func(ctx context.Context, tx bun.Tx) error {
		c, err := lock(ctx, tx, p.p.name, p.store.sqlite)
		if err != nil {
			return err
		}
		if c.Position < p.base {
			return fmt.Errorf("projection %s: %w, from %d to %d", p.p.name, errWentBack, p.base, c.Position)
		}
		if c.Position != p.base || c.Generation != p.generation {
			p.reducer.forget() // somebody else wrote
			p.generation = c.Generation
		}
		base = c.Position
		if c.Position >= position {
			return nil
		}
		if err := p.reduce(ctx, tx, list, c.Position); err != nil {
			return err
		}
		base = position
		c.Position, c.State, c.Error = position, stateRunning, ""
		return c.save(ctx, tx)
	})
	if err == nil {
		p.base = base
	}
	return err
}

func (p *projector) reduce(ctx context.Context, tx bun.Tx, list []recorded, behind int64) error {
	i, _ := slices.BinarySearchFunc(list, behind+1, func(e recorded, position int64) int {
		return int(min(max(e.position-position, -1), 1))
	})
	if i == len(list) {
		return nil
	}
	w := &writer{ctx: ctx, store: p.store, tx: tx, stmts: map[string]*sql.Stmt{}}
	return p.reducer.reduce(w, list[i:])
}
