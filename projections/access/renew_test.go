package access_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
	"latchkey/projections/access"
)

// shelf is a read model of everything that a log holds, whose numbers are given
// again at each load.
type shelf struct {
	log    *memoryLog
	decode func(eventstore.Recorded) event.Event
	before func() // is called before the rows are made
	after  func() // and after that
	keep   bool   // the rows of what is gone are there, with numbers
	lacks  bool
	loads  int
}

func (s *shelf) LoadPrivileges(_ context.Context, l access.Loader) (eventstore.Position, eventstore.Mark, error) {
	s.loads++
	if s.before != nil {
		s.before()
	}
	s.log.mu.Lock()
	events, epoch := slices.Clone(s.log.events), s.log.epoch
	s.log.mu.Unlock()
	m := newModel()
	keys := map[string]account.StreamKeyAdded{}
	for _, e := range events {
		switch e := s.decode(e).(type) {
		case account.StreamKeyAdded:
			keys[e.Key] = e
		case account.StreamKeyRevoked:
			delete(keys, e.Key)
		default:
			m.apply(e)
		}
	}
	mark := eventstore.Mark{Identity: eventstore.Identity{Log: logID, Epoch: epoch}}
	position := eventstore.Position(len(events))
	if position > 0 {
		mark.Position, mark.Event = position, events[position-1].ID
	}
	if err := l.Begin(position, s.lacks); err != nil {
		return 0, eventstore.Mark{}, err
	}
	s.rows(m, keys, l)
	if s.after != nil {
		s.after()
	}
	return position, mark, nil
}

func (s *shelf) rows(m *model, keys map[string]account.StreamKeyAdded, l access.Loader) {
	accounts, devices := map[string]uint32{}, map[string]uint32{}
	number := func(of map[string]uint32, id string) uint32 {
		if of[id] == 0 {
			of[id] = uint32(len(of) + 1)
		}
		return of[id]
	}
	if s.keep { // what others had on a removed device stays until its shares end
		for _, id := range slices.Sorted(maps.Keys(m.known)) {
			if d := number(devices, id); m.owner[id] == "" {
				for _, owner := range m.owner {
					l.Grant(number(accounts, owner), d, 1, uint8(privilege.All))
				}
			}
		}
	}
	for pair, grants := range m.grants {
		a, d := number(accounts, pair[0]), number(devices, pair[1])
		l.Grant(a, d, 0, 0)
		for channel, set := range grants {
			mask := uint8(set)
			if set != privilege.None && m.owner[pair[1]] != pair[0] && privilege.Concern(m.limits[pair], channel) {
				mask |= access.LimitedMask
			}
			l.Grant(a, d, uint16(channel), mask)
		}
		if list := m.limits[pair]; len(list) > 0 && m.owner[pair[1]] != pair[0] {
			l.Conditions(a, d, list)
		}
	}
	for id, owner := range m.owner {
		number(devices, id)
		number(accounts, owner)
	}
	for id, no := range accounts {
		l.Account(no, ids.Account(id))
	}
	for id, no := range devices {
		l.Device(no, ids.Device(id), accounts[m.owner[id]], m.owner[id] != "")
	}
	for _, k := range keys {
		l.Key(ids.Key(k.Key), ids.Account(k.Account), ids.Device(k.Device), k.Expires)
	}
}

func newModel() *model {
	return &model{
		known: map[string]bool{}, owner: map[string]string{}, grants: map[[2]string]map[int]privilege.Set{},
		when: map[[2]string]func(int, privilege.Set, time.Time) bool{}, limits: map[[2]string][]privilege.Condition{},
	}
}

// limited starts an index with few numbers.
func limited(t *testing.T, source access.Source, log access.Log, numbers uint32) *access.Index {
	t.Helper()
	x, err := access.New(access.Config{Source: source, Log: log, MaxStaleness: bound, Numbers: numbers})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return x
}

func allowed(x *access.Index, acc, dev string) bool {
	return x.Check(ids.Account(acc), ids.Device(dev), 1, privilege.LiveView, time.Now()) == access.Allowed
}

