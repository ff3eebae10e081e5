package device

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// State is whether a device responds.
type State string

// The states.
const (
	Unknown State = "unknown" // not asked by this process yet
	Online  State = "online"
	Offline State = "offline"
)

// Presence is what is known of whether a device responds, and since when this process has
// known it.
type Presence struct {
	State  State
	Since  time.Time // zero if unknown
	Reason Kind      // why it is offline, or what else is wrong; "" for nothing
	// Interruptions are those of its streams, also if it is online again.
	Interruptions Interruptions
}

// Interruptions are streams of a device that broke off, each at most interruptedFor after the
// one before.
type Interruptions struct {
	Count  int // 0: none of late
	Last   time.Time
	Reason Kind // Ended, Silent or Unsupported
}

// interruptedFor is how long an interruption is reported.
const interruptedFor = time.Hour

// WatchConfig is what a Watch needs.
type WatchConfig struct {
	// Alive connects to a device's address without credentials; see Client.Alive.
	Alive func(ctx context.Context, address string) error
	// Devices lists the devices in accounts, in the order of their ids, after one of them.
	Devices func(ctx context.Context, after string, most int) (ids []string, err error)
	// Address returns where a device is asked over RTSP, "" if it has no such address.
	Address func(ctx context.Context, device string) (string, error)
	// Pulled reports whether a stream of the device is being pulled: it needs no asking.
	Pulled func(device string) bool

	Every  time.Duration // how often each device is asked: 60 s, or less often if there are many
	Now    func() time.Time
	Logger *slog.Logger // discards
}

const (
	// maxWatched limits how many devices are remembered. Others are unknown.
	maxWatched = 1 << 18
	// maxAskedAtOnce limits how many devices are asked at the same time, and leastPause
	// how quickly one follows another.
	maxAskedAtOnce = 16
	leastPause     = 20 * time.Millisecond
	watchedPage    = 500
	// againAfter is when a device that did not respond is asked a second time, before it
	// counts as offline.
	againAfter = 2 * time.Second
)

// Watch knows which devices respond: from what others report, and by asking the others
// gently. It keeps that in memory only.
type Watch struct {
	cfg WatchConfig

	mu   sync.RWMutex
	seen map[string]Presence
}

// NewWatch makes a watch that asks nobody before Run.
func NewWatch(cfg WatchConfig) *Watch {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&cfg.Every, time.Minute)
	return &Watch{cfg: cfg, seen: map[string]Presence{}}
}

// Of returns what is known of a device.
func (w *Watch) Of(device string) Presence {
	w.mu.RLock()
	defer w.mu.RUnlock()
	p, ok := w.seen[device]
	if !ok {
		return Presence{State: Unknown}
	}
	p.Interruptions = p.Interruptions.at(w.cfg.Now())
	return p
}

// at returns the interruptions that are reported at a time.
func (i Interruptions) at(now time.Time) Interruptions {
	if now.Sub(i.Last) > interruptedFor {
		return Interruptions{}
	}
	return i
}

// Interrupted notes that a stream of a device has broken off.
func (w *Watch) Interrupted(device string, reason Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, known := w.seen[device]
	if !known {
		return
	}
	now := w.cfg.Now()
	p.Interruptions = Interruptions{Count: p.Interruptions.at(now).Count + 1, Last: now, Reason: reason}
	w.seen[device] = p
}

// Report notes how an attempt to reach a device went, "" for well. A device that refuses
// our credentials responds, and so does one that cannot be understood.
func (w *Watch) Report(device string, reason Kind) {
	state := Offline
	switch reason {
	case "", WrongPassword, NoSuchPath, DescriptionUnreadable, CertificateNotTrusted, Unsupported, Refused, Busy, Silent:
		state = Online
	}
	w.set(device, state, reason)
}

// Unpublished notes that a device publishes no more, and why: Ended or Silent. Until anything
// else is heard of it, it is gone.
func (w *Watch) Unpublished(device string, reason Kind) { w.set(device, Offline, reason) }

func (w *Watch) set(device string, state State, reason Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(device, state, reason)
}

// put is set for a caller that holds the mutex.
func (w *Watch) put(device string, state State, reason Kind) {
	before, known := w.seen[device]
	if !known && len(w.seen) >= maxWatched {
		return
	}
	to := before
	to.State, to.Reason = state, reason
	if before.State != state {
		to.Since = w.cfg.Now()
	}
	w.seen[device] = to
}

// responded notes that a device responds without credentials. Whether it would refuse ours
// stays as it was.
func (w *Watch) responded(device string) {
	reason := Kind("")
	if before := w.Of(device); before.State == Online {
		reason = before.Reason
	}
	w.set(device, Online, reason)
}

// plays notes that a stream of a device plays, unless anything was heard of it since: such as
// that the stream has ended, which for a device that cannot be dialed is the last word.
func (w *Watch) plays(device string, before Presence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.seen[device]; now.State == Offline && (before.State != Offline || !now.Since.Equal(before.Since)) {
		return
	}
	w.put(device, Online, "")
}

// forget drops the devices that are in no account any more.
func (w *Watch) forget(live map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for device := range w.seen {
		if !live[device] {
			delete(w.seen, device)
		}
	}
}

// Run asks the devices that nobody pulls, each once in a while, until the context ends.
func (w *Watch) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		began := w.cfg.Now()
		if err := w.round(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Debug("whether devices respond could not be asked", "error", err)
		}
		rest := w.cfg.Every - w.cfg.Now().Sub(began)
		sleep(ctx, max(rest, time.Second)+rand.N(w.cfg.Every/10+1))
	}
	return nil
}

// round asks every device once, spread over most of the time until the next round.
func (w *Watch) round(ctx context.Context) error {
	ids, err := w.list(ctx)
	if err != nil {
		return err
	}
	live := make(map[string]bool, len(ids))
	for _, id := range ids {
		live[id] = true
	}
	w.forget(live)
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	pause := max(leastPause, w.cfg.Every*8/10/time.Duration(max(len(ids), 1)))
	slots := make(chan struct{}, maxAskedAtOnce)
	var asked sync.WaitGroup
	defer asked.Wait()
	for _, id := range ids {
		if before := w.Of(id); w.cfg.Pulled(id) {
			w.plays(id, before)
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		asked.Go(func() {
			defer func() { <-slots }()
			w.ask(ctx, id)
		})
		sleep(ctx, pause/2+rand.N(pause))
	}
	return nil
}

func (w *Watch) list(ctx context.Context) ([]string, error) {
	var all []string
	for after := ""; len(all) < maxWatched; {
		ids, err := w.cfg.Devices(ctx, after, watchedPage)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
		if len(ids) < watchedPage {
			break
		}
		after = ids[len(ids)-1]
	}
	return all, nil
}

// ask asks one device, a second time if it does not respond.
func (w *Watch) ask(ctx context.Context, device string) {
	address, err := w.cfg.Address(ctx, device)
	if err != nil || address == "" {
		return // it stays as it was
	}
	err = w.cfg.Alive(ctx, address)
	if err != nil {
		sleep(ctx, againAfter)
		err = w.cfg.Alive(ctx, address)
	}
	var failure *Failure
	switch {
	case ctx.Err() != nil:
	case err == nil:
		w.responded(device)
	case errors.As(err, &failure):
		w.set(device, Offline, failure.Kind)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
