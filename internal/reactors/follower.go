package reactors

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// Checkpoints stores the positions of reactors, and leases on them, for all processes of
// a database.
type Checkpoints interface {
	// Followed returns the position of a reactor, whichever process has followed.
	Followed(ctx context.Context, name string) (position eventstore.Position, seen eventstore.Mark, err error)
	// SaveFollowed saves the position if there was nothing to do.
	SaveFollowed(ctx context.Context, name string, position eventstore.Position, seen eventstore.Mark) error
	// Lease lets a holder act for a time from now on. has is false while another one may.
	Lease(ctx context.Context, name, holder string, lasts time.Duration) (has bool, err error)
	// Release ends the lease.
	Release(ctx context.Context, name, holder string) error
	// SaveLeased saves the reactor's position and ends the lease. saved is false if the
	// lease was lost.
	SaveLeased(ctx context.Context, name, holder string, position eventstore.Position, seen eventstore.Mark) (saved bool, err error)
}

// Follower follows events with a reactor, in one process at a time. Every process sees
// what is due after the events of the log. The first one takes the lease, does the work,
// and saves the checkpoint; the others then find it done, as projectors do.
type Follower struct {
	reactor     Reactor
	checkpoints Checkpoints
	holder      string // this process

	persisted time.Time
}

// Followers returns a follower for each reactor.
func Followers(checkpoints Checkpoints, list []Reactor) []*Follower {
	followers := make([]*Follower, len(list))
	for i, r := range list {
		followers[i] = &Follower{reactor: r, checkpoints: checkpoints, holder: rand.Text()}
	}
	return followers
}

const (
	// linger is the minimum age of events that are followed. The command that wrote them
	// does the same work unless it is interrupted, and should not race with the reactor.
	linger = 100 * time.Millisecond
	// persistEvery is how often the checkpoint is written if there was nothing to do.
	persistEvery = 30 * time.Second
	// leaseLasts is how long the lease of a process that died or was paused stays; an
	// active process renews it several times in that period.
	leaseLasts = 5 * time.Second
	renewEvery = leaseLasts / 4
	// lookEvery is how often the follower checks whether another process is done.
	lookEvery = 200 * time.Millisecond
)

// Name returns the name of the checkpoint.
func (f *Follower) Name() string { return f.reactor.Name }

// Start begins at the checkpoint.
func (f *Follower) Start(eventstore.Position, eventstore.Mark) { f.persisted = time.Now() }

// Follow follows events up to a position.
func (f *Follower) Follow(ctx context.Context, events []eventstore.Recorded, position eventstore.Position, seen eventstore.Mark) error {
	due, err := f.due(ctx, events, position)
	switch {
	case err != nil:
		return err
	case len(due) > 0:
		err = f.act(ctx, due, position, seen)
	case time.Since(f.persisted) > persistEvery:
		err = f.checkpoints.SaveFollowed(ctx, f.Name(), position, seen)
	default:
		return nil
	}
	if err == nil {
		f.persisted = time.Now()
	}
	return err
}

func (f *Follower) due(ctx context.Context, events []eventstore.Recorded, position eventstore.Position) ([]Action, error) {
	list, err := f.reactor.followed(events)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	last := events[len(events)-1].Created
	if !pause.For(ctx, min(linger, linger-time.Since(last))) {
		return nil, ctx.Err()
	}
	return f.reactor.Due(ctx, list, position)
}

// act does what is due, unless another process does.
func (f *Follower) act(ctx context.Context, due []Action, position eventstore.Position, seen eventstore.Mark) error {
	for {
		done, err := f.turn(ctx, due, position, seen)
		if done || err != nil {
			return err
		}
		if !pause.For(ctx, lookEvery) {
			return ctx.Err()
		}
	}
}

// turn does what is due if this process gets the lease. It reports whether all of it is
// done, by whichever process.
func (f *Follower) turn(ctx context.Context, due []Action, position eventstore.Position, seen eventstore.Mark) (done bool, err error) {
	has, err := f.checkpoints.Lease(ctx, f.Name(), f.holder, leaseLasts)
	if err != nil {
		return false, err
	}
	reached, at, err := f.checkpoints.Followed(ctx, f.Name())
	if err == nil && at.Identity != seen.Identity {
		err = fmt.Errorf("%s: the checkpoint is from another epoch of the log", f.Name())
	}
	if err != nil || !has || reached >= position {
		if has {
			err = errors.Join(err, f.release(ctx))
		}
		return err == nil && reached >= position, err
	}
	lost, err := f.holding(ctx, func(ctx context.Context) error { return doAll(ctx, due, reached) })
	switch {
	case lost:
		return false, nil
	case err != nil:
		return false, errors.Join(err, f.release(ctx))
	}
	return f.checkpoints.SaveLeased(ctx, f.Name(), f.holder, position, seen)
}

// doAll does what no other process has done.
func doAll(ctx context.Context, due []Action, reached eventstore.Position) error {
	for _, a := range due {
		if a.After.Position <= reached {
			continue
		}
		if err := a.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// holding renews the lease while f runs. If it is lost, the context of f ends.
func (f *Follower) holding(ctx context.Context, do func(context.Context) error) (lost bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var renewing sync.WaitGroup
	renewing.Go(func() {
		if lost = !f.renew(ctx); lost {
			cancel()
		}
	})
	err = do(ctx)
	cancel()
	renewing.Wait()
	return lost, err
}

// renew renews the lease until the context ends. It returns false if the lease was lost.
func (f *Follower) renew(ctx context.Context) bool {
	renewed := time.Now()
	for pause.For(ctx, renewEvery) {
		has, err := f.checkpoints.Lease(ctx, f.Name(), f.holder, leaseLasts)
		switch {
		case ctx.Err() != nil:
		case err == nil && has:
			renewed = time.Now()
		case err == nil, time.Since(renewed) > leaseLasts-renewEvery:
			return false
		}
	}
	return true
}

// release releases the lease, also when the context has ended.
func (f *Follower) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return f.checkpoints.Release(ctx, f.Name(), f.holder)
}
