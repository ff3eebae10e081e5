package device

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/alert"
)

// AlarmWatchConfig is what an AlarmWatch needs.
type AlarmWatchConfig struct {
	// Listen is Client.Alarms.
	Listen func(ctx context.Context, t AlarmTarget, told Told) error
	// Devices lists the devices in accounts, in the order of their ids, after one of them.
	Devices func(ctx context.Context, after string, most int) (ids []string, err error)
	// Target returns where a device is asked; false: it has no such address.
	Target func(ctx context.Context, device string) (AlarmTarget, bool, error)
	// Told is called with what a device says.
	Told func(ctx context.Context, device string, list []alert.Alert, zone *time.Location)
	// Lease takes or renews, for a time, the right to ask all devices, and reports whether
	// this process has it. EndLease gives it back.
	Lease    func(ctx context.Context, lasts time.Duration) (bool, error)
	EndLease func(ctx context.Context) error

	Most   int              // devices that are asked; 0: 1,024
	Every  time.Duration    // how often it is looked which devices there are: 60 s
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // discards
}

const (
	leaseLasts = 15 * time.Second
	leaseRenew = 5 * time.Second
	// startEvery is the pause between two devices that are asked for the first time.
	startEvery = 20 * time.Millisecond

	// The pause after a conversation that failed doubles up to a time; a device that does
	// not speak of alarms is asked again much later.
	firstPause, longestPause = time.Second, 2 * time.Minute
	silentPause              = 15 * time.Minute
	// settled is how long a conversation lasts that went well.
	settled = time.Minute
)

// AlarmWatch listens to the alarms of every device, in one of several processes.
type AlarmWatch struct {
	cfg  AlarmWatchConfig
	wake chan struct{}

	mu      sync.Mutex
	changed map[string]bool
	open    atomic.Int64 // conversations

	// Those below belong to Run.
	asked  map[string]*askedDevice
	leave  bool // more devices than may be asked were reported
	tasks  sync.WaitGroup
	held   time.Time // when the lease was last renewed; zero: another process has it
	looked time.Time // when the devices were last listed
}

// askedDevice is a device that is being asked, or that refused our credentials.
type askedDevice struct {
	target AlarmTarget
	stop   context.CancelFunc
}

// NewAlarmWatch makes a watch that asks nobody before Run.
func NewAlarmWatch(cfg AlarmWatchConfig) *AlarmWatch {
	setDefault(&cfg.Most, 1024)
	setDefault(&cfg.Every, time.Minute)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &AlarmWatch{cfg: cfg, wake: make(chan struct{}, 1), changed: map[string]bool{}, asked: map[string]*askedDevice{}}
}

