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

	"latchkey/domain/event"
	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// RunnerConfig is what a Runner needs.
type RunnerConfig struct {
	Store  *Store
	Client *eventstore.Client
	// EndShares is the policy that follows a removed device: it takes the device
	// out of the shares. cause is the id of the event; it may be called again
	// for the same one, by several processes at once. The event may also be one
	// after which a share offers or has the device, though it was removed before.
	EndShares func(ctx context.Context, cause uuid.UUID, device string, shares []string) error
	Logger    *slog.Logger // nil: none
}

// Runner keeps the read models up to date: a Watermill router whose handlers are
// fed by a catch-up subscription, one for all read models that are about as far,
// and one for the policy. Several processes may run one on the same database.
type Runner struct {
	cfg      RunnerConfig
	progress map[string]*progress // of the checkpoints
	covered  map[string]*progress // the rows at the checkpoint lack no event up to there
	look     chan struct{}        // asks for a look at the checkpoints
	lacking  chan struct{}        // the privileges lack what no number was left for
	mended   int64                // mend's own: their generation after its last try

	mu         sync.Mutex
	projectors []*projector // of the round under way
	policy     *policy
	fitted     bool            // the log fitted once
	trouble    error           // why there is no round, nil if there is one
	rebuilding bool            // the read models are made again from a restored log
	seen       eventstore.Mark // of the last event that this process has handed on
	floor      uint64          // no list may lack an event up to here
	acked      uint64          // what this process has acknowledged
	head       head
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
	r := &Runner{
		cfg: cfg, progress: map[string]*progress{policies: newProgress()}, covered: map[string]*progress{},
		look: make(chan struct{}, 1), lacking: make(chan struct{}, 1), trouble: errStarting,
	}
	for _, name := range Names() {
		r.progress[name], r.covered[name] = newProgress(), newProgress()
	}
	return r, nil
}

// errStarting is the trouble of a runner that has not checked the log yet.
var errStarting = errors.New("the log was not checked yet")

// Acknowledged notes the position of a command that was answered: every later
// Read in this process sees it.
func (r *Runner) Acknowledged(position uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = max(r.acked, position)
}

// least is the position that every query must see: what the log held when it was
// checked, as a list that lacks that is incomplete, what every read model has
// had since, and what was acknowledged.
func (r *Runner) least() (position uint64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.floor, r.acked), r.fitted
}

// glance is how long Read waits before it looks at the checkpoint itself:
// another process may have written it.
const glance = 50 * time.Millisecond

