package access_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/projections/access"
)

// holder holds permits, and notes why they were revoked.
type holder struct {
	mu      sync.Mutex
	reasons []access.Reason
}

func (h *holder) revoked(r access.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reasons = append(h.reasons, r)
}

func (h *holder) want(t *testing.T, what string, want ...access.Reason) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if fmt.Sprint(h.reasons) != fmt.Sprint(want) {
		t.Errorf("%s: revoked for %q, want %q", what, h.reasons, want)
	}
	h.reasons = nil
}

// live returns an index that decides.
func live(t *testing.T, log *memoryLog) *access.Index {
	t.Helper()
	x := running(t, nothing{}, log, func(access.Change) {})
	for x.Health().State != "live" {
		time.Sleep(time.Millisecond)
	}
	return x
}

func acquire(t *testing.T, x *access.Index, h *holder, key string, channel int, p privilege.Set) *access.Permit {
	t.Helper()
	permit, v := x.Acquire(access.Use{Subject: access.Subject{Account: "rita", StreamKey: ids.Key(key)}, Device: "cam", Channel: channel, Privilege: p}, h.revoked)
	if v != access.Allowed {
		t.Fatalf("no permit for %v on channel %d: %v", p, channel, v)
	}
	return permit
}

// TestPermitsEndAlone: what was taken back ends the permits that needed it, and no
// others: talk ends, and the picture stays.
func TestPermitsEndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := live(t, log)
		wait(t, x, log.append(t, added("olga", "cam", 2), accepted("olga", "rita", "cam", privilege.LiveView|privilege.TwoWayAudio)))
		var picture, talk holder
		watching := acquire(t, x, &picture, "", 1, privilege.LiveView)
		talking := acquire(t, x, &talk, "", 1, privilege.TwoWayAudio)
		edited := share.PrivilegesEdited{Owner: "olga", Account: "rita", Device: "cam", Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView}}}
		wait(t, x, log.append(t, edited))
		talk.want(t, "talk was taken back", access.PrivilegeGone)
		picture.want(t, "talk was taken back")
		if v := watching.Check(time.Now()); v != access.Allowed {
			t.Errorf("the picture is %v", v)
		}
		if v := talking.Check(time.Now()); v != access.NotFound {
			t.Errorf("talk that was revoked is %v", v)
		}
		wait(t, x, log.append(t, accepted("olga", "rita", "cam", privilege.All)))
		if v := talking.Check(time.Now()); v != access.NotFound {
			t.Errorf("a revoked permit came back: %v", v)
		}
		wait(t, x, log.append(t, device.Removed{Device: "cam", Owner: "olga"}))
		picture.want(t, "the device was removed", access.PrivilegeGone)
		talking.Release()
		watching.Release()
		watching.Release()
		if n := x.Held(); n != 0 {
			t.Errorf("%d permits are held after all were released", n)
		}
	})
}

// TestPermitsOfAStreamKey: a permit ends with the stream key that was shown for it.
func TestPermitsOfAStreamKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := live(t, log)
		soon := time.Now().Add(3 * time.Second)
		wait(t, x, log.append(t, added("olga", "cam", 2), accepted("olga", "rita", "cam", privilege.LiveView),
			account.StreamKeyAdded{Account: "rita", Key: "k1"}, account.StreamKeyAdded{Account: "rita", Key: "k2", Expires: soon},
			account.StreamKeyAdded{Account: "rita", Key: "k3", Device: "other"}, account.StreamKeyAdded{Account: "olga", Key: "k4"}))
		var first, second holder
		acquire(t, x, &first, "k1", 1, privilege.LiveView)
		brief := acquire(t, x, &second, "k2", 1, privilege.LiveView)
		for key, why := range map[string]string{"k3": "of another device", "k4": "of another account", "k5": "that is unknown"} {
			use := access.Use{Subject: access.Subject{Account: "rita", StreamKey: ids.Key(key)}, Device: "cam", Channel: 1, Privilege: privilege.LiveView}
			if _, v := x.Acquire(use, func(access.Reason) {}); v != access.NotFound {
				t.Errorf("a key %s: %v", why, v)
			}
		}
		time.Sleep(2 * time.Second)
		second.want(t, "the key has not run out")
		if v := brief.Check(soon); v != access.NotFound {
			t.Errorf("at the instant at which its key has run out: %v", v)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		second.want(t, "the key has run out", access.Expired)
		wait(t, x, log.append(t, account.StreamKeyRevoked{Account: "rita", Key: "k1"}))
		first.want(t, "the key was revoked", access.KeyRevoked)
		if n := x.Held(); n != 2 {
			t.Errorf("%d permits are held, want the 2 that nobody released", n)
		}
	})
}

