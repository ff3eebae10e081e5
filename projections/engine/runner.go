package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// RunnerConfig configures a Runner.
type RunnerConfig struct {
	Store  *Store
	Client *eventstore.Client
	Logger *slog.Logger // nil: none
}

// Runner keeps the read models up to date: a Watermill router whose handlers are fed by
// catch-up subscriptions, one for all read models at about the same position, and one for
// each follower. Several processes may run one on the same database.
type Runner struct {
	cfg      RunnerConfig
	progress map[string]*progress // of the checkpoints
	covered  map[string]*progress // the rows at the checkpoint have every event up to there
	look     chan struct{}        // requests reading the checkpoints
	lacking  chan struct{}        // a read model is missing something: see Projection.Lacking
	mended   map[string]int64     // mend's own: the generation of a read model after its last attempt
	follows  []Follower

	mu         sync.Mutex
	projectors []*projector // of the current round
	followers  []*followed
	fitted     bool                // the log matched once
	trouble    error               // why there is no round, nil if there is one
	rebuilding bool                // the read models are being rebuilt from a restored log
	seen       eventstore.Mark     // of the last event that this process has passed on
	floor      eventstore.Position // no list may lack an event up to here
	acked      eventstore.Position // what this process has acknowledged
	head       head
}

// NewRunner checks the configuration.
func NewRunner(cfg RunnerConfig) (*Runner, error) {
	var faults []error
	if cfg.Store == nil {
		faults = append(faults, errors.New("a store is required"))
	}
	if cfg.Client == nil {
		faults = append(faults, errors.New("an event store client is required"))
	}
	if faults != nil {
		return nil, fmt.Errorf("creating the projection runner: %w", errors.Join(faults...))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Runner{
		cfg: cfg, progress: map[string]*progress{}, covered: map[string]*progress{},
		look: make(chan struct{}, 1), lacking: make(chan struct{}, 1), mended: map[string]int64{}, trouble: errStarting,
	}
	for _, name := range cfg.Store.Names() {
		r.progress[name], r.covered[name] = newProgress(), newProgress()
	}
	for _, name := range cfg.Store.followers {
		r.progress[name] = newProgress()
	}
	return r, nil
}

// Follow adds a follower. It must be called before Run.
func (r *Runner) Follow(f Follower) error {
	if r.progress[f.Name()] == nil {
		return fmt.Errorf("following events: no such checkpoint %q", f.Name())
	}
	r.follows = append(r.follows, f)
	return nil
}

// errStarting is the trouble of a runner that has not checked the log yet.
var errStarting = errors.New("the log has not been checked yet")

// Run keeps the read models up to date until the context ends. It returns an error only
// if the log never was the one that they were built from; later it waits until the right
// log is back.
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
			r.cfg.Logger.Warn("the read models resume from an earlier checkpoint", "reason", err)
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

// How long a runner waits before it retries what has failed.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = time.Second
)