// TestChurn adds and removes far more than there are numbers, and keys: what is
// remembered is what lives.
func TestChurn(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := newLog()
			source := &shelf{log: log, decode: decoded(t), keep: keep}
			numbers := uint32(32)
			if keep {
				numbers = 1 << 12 // nobody gives them back
			}
			x := limited(t, source, log, numbers)
			log.append(t, added("olga", "kept", 1), accepted("olga", "rita", "kept", privilege.LiveView), account.StreamKeyAdded{Account: "rita", Key: "kept"})
			for i := range 500 {
				id, key := fmt.Sprint("cam", i), fmt.Sprint("key", i)
				wait(t, x, log.append(t, added("olga", id, 1), accepted("olga", "rita", id, privilege.LiveView), account.StreamKeyAdded{Account: "rita", Key: key}))
				synctest.Wait()
				if !allowed(x, "rita", id) || !allowed(x, "rita", "kept") {
					t.Fatalf("after %d devices: %+v", i, x.Health())
				}
				wait(t, x, log.append(t, device.Removed{Device: id, Owner: "olga"}, account.StreamKeyRevoked{Account: "rita", Key: key}))
				if allowed(x, "rita", id) || allowed(x, "olga", id) {
					t.Fatalf("device %d was removed", i)
				}
				if i%20 == 19 {
					time.Sleep(access.RenewEvery)
					synctest.Wait()
				}
			}
			if accounts, devices, keys := x.Counts(); accounts != 2 || devices != 1 || keys != 1 {
				t.Errorf("%d accounts, %d devices and %d keys are remembered after %d loads", accounts, devices, keys, source.loads)
			}
			if _, ok := x.Key("kept"); !ok || x.Full() || x.Health().State != "live" {
				t.Errorf("at the end: %+v", x.Health())
			}
		})
	}
}

// TestFull: the old is served, the new is denied, what is taken away is gone, and
// when there is room again the new is served.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const numbers = 8
		log := newLog()
		source := &shelf{log: log, decode: decoded(t)}
		x := limited(t, source, log, numbers)
		for i := range numbers {
			log.append(t, added("olga", fmt.Sprint("cam", i), 1))
		}
		wait(t, x, log.append(t, accepted("olga", "rita", "cam0", privilege.LiveView), accepted("olga", "rita", "cam1", privilege.LiveView)))
		if !x.Full() {
			t.Error("it is not full with all numbers given")
		}
		wait(t, x, log.append(t, added("olga", "new", 1), accepted("olga", "rita", "new", privilege.LiveView)))
		synctest.Wait()
		check := func(when, acc, dev string, want bool) {
			t.Helper()
			if got := allowed(x, acc, dev); got != want {
				t.Errorf("%s: %s on %s: %v, want %v", when, acc, dev, got, want)
			}
		}
		check("full", "olga", "new", false)
		check("full", "rita", "new", false)
		check("full", "rita", "cam0", true)
		check("full", "olga", "cam7", true)
		if h := x.Health(); h.State != "full" || !h.Ready() || !strings.Contains(h.Reason, "refused") {
			t.Errorf("health: %+v", h)
		}
		if x.Gone("new", time.Now()) {
			t.Error("a device that no number was left for is said to be gone")
		}
		wait(t, x, log.append(t, device.Removed{Device: "cam0", Owner: "olga"}))
		check("removed while full", "rita", "cam0", false)
		check("removed while full", "rita", "cam1", true)
		time.Sleep(2 * access.RenewEvery)
		synctest.Wait()
		check("with room", "rita", "new", true) // the read model had a number for it
		check("with room", "rita", "cam0", false)
		check("with room", "rita", "cam1", true)
		wait(t, x, log.append(t, device.Removed{Device: "cam2", Owner: "olga"}, device.Removed{Device: "cam3", Owner: "olga"}))
		time.Sleep(2 * access.RenewEvery)
		synctest.Wait()
		if x.Full() || x.Health().State != "live" {
			t.Errorf("health: %+v", x.Health())
		}
		wait(t, x, log.append(t, added("olga", "newer", 1)))
		check("with room", "olga", "newer", true)
	})
}