// TestPermitsEndWhenNothingIsKnown: an index that lags, or that is loaded with less,
// revokes.
func TestPermitsEndWhenNothingIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := live(t, log)
		wait(t, x, log.append(t, added("olga", "cam", 2), accepted("olga", "rita", "cam", privilege.LiveView)))
		var h holder
		permit := acquire(t, x, &h, "", 1, privilege.LiveView)
		log.set(func() { log.away = true })
		time.Sleep(3 * bound)
		synctest.Wait()
		h.want(t, "the log is away", access.Unknown)
		if v := permit.Check(time.Now()); v != access.Unavailable {
			t.Errorf("the permit is %v", v)
		}
		if _, v := x.Acquire(access.Use{Subject: access.Subject{Account: "rita"}, Device: "cam", Channel: 1, Privilege: privilege.LiveView}, h.revoked); v != access.Unavailable {
			t.Errorf("a new one is %v", v)
		}
		h.want(t, "a permit that was refused")
	})
}

// TestPermitsAreCheckedWhenConcerned: a change makes those permits be checked again whom it
// concerns, and a defect of the rules is no leave.
func TestPermitsAreCheckedWhenConcerned(t *testing.T) {
	rules := &switching{}
	s := access.NewPermits(rules, nil, nil)
	var h holder
	permit, v := s.Acquire(access.Use{Subject: access.Subject{Account: "a"}, Device: "d"}, h.revoked)
	if v != access.Allowed {
		t.Fatal(v)
	}
	s.Changed(access.Change{Device: "other"})
	s.Changed(access.Change{Account: "other"})
	s.Changed(access.Change{Key: "other"})
	if rules.asked != 1 {
		t.Errorf("asked %d times, want once: no change concerned it", rules.asked)
	}
	for _, c := range []access.Change{{}, {Account: "a"}, {Device: "d"}, {Account: "a", Device: "d"}} {
		s.Changed(c)
	}
	if rules.asked != 5 {
		t.Errorf("asked %d times, want 5", rules.asked)
	}
	rules.panics = true
	s.Changed(access.Change{})
	h.want(t, "rules that panic", access.Unknown)
	permit.Revoke(access.PrivilegeGone)
	h.want(t, "it is revoked once")
}

// TestAPanicLeavesNoPermit: rules that panic while they are asked for a permit leave none.
func TestAPanicLeavesNoPermit(t *testing.T) {
	s := access.NewPermits(&switching{panics: true}, nil, nil)
	func() {
		defer func() { _ = recover() }()
		_, v := s.Acquire(access.Use{Subject: access.Subject{Account: "a"}, Device: "d"}, func(access.Reason) {})
		t.Errorf("it is %v", v)
	}()
	if n := s.Held(); n != 0 {
		t.Errorf("%d permits are held", n)
	}
}

// TestAKeyThatComesBetweenIsNotForever: a stream key that is added while a permit is
// acquired gives no permit without its end.
func TestAKeyThatComesBetweenIsNotForever(t *testing.T) {
	rules := &switching{keys: []access.Key{{}, {Name: "k", Account: "a", Expires: time.Now().Add(time.Hour)}}}
	s := access.NewPermits(rules, nil, nil)
	use := access.Use{Subject: access.Subject{Account: "a", StreamKey: "k"}, Device: "d"}
	if _, v := s.Acquire(use, func(access.Reason) {}); v != access.NotFound || s.Held() != 0 {
		t.Errorf("it is %v, and %d permits are held", v, s.Held())
	}
}

// TestUnknownKindsOfEffectsDeny: a kind of effect that somebody adds, and that the index
// was not taught, is not passed over.
func TestUnknownKindsOfEffectsDeny(t *testing.T) {
	err := access.PutInForce(event.Effect{Kind: event.KeyRevoked + 1, Account: "a", Owner: "o", Device: "d"})
	if !errors.Is(err, event.ErrImpossible) {
		t.Errorf("it is put in force: %v", err)
	}
}

// TestAPermitSeesEveryChange: Check asks the rules again after every change, whether the
// permit was told of it or not, and in between only whether they know.
func TestAPermitSeesEveryChange(t *testing.T) {
	rules := &switching{}
	s := access.NewPermits(rules, nil, nil)
	permit, v := s.Acquire(access.Use{Subject: access.Subject{Account: "a"}, Device: "d"}, func(access.Reason) {})
	if v != access.Allowed {
		t.Fatal(v)
	}
	want := func(what string, v access.Verdict, asked int) {
		t.Helper()
		rules.asked = 0
		if got := permit.Check(time.Now()); got != v || rules.asked != asked {
			t.Errorf("%s: %v, and the rules were asked %d times; want %v, %d", what, got, rules.asked, v, asked)
		}
	}
	want("at first", access.Allowed, 1)
	want("unchanged", access.Allowed, 0)
	rules.Pulse().Change()
	want("changed", access.Allowed, 1)
	want("unchanged since", access.Allowed, 0)
	rules.Pulse().Change()
	rules.verdict = access.Forbidden
	want("taken back", access.Forbidden, 1)
	want("a refusal is not kept", access.Forbidden, 1)
	rules.verdict = access.Allowed
	want("given back", access.Allowed, 1)
	rules.pulse.Beat(false)
	rules.dead = true
	want("nothing is known", access.Unavailable, 1)
	rules.pulse.Beat(true)
	rules.dead = false
	want("known again", access.Allowed, 0)
	rules.during = func() { rules.Pulse().Change() }
	rules.Pulse().Change()
	want("changed during the check", access.Allowed, 1)
	rules.during = nil
	want("after a change during the check", access.Allowed, 1)
}

