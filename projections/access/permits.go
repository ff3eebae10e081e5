package access

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// Subject is the user of a camera: an account, and how it was authenticated.
type Subject struct {
	Account ids.Account
	// StreamKey is the name of the stream key that was used, "" for a session. The use
	// ends with the key.
	StreamKey ids.Key
}

// Use is what a permit is for.
type Use struct {
	Subject
	Device    ids.Device
	Channel   int
	Privilege privilege.Set // all of these privileges are needed
	// Transport is how the bits are carried to a viewer, such as "rtsp-tcp"; "" for a use
	// that carries none.
	Transport string
	// Address is from where the viewer receives, for the owner of the device; it may be
	// the zero value.
	Address netip.Addr
}

// Reason is why a permit was revoked. Its values are labels of metrics.
type Reason string

// The reasons.
const (
	PrivilegeGone Reason = "revoked"     // the privilege was revoked, or the device removed
	KeyRevoked    Reason = "key"         // the stream key was revoked
	Expired       Reason = "expired"     // the stream key, or the time of the grant, has ended
	Unknown       Reason = "unavailable" // it is not known what is permitted
	Ended         Reason = "ended"       // the owner ended this one use
)

// Rules decide about uses; Index implements it.
type Rules interface {
	// Live reports whether it is known at this time what is permitted.
	Live(now time.Time) bool
	// Pulse always returns the same value; if nil, every check uses the rules.
	Pulse() *Pulse
	// Key returns a stream key that was not revoked. It may have expired.
	Key(name ids.Key) (Key, bool)
	// Pair looks up an account and a device, once for many checks.
	Pair(account ids.Account, device ids.Device) Pair
}

// Pair is an account and a device.
type Pair interface {
	// Check reports whether the account may do p, every privilege of it, on the channel
	// of the device now, and how long that stands.
	Check(channel int, p privilege.Set, now time.Time) Standing
}

// Permits issues and revokes permits. It is safe for concurrent use.
type Permits struct {
	rules  Rules
	pulse  *Pulse
	now    func() time.Time
	logger *slog.Logger

	byDevice *lists[ids.Device]
	byKey    *lists[ids.Key]
	last     atomic.Uint64 // number of the last issued permit
}