// Read runs a query that must see a position, what was acknowledged here, and
// what the log held when this process began. The query is given the least
// position to ask for; while it returns ErrBehind, it is run again, until the
// context ends. Only the query proves that the position is seen: what this
// process knows of the checkpoints may be out of date.
//
// A read model that stands still all the time, as the log cannot be read further,
// is shown as it is to callers who name no position: they would see nothing for
// as long as that lasts, and readiness tells of it. One that comes on, or was
// made empty, is not.
func (r *Runner) Read(ctx context.Context, atLeast uint64, query func(atLeast uint64) error) error {
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

// readAt is Read without what the callers of this process must see.
func (r *Runner) readAt(ctx context.Context, query func() error) error {
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

// SharesWithDevice lists the live shares that hold a device, whatever became of it
// there, when the read model has seen a position, and those that it was perhaps
// taken out of after that. ErrBehind: the context ended first.
//
// It waits for no checkpoint to be written: where this process has read the log
// up to the position, the rows at its checkpoint lack nothing.
func (r *Runner) SharesWithDevice(ctx context.Context, device string, atLeast uint64) (holding, lost []string, err error) {
	if err := r.covered[SentShares].wait(ctx, atLeast); err != nil {
		return nil, nil, fmt.Errorf("listing the shares of a device: %w", err)
	}
	written := min(atLeast, r.progress[SentShares].position())
	err = r.readAt(ctx, func() error {
		found, err := r.cfg.Store.SharesWithDevice(ctx, device, written)
		holding, lost = found.Holding, found.Lost
		if found.Seen <= atLeast {
			lost = nil
		}
		return err
	})
	return holding, lost, err
}

// await waits a moment for a read model to come further.
func (r *Runner) await(ctx context.Context, behind *behindError) {
	p, ok := r.progress[behind.projection]
	if ok && p.position() < behind.want {
		ctx, cancel := context.WithTimeout(ctx, glance)
		defer cancel()
		_ = p.wait(ctx, behind.want) // the query looks for itself
		return
	}
	signal(r.look) // the checkpoint is not where this process saw it
	pause.For(ctx, glance/5)
}

// WaitFor returns when a read model, and those whose tables its queries need,
// have reached a position as far as this process knows. ErrBehind: the context
// ended first.
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

// Run keeps the read models up to date until the context ends. It returns an
// error only if the log never was the one that they were made from; later it
// waits until the right log is back.
func (r *Runner) Run(ctx context.Context) error {
	var telling sync.WaitGroup
	defer telling.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	telling.Go(func() { r.tell(ctx) })
	for wait := leastWait; ; {
		began := time.Now()
		err := r.live(ctx)
		if ctx.Err() != nil {
			return nil
		}
		r.mu.Lock()
		r.trouble = err
		fatal := Misfit(err) && !r.fitted
		r.mu.Unlock()
		switch {
		case fatal:
			return err
		case errors.Is(err, errWentBack):
			r.cfg.Logger.Warn("the read models go on from an earlier checkpoint", "reason", err)
			wait = 0
		case Misfit(err):
			wait = mostWait
		case time.Since(began) > time.Minute:
			wait = leastWait
		}
		pause.For(ctx, wait)
		wait = min(max(2*wait, leastWait), mostWait)
	}
}

// How long a runner waits before it tries again what has failed.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = time.Second
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
	if found.emptied { // positions of the log's earlier life mean nothing in this one
		r.seen, r.floor, r.acked, r.rebuilding = eventstore.Mark{}, 0, 0, true
	}
	r.floor = max(r.floor, found.last)
	r.fitted = true
	r.mu.Unlock()
	return r.round(ctx)
}

// round runs every projection until the context ends, one must read events again
// or the log is not the same any more.
func (r *Runner) round(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	projectors, policy, err := r.fresh(ctx)
	if err != nil {
		return err
	}
	// Its handlers' failures are told by themselves, once.
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("running the projections: %w", err)
	}
	subscribers := []message.Subscriber{}
	consume := func(topic string, f source) error {
		s, err := eventstore.NewSubscriber(r.cfg.Client, eventstore.SubscriberConfig{
			Prefix: event.Prefix, From: f.from, Logger: r.cfg.Logger,
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
	for i, f := range feeds(projectors) {
		if err := consume(fmt.Sprintf("projections %d", i), f); err != nil {
			return err
		}
	}
	if err := consume(policies, policy); err != nil {
		return err
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
		<-ctx.Done() // it also ends with its topics, whose end has a reason of its own
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

// resume checks the log before a subscription goes on with it.
func (r *Runner) resume(ctx context.Context, seen eventstore.Mark) error {
	r.saw(seen)
	return holds(ctx, r.cfg.Client, seen)
}

// saw keeps the mark of the last event that this process has handed on: no log
// without that event is the right one.
func (r *Runner) saw(m eventstore.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Position > r.seen.Position {
		r.seen = m
	}
}

// fresh makes what a round needs, each where its checkpoint is.
func (r *Runner) fresh(ctx context.Context) ([]*projector, *policy, error) {
	list, err := r.cfg.Store.checkpoints(ctx)
	if err != nil {
		return nil, nil, err
	}
	projectors := make([]*projector, len(all))
	for i, p := range all {
		projectors[i] = newProjector(r.cfg.Store, p, r.cfg.Logger, r.progress[p.name], r.covered[p.name])
		projectors[i].lost = func() { signal(r.look) }
		projectors[i].start(list[p.name])
	}
	policy := newPolicy(r.cfg, r.readAt, r.progress[policies])
	policy.start(list[policies])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.projectors, r.policy, r.trouble = projectors, policy, nil
	return projectors, policy, nil
}

// lookEvery is how often the checkpoints are looked at when nothing asks for it.
const lookEvery = time.Second

// watch looks at the checkpoints, again and again. It returns errWentBack when
// one is not where this process saw it.
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
			signal(r.look) // the database is away, and may have lost something when it is back
		}
	}
}

// compare looks at the checkpoints once.
func (r *Runner) compare(ctx context.Context, projectors []*projector) error {
	known := make([]uint64, len(projectors))
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
		c := list[p.p.name]
		if err := c.sound(); err != nil {
			return fmt.Errorf("projection %s: %w: %w", p.p.name, errWentBack, err)
		}
		switch halted := p.haltedAt(); {
		case uint64(c.Position) < known[i]:
			return fmt.Errorf("projection %s: %w, from %d to %d", p.p.name, errWentBack, known[i], c.Position)
		case c.mark().Identity != p.identity:
			return fmt.Errorf("projection %s: %w, to another epoch of the log", p.p.name, errWentBack)
		case halted != 0 && c.Position >= halted:
			return fmt.Errorf("projection %s: %w: another process has read the event at position %d", p.p.name, errWentBack, halted)
		}
		p.progress.reach(uint64(c.Position))
	}
	if list[Privileges].Lacks > 0 {
		signal(r.lacking)
	}
	r.raiseFloor(projectors)
	return nil
}

// raiseFloor notes what every read model has reached: should the database lose
// it, no list is older than that.
func (r *Runner) raiseFloor(projectors []*projector) {
	all := projectors[0].progress.position()
	for _, p := range projectors[1:] {
		all = min(all, p.progress.position())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.floor = max(r.floor, all)
}
