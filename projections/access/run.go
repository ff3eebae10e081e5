package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/event"
	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// errReload is returned when the index must be reloaded.
var errReload = errors.New("the privileges must be reloaded")

// retryEvery is how long the index waits before it checks again a log, or a read model,
// that is not as it should be.
const retryEvery = time.Second

// recheckEvery is how often every permit is checked again without a change.
const recheckEvery = time.Second

// Run loads the index and keeps it up to date until the context ends. It returns an error
// only if the first load fails; Health reports later errors.
func (x *Index) Run(ctx context.Context) error {
	if err := x.load(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { x.measure(ctx) })
	wg.Go(func() { x.watch(ctx) })
	wg.Go(func() { x.renew(ctx) })
	wg.Go(func() { x.permits.Run(ctx, recheckEvery) })
	for ctx.Err() == nil {
		err := x.follow(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, eventstore.ErrOtherEpoch):
			x.reload(ctx)
		case misfit(err):
			x.deny(stateDiverged, err)
			if errors.Is(x.untilFit(ctx), errReload) {
				x.reload(ctx)
			}
		default:
			x.deny(stateBroken, err)
			<-ctx.Done() // closed, and reporting it, until a better build is started
		}
	}
	return nil
}

// misfit reports whether err means that the log is not the one that the index was built
// from, or that events that it applied are missing.
func misfit(err error) bool {
	return errors.Is(err, eventstore.ErrLogCut) || errors.Is(err, eventstore.ErrOtherLog) || errors.Is(err, eventstore.ErrNoIdentity)
}

// follow applies the events of the log, until the context ends, an event cannot be read
// or the log has diverged.
func (x *Index) follow(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	x.mu.Lock()
	x.end = end
	x.mu.Unlock()
	err := x.cfg.Log.Subscribe(ctx, x.Position(), event.Prefix, eventstore.Handler{
		Name:   "privilege index",
		Resume: x.resume,
		Events: x.apply,
		Checkpoint: func(p eventstore.Position) error {
			x.advance(p)
			return nil
		},
		Connected: func(on bool) {
			if on {
				x.measureNow()
			}
		},
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// resume checks the log before the subscription resumes.
func (x *Index) resume(ctx context.Context) error {
	m := x.seen()
	if m.Log != uuid.Nil {
		return x.check(ctx, m)
	}
	// The rows had no mark yet: this is the log that they are compared with.
	id, err := x.cfg.Log.Identity(ctx)
	if errors.Is(err, eventstore.ErrNoIdentity) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the log's identity: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mark.Identity = id
	return nil
}

func (x *Index) check(ctx context.Context, m eventstore.Mark) error {
	if err := x.cfg.Log.Holds(ctx, m); err != nil {
		return fmt.Errorf("comparing the privileges (at position %d) with the log: %w", m.Position, err)
	}
	return nil
}

// seen returns the mark of the last applied event.
func (x *Index) seen() eventstore.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mark
}

// fault ends the subscription: the log has diverged.
func (x *Index) fault(err error) {
	x.mu.Lock()
	end := x.end
	x.mu.Unlock()
	if end != nil {
		end(err)
	}
}

// untilFit returns when the log is the right one again, or errReload if it was restored.
func (x *Index) untilFit(ctx context.Context) error {
	for {
		err := x.check(ctx, x.seen())
		if err == nil {
			x.admit()
			return nil
		}
		if errors.Is(err, eventstore.ErrOtherEpoch) {
			return errReload
		}
		if !pause.For(ctx, retryEvery) {
			return ctx.Err()
		}
	}
}

// reload reloads everything, from a read model that was built from the current log.
func (x *Index) reload(ctx context.Context) {
	x.cfg.Logger.Warn("the log was restored: reloading the privileges")
	x.deny(stateLoading, nil)
	told := ""
	for {
		err := x.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !errors.Is(err, eventstore.ErrOtherEpoch) && err.Error() != told { // otherwise it is being rebuilt
			told = err.Error()
			x.cfg.Logger.Warn("the privileges cannot be loaded; retrying", "error", err)
		}
		if !pause.For(ctx, retryEvery/4) {
			return
		}
	}
}

// deny closes the index, and notifies all viewers.
func (x *Index) deny(state uint32, err error) {
	x.mu.Lock()
	x.pulse.state.Store(state)
	x.pulse.fresh.Store(never)
	x.denies = err
	x.life++
	close(x.advanced)
	x.advanced = make(chan struct{})
	x.mu.Unlock()
	if err != nil {
		x.cfg.Logger.Error("the privilege index denies everything", "state", x.Health().State, "error", err)
	}
	x.changed(Change{})
}

// admit opens a closed index. It still denies everything until it was measured to be up
// to date.
func (x *Index) admit() {
	x.mu.Lock()
	x.pulse.state.Store(stateLive)
	x.denies = nil
	close(x.advanced) // the awaited position may be in what was loaded
	x.advanced = make(chan struct{})
	x.mu.Unlock()
	x.measureNow()
}

// Fit returns why no command may be acknowledged now: the log is not the one that the
// privileges were read from, or events that they saw are missing. It returns nil if the
// log is the right one as far as is known.
func (x *Index) Fit() error {
	if x.pulse.state.Load() != stateDiverged {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.denies
}

// Position returns that of the last event in force.
func (x *Index) Position() eventstore.Position { return eventstore.Position(x.position.Load()) }

// Appended checks where the log put an append. before is Position before the append: a
// log that puts new events there is not the one that the privileges were read from.
func (x *Index) Appended(ctx context.Context, before, position eventstore.Position) error {
	if position > before {
		return nil
	}
	m := x.seen()
	if m.Log == uuid.Nil {
		return nil
	}
	err := x.check(ctx, m) // a repeated append is where it was
	if misfit(err) || errors.Is(err, eventstore.ErrOtherEpoch) {
		x.fault(err)
	}
	return err
}
