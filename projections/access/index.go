package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
)

// Verdict is the result of a check. Only Allowed allows; the zero value does not.
type Verdict uint8

// The verdicts.
const (
	// Unavailable: the index does not know.
	Unavailable Verdict = iota
	// NotFound: the account may not see the device, or it does not exist.
	NotFound
	// Forbidden: the account may see the device, but not do this on it.
	Forbidden
	// Allowed: it may, now.
	Allowed
)

// String returns the verdict's name in logs and metrics.
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

// Log is the source of events.
type Log interface {
	Subscribe(ctx context.Context, after eventstore.Position, prefix string, h eventstore.Handler) error
	Tail(ctx context.Context, most int, each func(eventstore.Recorded) (more bool)) error
	// Identity and Holds check whether the log is still the one that the index was built
	// from.
	Identity(ctx context.Context) (eventstore.Identity, error)
	Holds(ctx context.Context, m eventstore.Mark) error
}

// Loader receives the rows of the read model. Numbers are the read model's own. The
// grants come first, as they are the most. Channel 0 means that an account sees a device;
// it is omitted if there is a privilege on one of the first eight channels. A key without
// an account was revoked.
type Loader struct {
	Grant func(account, device uint32, channel uint16, mask uint8)
	// Conditions are those of a pair whose masks have LimitedMask.
	Conditions func(account, device uint32, list []privilege.Condition)
	Account    func(no uint32, id ids.Account)
	Device     func(no uint32, id ids.Device, owner uint32, live bool)
	Domain     func(account, device uint32, id ids.Device, domain string)
	Key        func(name ids.Key, account ids.Account, device ids.Device, expires time.Time)
	// Begin, if set, is called before the rows, with their position in the log, and with
	// whether events had no effect because no number was left for them. If it returns an
	// error, nothing is loaded.
	Begin func(position eventstore.Position, lacks bool) error
	// Again reports that everything received before is invalid.
	Again func()
}

// LimitedMask is set in a mask whose privileges hold under conditions.
const LimitedMask = timedBit >> maskShift

// Source is the read model that the index is loaded from. It returns the log position of
// the rows, and the mark of the last event that they saw.
type Source interface {
	LoadPrivileges(ctx context.Context, l Loader) (position eventstore.Position, mark eventstore.Mark, err error)
}

// Config configures an Index.
type Config struct {
	Source Source
	Log    Log
	// MaxStaleness is how far the index may lag behind the log, or not know its lag,
	// before it denies everything.
	MaxStaleness time.Duration
	Now          func() time.Time // nil: time.Now
	Logger       *slog.Logger     // nil: none
	// Numbers limits the known accounts, and the known devices: 0, or more than fit in a
	// word, is as many as fit.
	Numbers uint32
}

// Change is the scope of a change. Empty fields match any.
type Change struct {
	Account ids.Account
	Device  ids.Device
	Key     ids.Key
}

// Index is the privilege index, and issues permits. It is safe for concurrent use.
type Index struct {
	cfg     Config
	permits *Permits
	pulse   *Pulse
	holds   atomic.Pointer[contents]

	position atomic.Uint64
	wake     chan struct{} // requests a measurement

	// writing is held while changing the contents: by the subscription or a load. The
	// fields below it, and the contents, belong to its holder.
	writing  sync.Mutex
	effected eventstore.Position // position of the last event with an effect, or of the rows
	effects  []event.Effect      // of the event that is being applied
	aside    *aside              // collects events while contents are loaded aside, nil otherwise

	mu       sync.Mutex
	advanced chan struct{}           // closed when position grows, or the state changes
	denies   error                   // why it is closed
	mark     eventstore.Mark         // of the last event that was applied
	life     uint64                  // grows each time the index closes
	end      context.CancelCauseFunc // of the subscription, nil while there is none
	change   []func(Change)
	*contents
}

// contents is what the index knows. The fields of the Index are the writer's; readers get
// them through holds, as another load replaces them.
type contents struct {
	table *table
	names *names
	// devices is checked first, so that a removal is one store.
	devices *devices
	limits  *limits
	// lacks is set when an event had no effect, here or in the rows, because no number
	// was left.
	lacks atomic.Bool

	changes []Change // used by the writer
	dead    int      // used by the writer: devices and keys that are remembered but gone
}

func newContents(limit uint32) *contents {
	return &contents{table: newTable(), names: newNames(limit), devices: &devices{}, limits: newLimits()}
}

// The states.
const (
	stateLoading uint32 = iota
	stateLive
	stateBroken   // for good: it met an event that it cannot read
	stateDiverged // until the right log is back
)

