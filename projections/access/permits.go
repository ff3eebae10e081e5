package access

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/domain/privilege"
)

// Subject is who uses a camera: an account, and what it showed to be let in.
type Subject struct {
	Account string
	// StreamKey is the name of the stream key that was shown, "" for a session. The use
	// ends with the key.
	StreamKey string
}

// Use is what a permit is asked for.
type Use struct {
	Subject
	Device    string // id
	Channel   int
	Privilege privilege.Set // every privilege of it is needed
}

// Reason is why a permit was revoked. Its values are labels of metrics.
type Reason string

// The reasons.
const (
	PrivilegeGone Reason = "revoked"     // the privilege was taken back, or the device removed
	KeyRevoked    Reason = "key"         // the stream key was revoked
	KeyExpired    Reason = "expired"     // the stream key has run out
	Unknown       Reason = "unavailable" // it is not known what is permitted
)

// Rules decide about uses; an Index does.
type Rules interface {
	// Live reports whether it is known at this time what is permitted.
	Live(now time.Time) bool
	// Pulse is always the same one, or always nil: then every check asks the rules.
	Pulse() *Pulse
	// Key returns a stream key that was not revoked. It may have expired.
	Key(name string) (Key, bool)
	// Pair looks an account and a device up, once for many checks.
	Pair(account, device string) Pair
}

// Pair is an account and a device.
type Pair interface {
	// Check reports whether the account may do p, every privilege of it, on the channel
	// of the device now.
	Check(channel int, p privilege.Set, now time.Time) Verdict
}

// Permits gives out permits and revokes them. It is safe for concurrent use.
type Permits struct {
	rules  Rules
	pulse  *Pulse
	now    func() time.Time
	logger *slog.Logger

	mu       sync.Mutex
	byDevice map[string]*Permit // the first of a list
	byKey    map[string]*Permit
}

// NewPermits returns permits under the rules. now and logger may be nil: time.Now, none.
func NewPermits(rules Rules, now func() time.Time, logger *slog.Logger) *Permits {
	if now == nil {
		now = time.Now
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Permits{rules: rules, pulse: rules.Pulse(), now: now, logger: logger, byDevice: map[string]*Permit{}, byKey: map[string]*Permit{}}
}

// Permit is leave for one use. Whoever carries the bits of the use holds it, and
// releases it when they end.
type Permit struct {
	// These four are what most checks read; together they are in one line of the cache.
	reason  atomic.Pointer[Reason] // nil while it holds
	allowed atomic.Uint64          // version of the rules at which Check last allowed, 0 for none
	expires int64                  // when the stream key ends, ns since 1970
	of      *Permits

	pair    Pair
	use     Use
	revoked func(Reason)
	expiry  *time.Timer

	// The lists of a device and of a key; of.mu guards them.
	deviceLinks, keyLinks links
}

// forEver is the end of what does not end.
const forEver = math.MaxInt64

// endOf returns when a key ends, ns since 1970; an end that does not fit, in centuries,
// is looked at with every change only.
func endOf(k Key) int64 {
	if k.Expires.IsZero() || k.Expires.Year() > 2261 {
		return forEver
	}
	return k.Expires.UnixNano()
}

type links struct{ before, after *Permit }

// Acquire returns a permit for a use, or the verdict that refuses it. revoked is
// called once, when the permit is revoked: it must end what the permit is held for, and
// wait for nobody. It may be called before Acquire returns and while Release runs.
//
// A change of what is permitted finds the permit in the list, or the check comes after
// the change: no order of the two lets anything through.
func (s *Permits) Acquire(use Use, revoked func(Reason)) (*Permit, Verdict) {
	now := s.now()
	p := &Permit{use: use, of: s, pair: s.rules.Pair(use.Account, use.Device), revoked: revoked, expires: forEver}
	if use.StreamKey != "" {
		key, _ := s.rules.Key(use.StreamKey)
		p.expires = endOf(key) // of a key it never changes
	}
	s.add(p)
	given := false
	defer func() {
		if !given { // refused, or in a panic
			s.drop(p)
		}
	}()
	v, key := p.look(now)
	switch {
	case v != Allowed || p.reason.Load() != nil:
		return nil, min(v, p.Check(now)) // a verdict that refuses is less than Allowed
	case endOf(key) != p.expires: // it was added between the two looks: its end would be missed
		return nil, NotFound
	}
	if p.expires != forEver {
		p.expiry = time.AfterFunc(key.Expires.Sub(now), p.Recheck)
	}
	given = true
	return p, Allowed
}

// Check reports whether the permit holds now, and else what refuses the use. It takes
// no lock and allocates nothing. The rules are asked again only after they changed.
func (p *Permit) Check(now time.Time) Verdict {
	if r := p.reason.Load(); r != nil {
		if *r == Unknown {
			return Unavailable
		}
		return NotFound
	}
	if now.UnixNano() >= p.expires {
		return NotFound
	}
	pulse := p.of.pulse
	if pulse == nil {
		return p.pair.Check(p.use.Channel, p.use.Privilege, now)
	}
	version := pulse.version.Load() // before the check: a change that comes meanwhile is looked at next time
	if version == p.allowed.Load() && pulse.Live(now) {
		return Allowed
	}
	v := p.pair.Check(p.use.Channel, p.use.Privilege, now)
	if v == Allowed {
		p.allowed.Store(version)
	}
	return v
}

// Release gives the permit back. Releasing it again does nothing.
func (p *Permit) Release() {
	if p.expiry != nil {
		p.expiry.Stop()
	}
	p.of.drop(p)
}

// Revoke revokes the permit for a reason of its holder's.
func (p *Permit) Revoke(r Reason) {
	if p.reason.CompareAndSwap(nil, &r) {
		p.revoked(r)
	}
}

// look asks the rules for everything that the permit needs. A stream key that is not in
// force any more refuses like a device that the account may not see.
func (p *Permit) look(now time.Time) (Verdict, Key) {
	var key Key
	if name := p.use.StreamKey; name != "" {
		var live bool
		key, live = p.of.rules.Key(name)
		if !live || key.Account != p.use.Account || key.Expired(now) || key.Device != "" && key.Device != p.use.Device {
			if !p.of.rules.Live(now) {
				return Unavailable, key
			}
			return NotFound, key
		}
	}
	return p.pair.Check(p.use.Channel, p.use.Privilege, now), key
}

// Recheck revokes the permit if its use is no longer permitted. Where the question
// panics, it is not known.
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
	reason = p.due(p.of.now())
}