// Changed says that a device came, went, or has another address or other credentials.
func (w *AlarmWatch) Changed(device string) {
	w.mu.Lock()
	if len(w.changed) < watchedPage { // those that are too many are seen with the next look
		w.changed[device] = true
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Listened returns how many devices this process listens to, or is trying to.
func (w *AlarmWatch) Listened() int { return int(w.open.Load()) }

// Run listens until the context ends.
func (w *AlarmWatch) Run(ctx context.Context) error {
	defer w.tasks.Wait()
	defer w.stopAll()
	renew := time.NewTicker(leaseRenew)
	defer renew.Stop()
	for ctx.Err() == nil {
		if now := w.cfg.Now(); w.holds(ctx) && now.Sub(w.looked) >= w.cfg.Every {
			if err := w.look(ctx); err == nil {
				w.looked = now
			} else if ctx.Err() == nil {
				w.cfg.Logger.Debug("the devices whose alarms are listened to could not be listed", "error", err)
			}
		}
		if !w.held.IsZero() { // it may have gone during the look
			w.lookAtChanged(ctx)
		}
		select {
		case <-ctx.Done():
		case <-renew.C:
		case <-w.wake:
		}
	}
	if w.held.IsZero() {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := w.cfg.EndLease(last); err != nil {
		w.cfg.Logger.Debug("the right to listen to alarms could not be given back", "error", err)
	}
	return nil
}

// errElsewhere is returned when another process has the lease.
var errElsewhere = errors.New("another process listens to alarms")

// holds reports whether this process has the lease. It renews the lease if that is due, as
// looking at many devices takes longer than it lasts.
func (w *AlarmWatch) holds(ctx context.Context) bool {
	if !w.held.IsZero() && w.cfg.Now().Sub(w.held) < leaseRenew/2 {
		return true
	}
	has, err := w.cfg.Lease(ctx, leaseLasts)
	switch now := w.cfg.Now(); {
	case err == nil && has:
		w.held = now
	case err == nil || now.Sub(w.held) > leaseLasts-leaseRenew: // another process asks now, or will
		w.stopAll()
		w.held, w.looked = time.Time{}, time.Time{}
	}
	return !w.held.IsZero()
}

func (w *AlarmWatch) stopAll() {
	for id, of := range w.asked {
		of.stop()
		delete(w.asked, id)
	}
}

// look leaves the devices that are gone, and asks those that are there. One that cannot be
// looked up stays as it is, and the others are asked; if none can be looked up, that is an
// error.
func (w *AlarmWatch) look(ctx context.Context) error {
	ids, err := w.list(ctx)
	if err != nil {
		return err
	}
	live := make(map[string]bool, len(ids))
	for _, id := range ids {
		live[id] = true
	}
	for id, of := range w.asked {
		if !live[id] {
			of.stop()
			delete(w.asked, id)
		}
	}
	var fault error
	failed := 0
	for _, id := range ids {
		if !w.holds(ctx) {
			return errElsewhere
		}
		if err := w.lookAt(ctx, id); err != nil {
			failed, fault = failed+1, err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if failed > 0 {
		w.cfg.Logger.Debug("devices could not be looked up", "devices", failed, "error", fault)
	}
	if failed < len(ids) {
		return nil
	}
	return fault
}

// list returns the ids of the devices in accounts.
func (w *AlarmWatch) list(ctx context.Context) (ids []string, err error) {
	for after := ""; ; {
		page, err := w.cfg.Devices(ctx, after, watchedPage)
		if err != nil {
			return nil, err
		}
		ids = append(ids, page...)
		if len(page) < watchedPage {
			return ids, nil
		}
		after = page[len(page)-1]
	}
}

func (w *AlarmWatch) lookAtChanged(ctx context.Context) {
	w.mu.Lock()
	changed := w.changed
	w.changed = map[string]bool{}
	w.mu.Unlock()
	for id := range changed {
		if err := w.lookAt(ctx, id); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Debug("a device could not be looked up", "device", id, "error", err)
		}
	}
}

// lookAt asks a device, or another way than before, or no longer.
func (w *AlarmWatch) lookAt(ctx context.Context, id string) error {
	target, there, err := w.cfg.Target(ctx, id)
	if err != nil {
		return err
	}
	before := w.asked[id]
	if before != nil && there && before.target == target {
		return nil
	}
	if before != nil {
		before.stop()
		delete(w.asked, id)
	}
	if !there {
		return nil
	}
	if len(w.asked) >= w.cfg.Most {
		if !w.leave {
			w.leave = true
			w.cfg.Logger.Warn("there are more devices than are listened to; the alarms of the others come only if they post them", "most", w.cfg.Most)
		}
		return nil
	}
	own, stop := context.WithCancel(ctx)
	w.asked[id] = &askedDevice{target, stop}
	w.tasks.Go(func() { w.listen(own, id, target) })
	sleep(ctx, startEvery)
	return nil
}

// listen listens to one device until its context ends, or it refuses our credentials: then
// it is left alone until they are changed.
func (w *AlarmWatch) listen(ctx context.Context, id string, target AlarmTarget) {
	pause, log := firstPause, w.cfg.Logger.With("device", id)
	for ctx.Err() == nil {
		began := w.cfg.Now()
		w.open.Add(1)
		err := w.cfg.Listen(ctx, target, func(list []alert.Alert, zone *time.Location) { w.cfg.Told(ctx, id, list, zone) })
		w.open.Add(-1)
		var failure *Failure
		if !errors.As(err, &failure) {
			failure = fail(NotReachable, "")
		}
		if ctx.Err() != nil {
			return
		}
		if w.cfg.Now().Sub(began) > settled {
			pause = firstPause
		}
		log.Debug("listening to the alarms of a device ended", "service", string(failure.Service), "kind", string(failure.Kind))
		switch failure.Kind {
		case WrongPassword:
			log.Warn("a device refuses our credentials; its alarms are not listened to until they are changed", "service", string(failure.Service))
			return
		case TooManyAttempts:
			sleep(ctx, max(failure.RetryAfter, firstPause))
			continue
		case AddressForbidden, Unsupported:
			pause = min(8*pause, silentPause)
		default:
			pause = min(2*pause, longestPause)
		}
		sleep(ctx, pause*9/10+rand.N(pause/5)) //nolint:gosec // nobody is harmed who guesses it
	}
}
