package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/domain"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
)

// Verdict is the answer to a check. Only Allowed allows; the zero value does
// not.
type Verdict uint8

// The verdicts.
const (
	// Unavailable: the index does not know.
	Unavailable Verdict = iota
	// NotFound: the account may not see the device, or there is none.
	NotFound
	// Forbidden: the account may see the device, but not do this on it.
	Forbidden
	// Allowed: it may, now.
	Allowed
)

// String is the verdict's name in logs and metrics.
func (v Verdict) String() string {
	switch v {
	case NotFound:
		return "not_found"
	case Forbidden:
		return "forbidden"
	case Allowed:
		return "allowed"
	}
	return "unavailable"
}

// Log is where events come from.
type Log interface {
	Subscribe(ctx context.Context, after eventstore.Position, prefix string, h eventstore.Handler) error
	Tail(ctx context.Context, most int, each func(eventstore.Recorded) (more bool)) error
}

// Loader takes what the read model holds. Numbers are the read model's own; an
// account or a device comes before what refers to it.
type Loader struct {
	Account func(no uint32, id string)
	Device  func(no uint32, id string, owner uint32, live bool)
	Grant   func(account, device uint32, channel uint16, mask uint8)
	Domain  func(account, device uint32, domain string)
	Key     func(name string, account uint32, device string, expires time.Time)
}

// Source is the read model that the index is loaded from. It answers the
// position that the rows have in the log.
type Source interface {
	LoadPrivileges(ctx context.Context, l Loader) (position uint64, err error)
}

// Config is what an Index needs.
type Config struct {
	Source Source
	Log    Log
	// MaxStaleness is how far behind the log the index may be, or not know that
	// it is not, before it denies everything.
	MaxStaleness time.Duration
	Now          func() time.Time // nil: time.Now
	Logger       *slog.Logger     // nil: none
}

// Change says whom a change concerns. Empty fields are for any.
type Change struct{ Account, Device, Key string }

// Index is safe for concurrent use.
type Index struct {
	cfg   Config
	table *table
	names *names
	// owners holds, by device number, the owner's number, 0 for a device that is
	// not live. It is asked first, so that a removal is one store.
	owners atomic.Pointer[[]uint32]
	// channels holds the highest channel of each device; the writer's own.
	channels []uint16

	state    atomic.Uint32
	fresh    atomic.Int64 // it was up to date at this time, Unix ns
	position atomic.Uint64

	mu       sync.Mutex
	advanced chan struct{} // closed when position grows
	broken   error
	change   []func(Change)
}

// The states.
const (
	stateLoading uint32 = iota
	stateLive
	stateBroken
)