// due returns why the permit must be revoked, "" if it holds.
func (p *Permit) due(now time.Time) Reason {
	v, key := p.look(now)
	switch {
	case v == Allowed:
		return ""
	case v == Unavailable:
		return Unknown
	case p.use.StreamKey == "":
		return PrivilegeGone
	case key.Expired(now) || now.UnixNano() >= p.expires:
		return KeyExpired
	case key.Account == "": // not live
		return KeyRevoked
	}
	return PrivilegeGone
}

// Changed revokes the permits that a change concerns and that are no longer due. The
// rules must show the change already.
func (s *Permits) Changed(c Change) {
	for _, p := range s.concerned(c) {
		p.Recheck()
	}
}

// Run checks every permit again and again, until the context ends, whether something is
// known to have changed or not: rules that no longer know what is permitted say so only
// when they are asked.
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

// concerned lists the permits whom a change concerns.
func (s *Permits) concerned(c Change) (list []*Permit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	take := func(p *Permit) {
		if (c.Account == "" || c.Account == p.use.Account) && (c.Device == "" || c.Device == p.use.Device) && (c.Key == "" || c.Key == p.use.StreamKey) {
			list = append(list, p)
		}
	}
	switch {
	case c.Key != "":
		for p := s.byKey[c.Key]; p != nil; p = p.keyLinks.after {
			take(p)
		}
	case c.Device != "":
		for p := s.byDevice[c.Device]; p != nil; p = p.deviceLinks.after {
			take(p)
		}
	default:
		for _, first := range s.byDevice {
			for p := first; p != nil; p = p.deviceLinks.after {
				take(p)
			}
		}
	}
	return list
}

func deviceLinks(p *Permit) *links { return &p.deviceLinks }
func keyLinks(p *Permit) *links    { return &p.keyLinks }

func (s *Permits) add(p *Permit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	link(s.byDevice, p.use.Device, p, deviceLinks)
	if p.use.StreamKey != "" {
		link(s.byKey, p.use.StreamKey, p, keyLinks)
	}
}

func (s *Permits) drop(p *Permit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlink(s.byDevice, p.use.Device, p, deviceLinks)
	if p.use.StreamKey != "" {
		unlink(s.byKey, p.use.StreamKey, p, keyLinks)
	}
}

// link puts a permit first in a list.
func link(lists map[string]*Permit, name string, p *Permit, of func(*Permit) *links) {
	if first := lists[name]; first != nil {
		of(p).after, of(first).before = first, p
	}
	lists[name] = p
}

// unlink takes a permit out of a list, if it is in it.
func unlink(lists map[string]*Permit, name string, p *Permit, of func(*Permit) *links) {
	l := of(p)
	switch {
	case l.before != nil:
		of(l.before).after = l.after
	case lists[name] != p:
		return
	case l.after == nil:
		delete(lists, name)
	default:
		lists[name] = l.after
	}
	if l.after != nil {
		of(l.after).before = l.before
	}
	*l = links{}
}
