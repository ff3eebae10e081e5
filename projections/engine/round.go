package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"

	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// live checks the log and runs the projections on it.
func (r *Runner) live(ctx context.Context) error {
	r.mu.Lock()
	seen := r.seen
	r.mu.Unlock()
	found, err := r.cfg.Store.check(ctx, r.cfg.Client, seen)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if found.emptied { // positions of the log's earlier life are meaningless in this one
		r.seen, r.floor, r.acked, r.rebuilding = eventstore.Mark{}, 0, 0, true
	}
	r.floor = max(r.floor, found.last)
	r.fitted = true
	r.mu.Unlock()
	return r.round(ctx)
}

// round runs every projection until the context ends, one must read events again, or the
// log has diverged.
func (r *Runner) round(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	projectors, followers, err := r.fresh(ctx)
	if err != nil {
		return err
	}
	// Its handlers report their failures themselves, once.
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("running the projections: %w", err)
	}
	subscribers := []message.Subscriber{}
	consume := func(topic string, f source) error {
		s, err := eventstore.NewSubscriber(r.cfg.Client, eventstore.SubscriberConfig{
			Prefix: r.cfg.Store.events.Prefix, From: f.from, Logger: r.cfg.Logger,
			Resume: func(ctx context.Context) error { return r.resume(ctx, f.mark()) },
			Failed: func(_ string, err error) { end(err) },
		})
		if err != nil {
			return fmt.Errorf("running the projections: %w", err)
		}
		subscribers = append(subscribers, s)
		router.AddConsumerHandler(topic, topic, s, f.handle)
		return nil
	}
	for i, f := range feeds(r.cfg.Store.events, projectors) {
		if err := consume(fmt.Sprintf("projections %d", i), f); err != nil {
			return err
		}
	}
	for _, f := range followers {
		if err := consume(f.Name(), f); err != nil {
			return err
		}
	}

	g, ctx := errgroup.WithContext(ctx)
	for _, p := range projectors {
		g.Go(func() error { return p.run(ctx) })
	}
	g.Go(func() error { return r.watch(ctx, projectors) })
	g.Go(func() error { return r.measure(ctx, projectors) })
	g.Go(func() error { return r.mend(ctx) })
	g.Go(func() error {
		if err := router.Run(ctx); err != nil {
			return fmt.Errorf("running the projections: %w", err)
		}
		<-ctx.Done() // it also ends with its topics, for which there is another reason
		return context.Cause(ctx)
	})
	err = errors.Join(g.Wait(), router.Close())
	for _, s := range subscribers {
		err = errors.Join(err, s.Close())
	}
	return err
}

// source is what a subscription feeds.
type source interface {
	from() eventstore.Position
	mark() eventstore.Mark
	handle(m *message.Message) error
}

// resume checks the log before a subscription resumes.
func (r *Runner) resume(ctx context.Context, seen eventstore.Mark) error {
	r.saw(seen)
	return holds(ctx, r.cfg.Client, seen)
}

// saw stores the mark of the last event that this process has passed on: no log without
// that event is the right one.
func (r *Runner) saw(m eventstore.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Position > r.seen.Position {
		r.seen = m
	}
}

// fresh creates what a round needs, each at its checkpoint.
func (r *Runner) fresh(ctx context.Context) ([]*projector, []*followed, error) {
	list, err := r.cfg.Store.checkpoints(ctx)
	if err != nil {
		return nil, nil, err
	}
	projectors := make([]*projector, len(r.cfg.Store.models))
	for i, p := range r.cfg.Store.models {
		projectors[i] = newProjector(r.cfg.Store, p, r.cfg.Logger, r.progress[p.Name], r.covered[p.Name])
		projectors[i].lost = func() { signal(r.look) }
		projectors[i].start(list[p.Name])
	}
	followers := make([]*followed, len(r.follows))
	for i, f := range r.follows {
		followers[i] = &followed{Follower: f, prefix: r.cfg.Store.events.Prefix, progress: r.progress[f.Name()], logger: r.cfg.Logger}
		followers[i].start(list[f.Name()])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.projectors, r.followers, r.trouble = projectors, followers, nil
	return projectors, followers, nil
}

// lookEvery is how often the checkpoints are read if nothing requests it.
const lookEvery = time.Second

// watch periodically reads the checkpoints. It returns errWentBack when one is not where
// this process saw it.
func (r *Runner) watch(ctx context.Context, projectors []*projector) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.look:
		case <-ctx.Done():
			return nil
		}
		err := r.compare(ctx, projectors)
		if errors.Is(err, errWentBack) {
			return err
		}
		if err != nil && pause.For(ctx, leastWait) {
			signal(r.look) // the database is unavailable, and may have lost something when it returns
		}
	}
}

// compare reads the checkpoints once.
func (r *Runner) compare(ctx context.Context, projectors []*projector) error {
	known := make([]eventstore.Position, len(projectors))
	for i, p := range projectors {
		known[i] = p.progress.position()
		r.saw(p.mark())
	}
	ctx, cancel := context.WithTimeout(ctx, stalledAfter)
	defer cancel()
	list, err := r.cfg.Store.checkpoints(ctx)
	if err != nil {
		return err
	}
	for i, p := range projectors {
		c := list[p.p.Name]
		if err := c.sound(); err != nil {
			return fmt.Errorf("projection %s: %w: %w", p.p.Name, errWentBack, err)
		}
		switch halted := p.haltedAt(); {
		case c.Position < known[i]:
			return fmt.Errorf("projection %s: %w, from %d to %d", p.p.Name, errWentBack, known[i], c.Position)
		case c.mark().Identity != p.identity:
			return fmt.Errorf("projection %s: %w, to another epoch of the log", p.p.Name, errWentBack)
		case halted != 0 && c.Position >= halted:
			return fmt.Errorf("projection %s: %w: another process has read the event at position %d", p.p.Name, errWentBack, halted)
		}
		p.progress.reach(c.Position)
		if p.p.Lacking != nil && p.p.Lacking(c.counts()) {
			signal(r.lacking)
		}
	}
	r.raiseFloor(projectors)
	return nil
}

// raiseFloor records what every read model has reached: if the database loses it, no
// older list is shown.
func (r *Runner) raiseFloor(projectors []*projector) {
	all := projectors[0].progress.position()
	for _, p := range projectors[1:] {
		all = min(all, p.progress.position())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.floor = max(r.floor, all)
}