// TestARefOfBefore: numbers mean nothing after they were given again.
func TestARefOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := limited(t, &shelf{log: log, decode: decoded(t)}, log, 0)
		wait(t, x, log.append(t, added("olga", "cam", 1), added("sam", "other", 1)))
		synctest.Wait()
		ref := x.Intern("olga", "cam")
		if x.CheckRef(ref, 1, privilege.LiveView, time.Now()) != access.Allowed {
			t.Fatal("it is not in force")
		}
		if err := x.LoadAside(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := x.CheckRef(ref, 1, privilege.LiveView, time.Now()); got != access.NotFound {
			t.Errorf("a Ref of before: %v", got)
		}
		if !allowed(x, "olga", "cam") {
			t.Error("it is lost")
		}
	})
}

// TestALogRestoredWhileLoading: contents that were loaded aside before the log was
// restored never come into force.
func TestALogRestoredWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		source := &shelf{log: log, decode: decoded(t)}
		x := limited(t, source, log, 0)
		wait(t, x, log.append(t, added("olga", "cam", 1), accepted("olga", "rita", "cam", privilege.LiveView)))
		synctest.Wait()
		log.mu.Lock()
		older := slices.Clone(log.events[:1])
		log.mu.Unlock()
		source.after = func() {
			source.after = nil
			log.replace(older, 2)
			time.Sleep(2 * bound)
		}
		if err := x.LoadAside(t.Context()); err == nil {
			t.Error("rows of the log's earlier life were taken")
		}
		time.Sleep(bound)
		synctest.Wait()
		if allowed(x, "rita", "cam") || !allowed(x, "olga", "cam") {
			t.Errorf("after the log was restored: %+v", x.Health())
		}
	})
}

// decoded finds the event that was appended, by its place in the log.
func decoded(t interface{ Fatal(...any) }) func(eventstore.Recorded) event.Event {
	return func(r eventstore.Recorded) event.Event {
		e, err := catalogue.Decode(r.Type, r.Data)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
}

// TestLoadedAsideEqualsModel: an index that is loaded again at any time, while
// events come before, during and after that, says what the model says. With few
// numbers it says yes to nothing more.
func TestLoadedAsideEqualsModel(t *testing.T) {
	accounts := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(rt *rapid.T) {
		numbers := rapid.SampledFrom([]uint32{0, 4, 6, 12}).Draw(rt, "numbers")
		log := newLog()
		source := &shelf{log: log, decode: decoded(rt), keep: rapid.Bool().Draw(rt, "keeps rows")}
		x, err := access.New(access.Config{Source: source, Log: log, MaxStaleness: time.Minute, Numbers: numbers})
		if err != nil {
			rt.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- x.Run(ctx) }()
		defer func() { cancel(); <-done }()
		for !x.Health().Ready() {
			runtime.Gosched()
		}
		m, devices := newModel(), []string{"d1", "d2"}
		step := func(pos *eventstore.Position) {
			e := drawEvent(rt, accounts, devices)
			switch e := e.(type) {
			case device.Added:
				if m.known[e.Device] { // ids do not return
					devices = append(devices, fmt.Sprint("d", len(devices)+1))
					return
				}
			case device.Removed:
				if m.owner[e.Device] != e.Owner {
					return
				}
			}
			m.apply(e)
			*pos = log.append(rt, e)
		}
		some := func(what string) func() {
			n := rapid.IntRange(0, 4).Draw(rt, what)
			return func() {
				var pos eventstore.Position
				for range n {
					step(&pos)
				}
				if err := x.WaitFor(ctx, pos); err != nil {
					rt.Fatal(err)
				}
			}
		}
		for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			some("before")()
			source.before, source.after = some("while it is asked"), some("while it answers")
			if err := x.LoadAside(ctx); err != nil && numbers == 0 {
				rt.Fatal(err)
			}
			source.before, source.after = nil, nil
			some("after")()
			for _, a := range accounts {
				for _, d := range devices {
					for c := 1; c <= 3; c++ {
						now := time.Now()
						got, want := x.Check(ids.Account(a), ids.Device(d), c, privilege.LiveView, now), m.check(a, d, c, privilege.LiveView, now)
						if numbers == 0 && got != want || got == access.Allowed && want != access.Allowed {
							rt.Fatalf("Check(%s, %s, %d) = %v, want %v", a, d, c, got, want)
						}
					}
				}
			}
		}
	})
}
