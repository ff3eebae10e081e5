package ptz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

// MaxLasting is how long a movement may last without another order, and MinLasting the
// least time for which one is begun.
const (
	MinLasting = 100 * time.Millisecond
	MaxLasting = 10 * time.Second
)

const (
	// idleAfter is how long a lease is kept without an order.
	idleAfter = 10 * time.Second
	// orderWithin limits an order, with the wait for those before it.
	orderWithin = 5 * time.Second
	// grace is how long an order that is being given when its lease ends has to finish, so
	// that the stop that follows arrives after it.
	grace = time.Second
	// stopWithin limits one attempt to stop a camera, and retryAtMost the pause between two.
	stopWithin  = 4 * time.Second
	retryAtMost = 30 * time.Second
	// giveUpAfter is how long a camera is told to stop that does not confirm it.
	giveUpAfter = 10 * time.Minute
	// awaitAtMost is how long a command that ended a lease waits for the stop.
	awaitAtMost = 2500 * time.Millisecond
	// closeWithin limits the stops when the process ends. Noted ones are sent at the next
	// start.
	closeWithin = 3 * time.Second
	// sessionsEvery is how often the sessions of leases are looked up.
	sessionsEvery = 2 * time.Second
)

// Config configures a Desk. Every field without a default is required.
type Config struct {
	Access   Access
	Heads    Heads
	Sessions Sessions
	Notes    Notes
	Uses     Uses // nil: uses are not recorded

	Logger  *slog.Logger          // discards
	Metrics prometheus.Registerer // nil: none
}

// Desk gives the orders. It is safe for concurrent use.
type Desk struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	before  []Channel // by an earlier process; used by Run

	mu       sync.Mutex
	channels map[Channel]*channel
	halts    map[*halt]struct{}
	closing  bool
	closed   chan struct{} // when closing
	jobs     sync.WaitGroup
}

// channel is a channel that somebody moves, or that has not stopped yet.
type channel struct {
	at   Channel
	turn chan struct{} // held while an order is given

	lease *lease // guarded by the desk's mu
	users int    // who has it, likewise; without any it is forgotten

	// Guarded by the turn.
	movement *movement // nil if it does not move, as far as we know; see moves
	noted    bool
	head     Head // nil: to be found
	last     Head // the one before, in case that no other is found

	moving atomic.Bool // it has a movement

	reads reads
}

// moves sets the movement of a channel. The caller has its turn.
func (ch *channel) moves(m *movement) {
	ch.movement = m
	ch.moving.Store(m != nil)
}

// movement is one order to move until told otherwise.
type movement struct {
	lease *lease
	timer *time.Timer // nil for one of an earlier process
}

// New returns a desk. It gives orders from now on; Run stops what was left moving.
func New(cfg Config) (*Desk, error) {
	var faults []error
	need := func(name string, there bool) {
		if !there {
			faults = append(faults, fmt.Errorf("%s is missing", name))
		}
	}
	need("Access", cfg.Access != nil)
	need("Heads", cfg.Heads != nil)
	need("Sessions", cfg.Sessions != nil)
	need("Notes", cfg.Notes != nil)
	if faults != nil {
		return nil, fmt.Errorf("configuring PTZ: %w", errors.Join(faults...))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	left, err := cfg.Notes.All() // before any of ours
	if err != nil {
		cfg.Logger.Error("which cameras were moving when the service ended is not fully known", "error", err)
	}
	return &Desk{
		before: left,
		cfg:    cfg, log: cfg.Logger, metrics: m,
		channels: map[Channel]*channel{}, halts: map[*halt]struct{}{}, closed: make(chan struct{}),
	}, nil
}

// Run stops the cameras that an earlier process left moving, ends leases with their
// sessions, and when the context ends every lease; then it returns once the cameras have
// been told to stop, or some time has passed.
func (d *Desk) Run(ctx context.Context) error {
	d.recover()
	tick := time.NewTicker(sessionsEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			d.checkSessions(ctx)
		case <-ctx.Done():
		}
	}
	d.close()
	return nil
}

// recover stops the channels that were moving when an earlier process ended.
func (d *Desk) recover() {
	for _, at := range d.before {
		l := newLease(access.Use{Device: at.Device, Channel: at.Number}, "")
		d.mu.Lock()
		l.channel = d.enter(at)
		l.ended = endedCrash
		d.mu.Unlock()
		d.log.Info("a camera may have been left moving; it is told to stop", "device", at.Device, "channel", at.Number)
		d.jobs.Go(func() {
			l.channel.turn <- struct{}{}
			if l.channel.movement == nil && !l.channel.noted {
				l.channel.noted = true
				l.channel.moves(&movement{lease: l})
			}
			<-l.channel.turn
			d.halt(l, nil)
			d.leave(l.channel)
		})
	}
	d.before = nil
}

func (d *Desk) close() {
	d.mu.Lock()
	d.closing = true
	for _, ch := range d.channels {
		if l := ch.lease; l != nil {
			d.end(l, endedClosing)
		}
	}
	d.mu.Unlock()
	close(d.closed)
	d.jobs.Wait()
}

// enter returns a channel for somebody who must leave it. The caller holds mu.
func (d *Desk) enter(at Channel) *channel {
	ch := d.channels[at]
	if ch == nil {
		ch = &channel{at: at, turn: make(chan struct{}, 1), reads: newReads()}
		d.channels[at] = ch
	}
	ch.users++
	return ch
}

func (d *Desk) leave(ch *channel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left(ch)
}

// left is leave for a caller who holds mu.
func (d *Desk) left(ch *channel) {
	if ch.users--; ch.users == 0 && d.channels[ch.at] == ch {
		delete(d.channels, ch.at)
	}
}

// Use is somebody who wants to move a channel.
type Use struct {
	Account ids.Account
	Session string     // token of the session; the lease ends with it
	Address netip.Addr // from where the orders come, for the owner; may be the zero value
	Device  ids.Device
	Channel int
}

func (u Use) channel() Channel { return Channel{Device: u.Device, Number: u.Channel} }

// access returns the use that a permit is held for.
func (u Use) access(transport string) access.Use {
	return access.Use{
		Subject: access.Subject{Account: u.Account}, Device: u.Device, Channel: u.Channel, Privilege: privilege.PTZ, Transport: transport, Address: u.Address,
	}
}