// switching are rules that give one verdict, until they panic.
type switching struct {
	pulse   *access.Pulse
	verdict access.Verdict // Unavailable for Allowed
	dead    bool           // every verdict is Unavailable
	during  func()         // called in Check
	asked   int
	panics  bool
	keys    []access.Key // what Key returns, one after the other
}

func (s *switching) Live(time.Time) bool { return !s.dead }
func (s *switching) Pulse() *access.Pulse {
	if s.pulse == nil {
		s.pulse = access.NewPulse()
	}
	return s.pulse
}
func (s *switching) Key(ids.Key) (access.Key, bool) {
	if len(s.keys) == 0 {
		return access.Key{}, false
	}
	k := s.keys[0]
	s.keys = s.keys[1:]
	return k, k.Account != ""
}
func (s *switching) Pair(ids.Account, ids.Device) access.Pair { return s }
func (s *switching) Check(int, privilege.Set, time.Time) access.Standing {
	if s.asked++; s.panics {
		panic("a defect")
	}
	if s.during != nil {
		s.during()
	}
	switch {
	case s.dead:
		return access.Standing{Verdict: access.Unavailable}
	case s.verdict == access.Unavailable:
		return access.Standing{Verdict: access.Allowed}
	}
	return access.Standing{Verdict: s.verdict}
}

// TestNoRevocationIsMissed: a permit that is acquired while its privilege is taken back
// is refused or revoked.
func TestNoRevocationIsMissed(t *testing.T) {
	log := newLog()
	x := live(t, log)
	wait(t, x, log.append(t, added("olga", "cam", 2)))
	for round := range 200 {
		wait(t, x, log.append(t, accepted("olga", "rita", "cam", privilege.LiveView)))
		var all sync.WaitGroup
		type held struct {
			permit *access.Permit
			ended  chan access.Reason
		}
		acquired := make(chan held, 8)
		for range cap(acquired) {
			all.Go(func() {
				ended := make(chan access.Reason, 1)
				use := access.Use{Subject: access.Subject{Account: "rita"}, Device: "cam", Channel: 1, Privilege: privilege.LiveView}
				if p, v := x.Acquire(use, func(r access.Reason) { ended <- r }); v == access.Allowed {
					acquired <- held{p, ended}
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := x.WaitFor(ctx, log.append(t, share.Left{Owner: "olga", Account: "rita", Device: "cam"})); err != nil {
			t.Fatal(err)
		}
		cancel()
		all.Wait()
		close(acquired)
		for h := range acquired {
			select {
			case <-h.ended:
			default:
				t.Fatalf("round %d: a permit outlived its privilege", round)
			}
			h.permit.Release()
		}
	}
}

// TestOneUseIsEnded: the use that is named ends, of that device alone, and is listed no
// more; what carries nothing to a viewer is neither listed nor ended.
func TestOneUseIsEnded(t *testing.T) {
	s := access.NewPermits(&switching{}, nil, nil)
	var one, other, quiet holder
	hold := func(h *holder, device, transport string) *access.Permit {
		p, v := s.Acquire(access.Use{Subject: access.Subject{Account: "a"}, Device: ids.Device(device), Transport: transport, Address: netip.MustParseAddr("192.0.2.7")}, h.revoked)
		if v != access.Allowed {
			t.Fatal(v)
		}
		return p
	}
	hold(&one, "d", "rtsp-tcp")
	hold(&quiet, "d", "")
	left := hold(&other, "d", "rtsp-udp")
	uses := s.InUse("d")
	if len(uses) != 2 || uses[0].Address.String() != "192.0.2.7" || uses[0].No >= uses[1].No {
		t.Fatalf("%+v", uses)
	}
	if s.End("e", uses[0].No) || s.End("d", uses[0].No+1) || s.End("d", 0) {
		t.Error("something else was ended")
	}
	if !s.End("d", uses[0].No) || s.End("d", uses[0].No) {
		t.Error("it is ended once")
	}
	one.want(t, "the use", access.Ended)
	other.want(t, "another use")
	quiet.want(t, "what carries nothing")
	if now := s.InUse("d"); len(now) != 1 || now[0].No != uses[1].No {
		t.Errorf("in use: %+v", now)
	}
	left.Release()
	if s.End("d", uses[1].No) {
		t.Error("what was released is ended")
	}
}