// NewPermits returns permits under the rules. now and logger may be nil: time.Now, none.
func NewPermits(rules Rules, now func() time.Time, logger *slog.Logger) *Permits {
	if now == nil {
		now = time.Now
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Permits{
		rules: rules, pulse: rules.Pulse(), now: now, logger: logger,
		byDevice: newLists[ids.Device](func(p *Permit) *links { return &p.deviceLinks }),
		byKey:    newLists[ids.Key](func(p *Permit) *links { return &p.keyLinks }),
	}
	s.last.Store(uint64(now().UnixMicro())) // a number that was listed before a restart is nobody else's after it
	return s
}

// Permit is permission for one use. Its holder transfers the bits of the use, and
// releases it when they end. Its size is a multiple of a cache line.
type Permit struct {
	// Most checks read only these four; together they are in one cache line.
	reason  atomic.Pointer[Reason] // nil while it holds
	allowed atomic.Uint64          // version of the rules at which Check last allowed, 0 for none
	expires int64                  // when the stream key ends, ns since 1970
	of      *Permits

	pair    Pair
	revoked func(Reason)
	held    atomic.Pointer[holding] // the last Allowed that depends on the clock

	// The use. How it is carried is of no interest here.
	subject   Subject
	device    ids.Device
	channel   int
	privilege privilege.Set

	released bool       // guarded by ending
	ending   sync.Mutex // of two checks at once, the later one sets the timer
	expiry   *time.Timer

	// The permit's places in the lists of its device and of its key.
	deviceLinks, keyLinks links
	issued                atomic.Pointer[Held] // nil until Acquire has returned it
}

// holding is an Allowed that depends on the clock: at this version of the rules it stands
// between two times, ns since 1970.
type holding struct {
	version      uint64
	since, until int64
}

func (h *holding) covers(version uint64, at int64) bool {
	return h != nil && h.version == version && h.since <= at && at < h.until
}

// forEver is the end of what never ends.
const forEver = privilege.Forever

// endOf returns when a key ends, ns since 1970; an end too far away to fit, in centuries,
// is only checked at changes.
func endOf(k Key) int64 {
	if k.Expires.IsZero() || k.Expires.Year() > 2261 {
		return forEver
	}
	return k.Expires.UnixNano()
}

// Acquire returns a permit for a use, or the verdict that refuses it. revoked is called
// once, when the permit is revoked: it must end what the permit is held for, and must not
// block. It may be called before Acquire returns and while Release runs.
//
// A change of what is permitted either finds the permit in the list, or comes before the
// check: no order of the two lets anything through.
func (s *Permits) Acquire(use Use, revoked func(Reason)) (*Permit, Verdict) {
	now := s.now()
	p := &Permit{
		subject: use.Subject, device: use.Device, channel: use.Channel, privilege: use.Privilege,
		of: s, pair: s.rules.Pair(use.Account, use.Device), revoked: revoked, expires: forEver,
	}
	if use.StreamKey != "" {
		key, _ := s.rules.Key(use.StreamKey)
		p.expires = endOf(key) // a key's end never changes
	}
	s.add(p)
	given := false
	defer func() {
		if !given { // refused, or in a panic
			p.Release()
		}
	}()
	standing, key := p.begin(now)
	switch v := standing.Verdict; {
	case v != Allowed || p.reason.Load() != nil:
		return nil, min(v, p.Check(now)) // a refusing verdict is less than Allowed
	case endOf(key) != p.expires: // it was added between the two lookups: its end would be missed
		return nil, NotFound
	}
	given = true
	p.issued.Store(&Held{use, s.last.Add(1), now})
	return p, Allowed
}

// Check reports whether the permit holds now, or else the verdict that refuses the use.
// It does not lock or allocate. The rules are used again only after they changed.
func (p *Permit) Check(now time.Time) Verdict {
	if r := p.reason.Load(); r != nil {
		if *r == Unknown {
			return Unavailable
		}
		return NotFound
	}
	at := now.UnixNano()
	if at >= p.expires {
		return NotFound
	}
	pulse := p.of.pulse
	if pulse == nil {
		return p.pair.Check(p.channel, p.privilege, now).Verdict
	}
	version := pulse.version.Load() // before the check: a change in the meantime is noticed next time
	if version == p.allowed.Load() && pulse.liveAt(pulse.since(now), at) {
		return Allowed
	}
	if p.held.Load().covers(version, at) && pulse.liveAt(pulse.since(now), at) {
		return Allowed
	}
	s := p.pair.Check(p.channel, p.privilege, now)
	switch {
	case s.Verdict != Allowed:
	case s.Timed:
		p.held.Store(&holding{version: version, since: at, until: s.Until})
	default:
		p.allowed.Store(version)
	}
	return s.Verdict
}

// Release releases the permit. Releasing it again does nothing.
func (p *Permit) Release() {
	p.ending.Lock()
	p.released = true
	if p.expiry != nil {
		p.expiry.Stop()
	}
	p.ending.Unlock()
	p.of.drop(p)
}

// Revoke revokes the permit for a reason given by its holder.
func (p *Permit) Revoke(r Reason) {
	if p.reason.CompareAndSwap(nil, &r) {
		p.revoked(r)
	}
}

// look checks everything that the permit needs against the rules. A stream key that is no
// longer in force refuses like a device that the account may not see.
func (p *Permit) look(now time.Time) (Standing, Key) {
	var key Key
	if name := p.subject.StreamKey; name != "" {
		var live bool
		key, live = p.of.rules.Key(name)
		if !live || key.Account != p.subject.Account || key.Expired(now) || key.Device != "" && key.Device != p.device {
			if !p.of.rules.Live(now) {
				return Standing{Verdict: Unavailable}, key
			}
			return Standing{Verdict: NotFound}, key
		}
	}
	return p.pair.Check(p.channel, p.privilege, now), key
}

// Recheck revokes the permit if its use is no longer permitted. If the check panics, the
// result is Unknown.
func (p *Permit) Recheck() {
	reason := Unknown
	defer func() {
		if fault := recover(); fault != nil {
			p.of.logger.Error("a check of a permit panicked", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
		}
		if reason != "" {
			p.Revoke(reason)
		}
	}()
	reason = p.duly()
}

// begin is the first check; if it allows, the timer is set for the end.
func (p *Permit) begin(now time.Time) (Standing, Key) {
	p.ending.Lock()
	defer p.ending.Unlock()
	s, key := p.look(now)
	if s.Verdict == Allowed {
		p.arm(s.end(), now)
	}
	return s, key
}

// duly returns why the permit must be revoked, "" if it holds. Then the timer is set for
// its end, as it is now.
func (p *Permit) duly() Reason {
	p.ending.Lock() // of two at once, the later check sets the timer
	defer p.ending.Unlock()
	now := p.of.now()
	reason, until := p.due(now)
	if reason == "" {
		p.arm(until, now)
	}
	return reason
}

// arm sets the timer for the end of the permit, ns since 1970. The caller holds ending.
func (p *Permit) arm(until int64, now time.Time) {
	until = min(until, p.expires)
	switch left := time.Duration(until - now.UnixNano()); {
	case p.released:
	case until == forEver:
		if p.expiry != nil {
			p.expiry.Stop()
		}
	case p.expiry == nil:
		p.expiry = time.AfterFunc(left, p.Recheck)
	default:
		p.expiry.Reset(left)
	}
}

// due returns why the permit must be revoked, "" if it holds; then also until when, in ns
// since 1970, as far as the rules go.
func (p *Permit) due(now time.Time) (reason Reason, until int64) {
	s, key := p.look(now)
	switch {
	case s.Verdict == Allowed:
		return "", s.end()
	case s.Verdict == Unavailable:
		return Unknown, 0
	case s.Timed:
		return Expired, 0
	case p.subject.StreamKey == "":
		return PrivilegeGone, 0
	case key.Expired(now) || now.UnixNano() >= p.expires:
		return Expired, 0
	case key.Account == "": // not live
		return KeyRevoked, 0
	}
	return PrivilegeGone, 0
}

// end returns when an Allowed ends, ns since 1970.
func (s Standing) end() int64 {
	if s.Timed {
		return s.Until
	}
	return forEver
}

// Changed revokes the permits that a change concerns and that are no longer justified.
// The rules must already reflect the change.
func (s *Permits) Changed(c Change) {
	for _, p := range s.concerned(c) {
		p.Recheck()
	}
}

// Run periodically checks every permit, until the context ends, whether or not a change
// is known: rules that no longer know what is permitted only report it when they are
// used.
func (s *Permits) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.Changed(Change{})
		case <-ctx.Done():
			return
		}
	}
}

// concerned lists the permits that a change concerns.
func (s *Permits) concerned(c Change) (list []*Permit) {
	take := func(p *Permit) {
		if (c.Account == "" || c.Account == p.subject.Account) && (c.Device == "" || c.Device == p.device) && (c.Key == "" || c.Key == p.subject.StreamKey) {
			list = append(list, p)
		}
	}
	switch {
	case c.Key != "":
		s.byKey.of(c.Key, take)
	case c.Device != "":
		s.byDevice.of(c.Device, take)
	default:
		s.byDevice.all(take)
	}
	return list
}

func (s *Permits) add(p *Permit) {
	s.byDevice.add(p.device, p)
	if p.subject.StreamKey != "" {
		s.byKey.add(p.subject.StreamKey, p)
	}
}

func (s *Permits) drop(p *Permit) {
	s.byDevice.drop(p.device, p)
	if p.subject.StreamKey != "" {
		s.byKey.drop(p.subject.StreamKey, p)
	}
}
