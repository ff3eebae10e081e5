package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"latchkey/domain"
	"latchkey/eventstore"
	"latchkey/projections/internal/event"
)

// RunnerConfig is what a Runner needs.
type RunnerConfig struct {
	Store  *Store
	Client *eventstore.Client
	// EndShares is the policy that follows a removed device: it takes the device
	// out of the shares. cause is the id of the event; it may be called again
	// for the same one, by several processes at once.
	EndShares func(ctx context.Context, cause uuid.UUID, device string, shares []string) error
	Logger    *slog.Logger // nil: none
}

// Runner keeps the read models up to date: a Watermill router whose handlers are
// fed by a catch-up subscription, one for all read models that are about as far,
// and one for the policy. Several processes may run one on the same database.
type Runner struct {
	cfg      RunnerConfig
	progress map[string]*progress

	mu         sync.Mutex
	projectors []*projector
	policy     *policy
}

// NewRunner checks the configuration.
func NewRunner(cfg RunnerConfig) (*Runner, error) {
	var faults []error
	if cfg.Store == nil {
		faults = append(faults, errors.New("a store is needed"))
	}
	if cfg.Client == nil {
		faults = append(faults, errors.New("a client of the log is needed"))
	}
	if cfg.EndShares == nil {
		faults = append(faults, errors.New("EndShares is needed"))
	}
	if faults != nil {
		return nil, fmt.Errorf("making the runner of the projections: %w", errors.Join(faults...))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Runner{cfg: cfg, progress: map[string]*progress{policies: newProgress()}}
	for _, name := range Names() {
		r.progress[name] = newProgress()
	}
	return r, nil
}

// WaitFor returns when a projection has reached a position in this process's
// eyes, whichever process wrote it, and so have those whose tables its queries
// need. ErrBehind: the context ended first.
func (r *Runner) WaitFor(ctx context.Context, projection string, position uint64) error {
	names := []string{projection}
	if p := find(projection); p != nil {
		names = append(names, p.joins...)
	}
	for _, name := range names {
		p, ok := r.progress[name]
		if !ok {
			return fmt.Errorf("waiting for the projection %q: there is none", name)
		}
		if err := p.wait(ctx, position); err != nil {
			return fmt.Errorf("waiting for the projection %s: %w", name, err)
		}
	}
	return nil
}

// State says in a word how the projections are, and whether they go on.
func (r *Runner) State(context.Context) (string, bool) {
	if err := r.Err(); err != nil {
		return stateFailed, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.projectors == nil {
		return "starting", false
	}
	return stateRunning, true
}

// Err says why a projection, or the policy, does not go on now; nil: all do.
func (r *Runner) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, p := range r.projectors {
		errs = append(errs, p.failure())
	}
	if r.policy != nil {
		errs = append(errs, r.policy.failure())
	}
	return errors.Join(errs...)
}

// Run keeps the projections up to date until the context ends.
func (r *Runner) Run(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		began := time.Now()
		err := r.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > time.Minute {
			wait = 100 * time.Millisecond
		}
		r.cfg.Logger.Warn("the projections begin anew", "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// round runs every projection until the context ends or one must read events
// again.
func (r *Runner) round(ctx context.Context) error {
	projectors, policy, err := r.fresh(ctx)
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, watermill.NewSlogLogger(r.cfg.Logger))
	if err != nil {
		return fmt.Errorf("running the projections: %w", err)
	}
	subscribers := []message.Subscriber{}
	consume := func(topic, prefix string, from func() eventstore.Position, handle message.NoPublishHandlerFunc) error {
		s, err := eventstore.NewSubscriber(r.cfg.Client, eventstore.SubscriberConfig{Prefix: prefix, From: from, Logger: r.cfg.Logger})
		if err != nil {
			return fmt.Errorf("running the projections: %w", err)
		}
		subscribers = append(subscribers, s)
		router.AddConsumerHandler(topic, topic, s, handle)
		return nil
	}
	for i, f := range feeds(projectors) {
		if err := consume(fmt.Sprintf("projections %d", i), domain.EventPrefix, f.from, f.handle); err != nil {
			return err
		}
	}
	if err := consume(policies, event.DeviceRemoved, policy.from, policy.handle); err != nil {
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	for _, p := range projectors {
		g.Go(func() error { return p.run(ctx) })
	}
	g.Go(func() error {
		if err := router.Run(ctx); err != nil {
			return fmt.Errorf("running the projections: %w", err)
		}
		return ctx.Err()
	})
	err = errors.Join(g.Wait(), router.Close())
	for _, s := range subscribers {
		err = errors.Join(err, s.Close())
	}
	return err
}

// fresh makes what a round needs, each where its checkpoint is.
func (r *Runner) fresh(ctx context.Context) ([]*projector, *policy, error) {
	projectors := make([]*projector, len(all))
	for i, p := range all {
		projectors[i] = newProjector(r.cfg.Store, p, r.cfg.Logger, r.progress[p.name])
		c, err := r.cfg.Store.checkpoint(ctx, p.name)
		if err != nil {
			return nil, nil, err
		}
		projectors[i].start(c)
	}
	policy := newPolicy(r.cfg, r.progress[SentShares], r.progress[policies])
	c, err := r.cfg.Store.checkpoint(ctx, policies)
	if err != nil {
		return nil, nil, err
	}
	policy.start(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.projectors, r.policy = projectors, policy
	return projectors, policy, nil
}