// New checks the configuration. The index denies until Run has loaded it.
func New(cfg Config) (*Index, error) {
	var faults []error
	if cfg.Source == nil {
		faults = append(faults, errors.New("a source is needed"))
	}
	if cfg.Log == nil {
		faults = append(faults, errors.New("a log is needed"))
	}
	if cfg.MaxStaleness <= 0 {
		faults = append(faults, errors.New("the bound on staleness must be positive"))
	}
	if faults != nil {
		return nil, fmt.Errorf("making the privilege index: %w", errors.Join(faults...))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	x := &Index{cfg: cfg, table: newTable(), names: newNames(), advanced: make(chan struct{})}
	x.owners.Store(&[]uint32{0})
	x.channels = []uint16{0}
	return x, nil
}

// OnChange registers a function that is called after a change is in force for
// Check and before WaitFor of its position returns. Register before Run.
func (x *Index) OnChange(f func(Change)) { x.change = append(x.change, f) }

func (x *Index) changed(c Change) {
	for _, f := range x.change {
		f(c)
	}
}

// Ref is an account and a device, looked up once for many checks. The zero value
// is a device that nobody may see. A Ref of what is not known yet stays so: look
// it up again.
type Ref struct{ account, device uint32 }

// Intern looks an account and a device up.
func (x *Index) Intern(account, device string) Ref {
	a, _ := x.names.number(&x.names.accounts, account, false) // looking up never fails
	d, _ := x.names.number(&x.names.devices, device, false)
	return Ref{a, d}
}

// Check answers whether the account may do p, every privilege of it, on the
// channel now. now is the caller's clock, which must be the index's.
func (x *Index) Check(account, device string, channel int, p privilege.Set, now time.Time) Verdict {
	return x.CheckRef(x.Intern(account, device), channel, p, now)
}

// CheckRef is Check with what Intern answered. It takes no lock and allocates
// nothing.
func (x *Index) CheckRef(ref Ref, channel int, p privilege.Set, now time.Time) Verdict {
	if x.state.Load() != stateLive || now.UnixNano()-x.fresh.Load() > int64(x.cfg.MaxStaleness) {
		return Unavailable
	}
	owners := *x.owners.Load()
	if ref.account == 0 || ref.device == 0 || int(ref.device) >= len(owners) {
		return NotFound
	}
	owner := atomic.LoadUint32(&owners[ref.device])
	if owner == 0 || channel < 1 || channel > maxChannel {
		return NotFound
	}
	w := x.table.find(wordKey(ref.account, ref.device, channel))
	if w&timedBit == 0 && privilege.Set(w&maskBits>>maskShift).Has(p) {
		return Allowed
	}
	if x.table.find(wordKey(ref.account, ref.device, 0))&maskBits == 0 {
		return NotFound
	}
	if owner == ref.account && w&maskBits == 0 {
		return NotFound // its owner knows that there is no such channel
	}
	return Forbidden
}

// Key answers a stream key that was not revoked. It may have expired.
func (x *Index) Key(name string) (Key, bool) {
	x.names.mu.RLock()
	defer x.names.mu.RUnlock()
	k, ok := x.names.keys[name]
	return k, ok
}

// Resolve answers the device that an account means by a name: the account's own
// domain for a device, or else the name is a device's id.
func (x *Index) Resolve(account, name string) (device string, ok bool) {
	a, _ := x.names.number(&x.names.accounts, account, false) // looking up never fails
	x.names.mu.RLock()
	defer x.names.mu.RUnlock()
	if device, ok := x.names.domains[domainOf{a, name}]; ok && a != 0 {
		return device, true
	}
	_, ok = x.names.devices.of[nameOf(name)]
	return name, ok
}

// WaitFor returns when every event up to a position is in force and the
// functions of OnChange have been called for it, or with an error when the
// context ends or the index is broken.
func (x *Index) WaitFor(ctx context.Context, position uint64) error {
	if unguarded {
		return nil
	}
	return x.waitFor(ctx, position)
}

func (x *Index) waitFor(ctx context.Context, position uint64) error {
	for {
		x.mu.Lock()
		advanced, broken := x.advanced, x.broken
		x.mu.Unlock()
		if broken != nil {
			return fmt.Errorf("waiting for the privilege index: %w", broken)
		}
		if x.position.Load() >= position {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the privilege index to reach position %d, it is at %d: %w", position, x.position.Load(), ctx.Err())
		}
	}
}

func (x *Index) advance(position uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if position > x.position.Load() {
		x.position.Store(position)
	}
	close(x.advanced)
	x.advanced = make(chan struct{})
}

// Health says how the index is.
type Health struct {
	State    string // loading, live, stale or broken
	Position uint64
	Behind   time.Duration // since it was known to be up to date
	Err      error         // why it is broken
}

// Health looks at the state now.
func (x *Index) Health() Health {
	x.mu.Lock()
	h := Health{Position: x.position.Load(), Err: x.broken}
	x.mu.Unlock()
	switch x.state.Load() {
	case stateLoading:
		h.State = "loading"
		return h
	case stateBroken:
		h.State = "broken"
		return h
	}
	h.State = "live"
	if h.Behind = x.cfg.Now().Sub(time.Unix(0, x.fresh.Load())); h.Behind > x.cfg.MaxStaleness {
		h.State = "stale"
	}
	return h
}

// Run loads the index and keeps it up to date until the context ends. It returns
// an error only when it cannot be loaded; what happens later is in Health.
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
	err := x.cfg.Log.Subscribe(ctx, eventstore.Position(x.position.Load()), domain.EventPrefix, eventstore.Handler{
		Events: x.apply,
		Checkpoint: func(p eventstore.Position) error {
			x.advance(uint64(p))
			return nil
		},
	})
	if ctx.Err() == nil {
		x.breakDown(err)
		<-ctx.Done() // closed, and saying so, until somebody starts a better build
	}
	return nil
}

// breakDown closes the index for good.
func (x *Index) breakDown(err error) {
	x.mu.Lock()
	x.broken = err
	close(x.advanced)
	x.advanced = make(chan struct{})
	x.mu.Unlock()
	x.state.Store(stateBroken)
	x.cfg.Logger.Error("the privilege index is broken; nobody may do anything", "error", err)
	x.changed(Change{})
}