// New returns an index that denies everything until Run has loaded it. It validates the
// configuration.
func New(cfg Config) (*Index, error) {
	var faults []error
	if cfg.Source == nil {
		faults = append(faults, errors.New("a source is required"))
	}
	if cfg.Log == nil {
		faults = append(faults, errors.New("a log is required"))
	}
	if cfg.MaxStaleness <= 0 {
		faults = append(faults, errors.New("the maximum staleness must be positive"))
	}
	if faults != nil {
		return nil, fmt.Errorf("creating the privilege index: %w", errors.Join(faults...))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Numbers == 0 || cfg.Numbers > maxNumber {
		cfg.Numbers = maxNumber
	}
	x := &Index{cfg: cfg, pulse: newPulse(cfg.Now(), cfg.MaxStaleness), contents: newContents(cfg.Numbers), advanced: make(chan struct{}), wake: make(chan struct{}, 1)}
	x.permits = NewPermits(x, cfg.Now, cfg.Logger)
	x.holds.Store(x.contents)
	return x, nil
}

// OnChange registers a function that is called after a change is in force for Check, and
// the permits that it ends are revoked, and before WaitFor of its position returns. The
// index waits for it: it must not block. Register before Run.
func (x *Index) OnChange(f func(Change)) { x.change = append(x.change, f) }

// hold puts contents in force.
func (x *Index) hold(c *contents) {
	x.contents = c
	x.holds.Store(c)
	x.pulse.version.Add(1)
}

func (x *Index) changed(c Change) {
	x.permits.Changed(c)
	for _, f := range x.change {
		f(c)
	}
}

// ref is an account and a device, looked up once for many checks. The zero value is a
// device that nobody may see. A ref of something unknown stays so, and so does one from
// before a reload of the index: then it must be looked up again.
type ref struct {
	account, device uint32
	in              *contents
}

func (x *Index) lookUp(account ids.Account, device ids.Device) ref {
	c := x.holds.Load()
	a, d := c.names.look(account, device)
	return ref{a, d, c}
}

// refPair is a ref that is looked up again if necessary.
type refPair struct {
	x       *Index
	account ids.Account
	device  ids.Device
	first   ref
	again   atomic.Pointer[ref] // nil until the index was reloaded
}

// Pair looks up an account and a device, once for many checks.
func (x *Index) Pair(account ids.Account, device ids.Device) Pair {
	return &refPair{x: x, account: account, device: device, first: x.lookUp(account, device)}
}

// Check does not lock or allocate, unless the index was reloaded or the grant has
// conditions.
func (p *refPair) Check(channel int, want privilege.Set, now time.Time) Standing {
	r := &p.first
	if again := p.again.Load(); again != nil {
		r = again
	}
	for {
		s := p.x.checkRef(*r, channel, want, now)
		if s.Verdict != NotFound || r.in == p.x.holds.Load() {
			return s
		}
		fresh := p.x.lookUp(p.account, p.device)
		p.again.Store(&fresh)
		r = &fresh
	}
}

// Acquire returns a permit for a use, or the verdict that refuses it: see
// Permits.Acquire.
func (x *Index) Acquire(use Use, revoked func(Reason)) (*Permit, Verdict) {
	return x.permits.Acquire(use, revoked)
}

// Live reports whether the index knows, at that time, what is permitted: see Pulse.Live.
func (x *Index) Live(now time.Time) bool { return x.pulse.Live(now) }

// Pulse returns what permits read of the index.
func (x *Index) Pulse() *Pulse { return x.pulse }

// Check reports whether the account may do p, every privilege of it, on the channel now.
// now is the caller's clock, which must be the index's. A use of the channel for longer
// than an instant needs a permit.
func (x *Index) Check(account ids.Account, device ids.Device, channel int, p privilege.Set, now time.Time) Verdict {
	for {
		r := x.lookUp(account, device)
		if v := x.checkRef(r, channel, p, now).Verdict; v != NotFound || r.in == x.holds.Load() {
			return v
		} // it was reloaded in the meantime
	}
}

// checkRef is Check with the result of lookUp. It does not lock or allocate, unless the
// grant has conditions.
func (x *Index) checkRef(r ref, channel int, p privilege.Set, now time.Time) Standing {
	if !x.Live(now) {
		return Standing{Verdict: Unavailable}
	}
	s := r.verdict(channel, p, now)
	if r.in != x.holds.Load() { // checked last: what was revoked since another load is only in the new contents
		return Standing{Verdict: NotFound}
	}
	return s
}

// verdict returns the verdict of the contents to which the ref belongs.
func (r ref) verdict(channel int, p privilege.Set, now time.Time) Standing {
	c := r.in
	if c == nil {
		return Standing{Verdict: NotFound}
	}
	owner := c.devices.owner(r.device)
	if owner == 0 || r.account == 0 || channel < 1 || channel > maxChannel {
		return Standing{Verdict: NotFound}
	}
	t := *c.table.current.Load()
	pair := pairOf(r.account, r.device)
	w, sees := t.find(pair, channel)
	if privilege.Set(w & maskBits >> maskShift).Has(p) {
		if w&timedBit == 0 {
			return Standing{Verdict: Allowed}
		}
		return r.timed(w, channel, p, now)
	}
	if owner == r.account && w == 0 {
		return Standing{Verdict: NotFound} // the owner knows that there is no such channel
	}
	if !sees && blockOf(channel) != 0 {
		_, sees = t.find(pair, 0)
	}
	if !sees {
		return Standing{Verdict: NotFound}
	}
	return Standing{Verdict: Forbidden}
}

// timed returns the verdict on a channel whose word has the timed bit. If the conditions
// are missing because they were just removed, so was the bit.
func (r ref) timed(w uint64, channel int, p privilege.Set, now time.Time) Standing {
	pair := pairOf(r.account, r.device)
	s, ok := r.in.timed(pair, channel, p, now)
	if ok {
		return s
	}
	if is, _ := (*r.in.table.current.Load()).find(pair, channel); is != w {
		return r.verdict(channel, p, now)
	}
	return s
}

// Gone reports whether a device is known to be in no account: it was removed, or the
// index is up to date at that time and does not know it, although it has had a number for
// every device.
func (x *Index) Gone(device ids.Device, now time.Time) bool {
	r := x.lookUp("", device)
	owner := r.in.devices.known(r.device)
	return owner&gone != 0 || owner == 0 && !r.in.lacks.Load() && x.Live(now) && r.in == x.holds.Load()
}

// Owner returns a number for the account that owns the device, 0 if the device is in no
// account. The number may change when the index is reloaded.
func (x *Index) Owner(device ids.Device) uint32 {
	r := x.lookUp("", device)
	return r.in.devices.owner(r.device)
}

// Owns reports whether a device is in an account.
func (x *Index) Owns(account ids.Account, device ids.Device) bool {
	r := x.lookUp(account, device)
	owner := r.in.devices.owner(r.device)
	return owner != 0 && owner == r.account
}

// Key returns a stream key that was not revoked. It may have expired.
func (x *Index) Key(name ids.Key) (Key, bool) {
	c := x.holds.Load()
	c.names.mu.RLock()
	defer c.names.mu.RUnlock()
	k := c.names.keys[name]
	if k.Account == "" {
		return Key{}, false
	}
	return k, true
}

// Resolve returns the device that an account means by a name: the account's own domain of
// a device, or else a device's id. A name that is ambiguous within the account, by two
// domains or a domain and the id of a device that the account may see, resolves to none:
// the commands prevent that, and if it happened the intended picture would be unknown.
func (x *Index) Resolve(account ids.Account, name string) (device ids.Device, ok bool) {
	c := x.holds.Load()
	c.names.mu.RLock()
	defer c.names.mu.RUnlock()
	a := c.names.accounts.number(string(account))
	var means []ids.Device
	for _, device := range c.names.called(domainOf{a, name}) {
		if c.lives(device) {
			means = append(means, device)
		}
	}
	id := ids.Device(name)
	if c.sees(a, id) && !slices.Contains(means, id) {
		means = append(means, id)
	}
	switch len(means) {
	case 0:
		return id, c.lives(id)
	case 1:
		return means[0], true
	}
	return "", false
}

// sees reports whether the account owns the device or has it through a share. It requires
// the lock on names.
func (c *contents) sees(account uint32, device ids.Device) bool {
	d := c.names.devices.number(string(device))
	owner := c.devices.owner(d)
	return account != 0 && owner != 0 && (owner == account || c.table.sees(pairOf(account, d)))
}

// lives requires the lock on names.
func (c *contents) lives(device ids.Device) bool {
	return c.devices.owner(c.names.devices.number(string(device))) != 0
}

// WaitFor returns when every event up to a position is in force and the functions of
// OnChange have been called for it, or with an error when the context ends or the index
// is broken.
func (x *Index) WaitFor(ctx context.Context, position eventstore.Position) error {
	if unguarded {
		return nil
	}
	return x.waitFor(ctx, position)
}

func (x *Index) waitFor(ctx context.Context, position eventstore.Position) error {
	for {
		x.mu.Lock()
		advanced, denies := x.advanced, x.denies
		x.mu.Unlock()
		if denies != nil {
			return fmt.Errorf("waiting for the privilege index: %w", denies)
		}
		if x.Position() >= position {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the privilege index to reach position %d, it is at %d: %w", position, x.Position(), ctx.Err())
		}
	}
}

func (x *Index) advance(position eventstore.Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if position > x.Position() {
		x.position.Store(uint64(position))
	}
	close(x.advanced)
	x.advanced = make(chan struct{})
}
