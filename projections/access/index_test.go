package access_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryLog is a log in memory, with the promises of the real one.
type memoryLog struct {
	mu      sync.Mutex
	events  []eventstore.Recorded
	changed chan struct{}
	away    bool // it does not answer
	blind   bool // Tail fails
	epoch   uint64
	other   bool          // it is another log
	drops   chan struct{} // closed to end a subscription's connection
	stuck   bool          // the subscription brings nothing
}

func newLog() *memoryLog {
	return &memoryLog{changed: make(chan struct{}), drops: make(chan struct{}), epoch: 1}
}

var logID = uuid.New()

func (l *memoryLog) Identity(context.Context) (eventstore.Identity, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return eventstore.Identity{}, errAway
	}
	return eventstore.Identity{Log: logID, Epoch: l.epoch}, nil
}

func (l *memoryLog) Holds(_ context.Context, m eventstore.Mark) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch at := int(m.Position) - 1; {
	case l.away:
		return errAway
	case l.other:
		return eventstore.ErrOtherLog
	case l.epoch > m.Epoch:
		return eventstore.ErrOtherEpoch
	case at >= 0 && (at >= len(l.events) || l.events[at].ID != m.Event):
		return eventstore.ErrLogCut
	}
	return nil
}

var errAway = fmt.Errorf("%w: the log is away", eventstore.ErrUnavailable)

// replace puts other events in the place of the log's, as a node does that
// starts again on another folder.
func (l *memoryLog) replace(events []eventstore.Recorded, epoch uint64) {
	l.set(func() { l.events, l.epoch = events, epoch; l.drop() })
}

// drop ends the connection of every subscription.
func (l *memoryLog) drop() {
	close(l.drops)
	l.drops = make(chan struct{})
}

func (l *memoryLog) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *memoryLog) append(t interface{ Fatal(...any) }, events ...event.Event) eventstore.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		name, data, err := catalogue.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		l.raw(name, data)
	}
	l.wake()
	return eventstore.Position(len(l.events))
}

func (l *memoryLog) raw(name string, data []byte) {
	l.events = append(l.events, eventstore.Recorded{ID: uuid.New(), Position: eventstore.Position(len(l.events) + 1), Type: name, Data: data})
}

func (l *memoryLog) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.wake()
}

func (l *memoryLog) Subscribe(ctx context.Context, after eventstore.Position, _ string, h eventstore.Handler) error {
	var connected chan struct{}
	for {
		l.mu.Lock()
		var events []eventstore.Recorded
		if !l.stuck && int(after) < len(l.events) {
			events = l.events[after:]
		}
		changed, drops := l.changed, l.drops
		l.mu.Unlock()
		if connected != drops { // it begins again
			connected = drops
			if err := h.Resume(ctx); errors.Is(err, eventstore.ErrUnavailable) {
				connected = nil
				select {
				case <-changed:
				case <-ctx.Done():
					return ctx.Err()
				}
				continue
			} else if err != nil {
				return err
			}
		}
		if len(events) > 0 {
			if err := h.Events(events); err != nil {
				return err
			}
			after = events[len(events)-1].Position
			continue
		}
		select {
		case <-changed:
		case <-drops:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *memoryLog) Tail(_ context.Context, most int, each func(eventstore.Recorded) bool) error {
	l.mu.Lock()
	events, away := l.events, l.away || l.blind
	l.mu.Unlock()
	if away {
		return errAway
	}
	for i := len(events) - 1; i >= 0 && most > 0; i-- {
		if most--; !each(events[i]) {
			return nil
		}
	}
	return nil
}

// nothing is a read model without rows.
type nothing struct{}

func (nothing) LoadPrivileges(context.Context, access.Loader) (eventstore.Position, eventstore.Mark, error) {
	return 0, eventstore.Mark{}, nil
}

const bound = 5 * time.Second

// running starts an index and stops it at the end of the test.
func running(t *testing.T, source access.Source, log access.Log, onChange func(access.Change)) *access.Index {
	t.Helper()
	x, err := access.New(access.Config{Source: source, Log: log, MaxStaleness: bound})
	if err != nil {
		t.Fatal(err)
	}
	if onChange != nil {
		x.OnChange(onChange)
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

func added(owner, id string, channels int) device.Added {
	e := device.Added{Device: id, Serial: id, Generation: 1, Owner: owner}
	for c := range channels {
		e.Channels = append(e.Channels, device.Channel{Channel: c + 1, Capabilities: privilege.All})
	}
	return e
}

func accepted(owner, acc, id string, p privilege.Set) share.Accepted {
	return share.Accepted{Share: owner + ".x", Owner: owner, Account: acc, Device: id, Grants: []share.Grant{{Channel: 1, Privileges: p}}}
}

func wait(t *testing.T, x *access.Index, pos eventstore.Position) {
	t.Helper()
	if err := x.WaitFor(t.Context(), pos); err != nil {
		t.Fatal(err)
	}
}

func TestVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		wait(t, x, log.append(t, added("olga", "cam", 2), accepted("olga", "rita", "cam", privilege.LiveView|privilege.PTZ)))
		synctest.Wait()
		for _, c := range []struct {
			account, device string
			channel         int
			p               privilege.Set
			want            access.Verdict
		}{
			{"olga", "cam", 1, privilege.All, access.Allowed},
			{"olga", "cam", 3, privilege.LiveView, access.NotFound},
			{"rita", "cam", 1, privilege.LiveView, access.Allowed},
			{"rita", "cam", 1, privilege.LiveView | privilege.PTZ, access.Allowed},
			{"rita", "cam", 1, privilege.Playback, access.Forbidden},
			{"rita", "cam", 1, privilege.LiveView | privilege.Playback, access.Forbidden},
			{"rita", "cam", 1, privilege.None, access.Forbidden},
			{"rita", "cam", 2, privilege.LiveView, access.Forbidden},
			{"rita", "cam", 0, privilege.LiveView, access.NotFound},
			{"rita", "cam", -1, privilege.LiveView, access.NotFound},
			{"rita", "cam", 1 << 20, privilege.LiveView, access.NotFound},
			{"rita", "other", 1, privilege.LiveView, access.NotFound},
			{"sam", "cam", 1, privilege.LiveView, access.NotFound},
			{"", "", 1, privilege.LiveView, access.NotFound},
		} {
			if got := x.Check(ids.Account(c.account), ids.Device(c.device), c.channel, c.p, time.Now()); got != c.want {
				t.Errorf("Check(%q, %q, %d, %v) = %v, want %v", c.account, c.device, c.channel, c.p, got, c.want)
			}
		}
	})
}

// TestOwner: one number for the devices of one account, another for those of
// another, and none for a device that is in no account.
func TestOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		wait(t, x, log.append(t, added("olga", "cam", 1), added("olga", "cam2", 1), added("sam", "other", 1),
			added("olga", "old", 1), device.Removed{Device: "old", Owner: "olga"}, accepted("olga", "sam", "cam", privilege.LiveView)))
		if olga := x.Owner("cam"); olga == 0 || x.Owner("cam2") != olga || x.Owner("other") == 0 || x.Owner("other") == olga {
			t.Errorf("owners are %d, %d and %d", olga, x.Owner("cam2"), x.Owner("other"))
		}
		for _, id := range []string{"old", "never", ""} {
			if owner := x.Owner(ids.Device(id)); owner != 0 {
				t.Errorf("Owner(%q) = %d, want 0", id, owner)
			}
		}
	})
}

// TestGone knows a removed device at once and for ever, and one that never was
// while the index is up to date.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		wait(t, x, log.append(t, added("olga", "cam", 1), added("olga", "old", 1), device.Removed{Device: "old", Owner: "olga"}))
		synctest.Wait()
		for id, want := range map[string]bool{"cam": false, "old": true, "never": true} {
			if got := x.Gone(ids.Device(id), time.Now()); got != want {
				t.Errorf("Gone(%q) = %v, want %v", id, got, want)
			}
		}
		stale := time.Now().Add(2 * bound)
		for id, want := range map[string]bool{"cam": false, "old": true, "never": false} {
			if got := x.Gone(ids.Device(id), stale); got != want {
				t.Errorf("Gone(%q) = %v while the index is stale, want %v", id, got, want)
			}
		}
	})
}

func TestClosedUntilMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		log.blind = true
		x := running(t, nothing{}, log, nil)
		wait(t, x, log.append(t, added("olga", "cam", 1)))
		synctest.Wait()
		if got := x.Check("olga", "cam", 1, privilege.LiveView, time.Now()); got != access.Unavailable {
			t.Fatalf("an index that was never measured says %v", got)
		}
	})
}

// Whatever cuts the index off, it closes within its bound, tells so, and opens
// again when it is up to date.
func TestStaleIndexCloses(t *testing.T) {
	for name, cut := range map[string]func(l *memoryLog, off bool){
		"the log does not answer":         func(l *memoryLog, off bool) { l.away = off },
		"the subscription brings nothing": func(l *memoryLog, off bool) { l.stuck = off; l.raw("latchkey.share.deleted.v1", []byte(`{}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLog()
				told := make(chan access.Change, 100)
				x := running(t, nothing{}, log, func(c access.Change) { told <- c })
				wait(t, x, log.append(t, added("olga", "cam", 1)))
				synctest.Wait()
				check := func(want access.Verdict, when string) {
					t.Helper()
					if got := x.Check("olga", "cam", 1, privilege.LiveView, time.Now()); got != want {
						t.Fatalf("%s: %v, want %v", when, got, want)
					}
				}
				check(access.Allowed, "at first")
				time.Sleep(10 * bound)
				check(access.Allowed, "after a quiet time")
				log.set(func() { cut(log, true) })
				time.Sleep(bound / 2)
				check(access.Allowed, "within the bound")
				time.Sleep(bound)
				synctest.Wait()
				check(access.Unavailable, "past the bound")
				if h := x.Health(); h.State != "stale" {
					t.Errorf("health says %q", h.State)
				}
				select {
				case c := <-told:
					if c != (access.Change{}) {
						t.Errorf("told of %+v, want of everything", c)
					}
				default:
					t.Error("nobody was told that the index is stale")
				}
				log.set(func() { cut(log, false) })
				time.Sleep(2 * bound)
				synctest.Wait()
				check(access.Allowed, "when it is back")
			})
		})
	}
}

func TestAnEventThatCannotBeReadClosesForGood(t *testing.T) {
	for name, bad := range map[string][2]string{
		"unknown type":  {"latchkey.share.frozen.v1", `{}`},
		"unknown field": {"latchkey.share.accepted.v1", `{"only_on_sundays":true}`},
		"no JSON":       {"latchkey.share.accepted.v1", `{`},
		"bad channel":   {"latchkey.device.added.v1", `{"device":"d","owner":"o","channels":[{"channel":512,"capabilities":[]}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLog()
				x := running(t, nothing{}, log, nil)
				wait(t, x, log.append(t, added("olga", "cam", 1)))
				log.set(func() { log.raw(bad[0], []byte(bad[1])) })
				pos := log.append(t, added("olga", "cam2", 1))
				if err := x.WaitFor(t.Context(), pos); err == nil {
					t.Error("the index skipped an event that it cannot read")
				}
				synctest.Wait()
				if got := x.Check("olga", "cam", 1, privilege.LiveView, time.Now()); got != access.Unavailable {
					t.Errorf("a broken index says %v", got)
				}
				if h := x.Health(); h.State != "broken" || h.Err == nil {
					t.Errorf("health: %+v", h)
				}
			})
		})
	}
}

// What is told is in force already, and WaitFor returns only after it was told.
func TestChangesAreToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		var x *access.Index
		var mu sync.Mutex
		var told []string
		x = running(t, nothing{}, log, func(c access.Change) {
			v := x.Check("rita", "cam", 1, privilege.LiveView, time.Now())
			mu.Lock()
			told = append(told, fmt.Sprintf("%s/%s %v", c.Account, c.Device, v))
			mu.Unlock()
		})
		wait(t, x, log.append(t, added("olga", "cam", 1)))
		synctest.Wait()
		for _, step := range []struct {
			event event.Event
			want  string
		}{
			{accepted("olga", "rita", "cam", privilege.LiveView), "rita/cam allowed"},
			{share.PrivilegesEdited{Owner: "olga", Account: "rita", Device: "cam", Grants: []share.Grant{{Channel: 1, Privileges: privilege.PTZ}}}, "rita/cam forbidden"},
			{share.Left{Owner: "olga", Account: "rita", Device: "cam"}, "rita/cam not_found"},
			{accepted("olga", "rita", "cam", privilege.LiveView), "rita/cam allowed"},
			{device.Removed{Device: "cam", Owner: "olga"}, "/cam not_found"},
		} {
			wait(t, x, log.append(t, step.event))
			mu.Lock()
			if len(told) == 0 || told[len(told)-1] != step.want {
				t.Errorf("%T: told %q, want %q last", step.event, told, step.want)
			}
			mu.Unlock()
		}
	})
}

func TestKeysAndDomains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		wait(t, x, log.append(t, added("olga", "cam", 1), accepted("olga", "rita", "cam", privilege.LiveView),
			account.StreamKeyAdded{Account: "rita", Key: "k1", Device: "cam"},
			share.DomainSet{Owner: "olga", Account: "rita", Device: "cam", Domain: "door"},
			share.DomainSet{Owner: "olga", Account: "sam", Device: "cam", Domain: "mine"}))
		if k, ok := x.Key("k1"); !ok || k.Account != "rita" || k.Device != "cam" {
			t.Errorf("Key = %+v, %v", k, ok)
		}
		resolve := func(account ids.Account, name string, want ids.Device, found bool) {
			t.Helper()
			if got, ok := x.Resolve(account, name); ok != found || ok && got != want {
				t.Errorf("Resolve(%q, %q) = %q, %v", account, name, got, ok)
			}
		}
		resolve("rita", "door", "cam", true)
		resolve("rita", "cam", "cam", true)
		resolve("olga", "door", "", false)
		resolve("sam", "mine", "", false) // has nothing to name
		wait(t, x, log.append(t, share.DomainSet{Owner: "olga", Account: "rita", Device: "cam", Domain: "gate"}, account.StreamKeyRevoked{Account: "rita", Key: "k1"}))
		resolve("rita", "door", "", false)
		resolve("rita", "gate", "cam", true)
		if _, ok := x.Key("k1"); ok {
			t.Error("a revoked key is there")
		}
		wait(t, x, log.append(t, share.Left{Owner: "olga", Account: "rita", Device: "cam"}))
		resolve("rita", "gate", "", false)
	})
}

// model is the index without any cleverness.
type model struct {
	known  map[string]bool // ids of devices do not return
	owner  map[string]string
	grants map[[2]string]map[int]privilege.Set
	when   map[[2]string]func(channel int, p privilege.Set, now time.Time) bool
	limits map[[2]string][]privilege.Condition // the same, as rows have it
}

func (m *model) apply(event event.Event) {
	give := func(owner, acc, dev string, list []share.Grant, terms ...privilege.Terms) {
		if m.owner[dev] != owner || owner == "" || acc == owner || acc == "" {
			return
		}
		g := map[int]privilege.Set{}
		for _, x := range list {
			g[x.Channel] = x.Privileges
		}
		m.limit(acc, dev, list, terms...)
		m.grants[[2]string{acc, dev}] = g
	}
	take := func(acc, dev string) {
		if m.owner[dev] != acc {
			delete(m.grants, [2]string{acc, dev})
		}
	}
	switch e := event.(type) {
	case device.Added:
		if m.known[e.Device] {
			return
		}
		m.known[e.Device] = true
		m.owner[e.Device] = e.Owner
		g := map[int]privilege.Set{}
		for _, c := range e.Channels {
			g[c.Channel] = c.Capabilities
		}
		m.grants[[2]string{e.Owner, e.Device}] = g
	case device.Removed:
		m.known[e.Device] = true
		delete(m.owner, e.Device)
		for k := range m.grants {
			if k[1] == e.Device {
				delete(m.grants, k)
			}
		}
	case share.Accepted:
		give(e.Owner, e.Account, e.Device, unless(e.Paused, e.Grants), e.ShareTerms, e.Terms)
	case share.PrivilegesEdited:
		give(e.Owner, e.Account, e.Device, unless(e.Paused, e.Grants), e.ShareTerms, e.Terms)
	case share.Paused:
		for _, g := range e.Given {
			give(e.Owner, g.Account, g.Device, nil)
		}
	case share.Resumed:
		for _, g := range e.Given {
			give(e.Owner, g.Account, g.Device, g.Grants, e.Terms, g.Terms)
		}
	case share.TermsChanged:
		for _, g := range e.Given {
			give(e.Owner, g.Account, g.Device, unless(g.Paused, g.Grants), e.Terms, g.Terms)
		}
	case share.Rejected:
		take(e.Account, e.Device)
	case share.Left:
		take(e.Account, e.Device)
	case share.DeviceRemoved:
		take(e.Account, e.Device)
	}
}

// limit notes when what an account may do on a device holds.
func (m *model) limit(acc, dev string, grants []share.Grant, terms ...privilege.Terms) {
	var share, device privilege.Terms
	if len(terms) == 2 {
		share, device = terms[0], terms[1]
	}
	m.limits[[2]string{acc, dev}] = privilege.Conditions(share, device, time.Time{}, grants)
	m.when[[2]string{acc, dev}] = func(channel int, p privilege.Set, now time.Time) bool {
		for _, t := range terms {
			if !within(t.Validity, now) {
				return false
			}
		}
		for _, g := range grants {
			for _, l := range g.Limits {
				if g.Channel == channel && l.Privileges&p != 0 && !within(l.Validity, now) {
					return false
				}
			}
		}
		return true
	}
}

// within looks at the clock.
func within(v privilege.Validity, now time.Time) bool {
	if now.Before(v.From) || !v.Until.IsZero() && !now.Before(v.Until) {
		return false
	}
	if v.Hours.Zone == "" {
		return true
	}
	zone, err := time.LoadLocation(v.Hours.Zone)
	if err != nil {
		return false
	}
	local := now.In(zone)
	today, minute := (int(local.Weekday())+6)%7, privilege.Clock(local.Hour()*60+local.Minute())
	for _, s := range v.Hours.Spans {
		across := s.End <= s.Start
		if s.Days.Has(today) && minute >= s.Start && (across || minute < s.End) || across && s.Days.Has((today+6)%7) && minute < s.End {
			return true
		}
	}
	return false
}

// started is what drawn times are around.
var started = time.Now()

func drawValidity(rt *rapid.T) (v privilege.Validity) {
	if rapid.IntRange(0, 2).Draw(rt, "timed") > 0 {
		return v
	}
	some := func(name string) (t time.Time) {
		if rapid.Bool().Draw(rt, name) {
			t = started.Add(time.Duration(rapid.IntRange(-5, 5).Draw(rt, "hours")) * time.Hour)
		}
		return t
	}
	v.From, v.Until = some("from"), some("until")
	if rapid.Bool().Draw(rt, "in hours") {
		v.Hours = privilege.Hours{Zone: rapid.SampledFrom([]string{"Europe/Berlin", "America/New_York", "Mars/Olympus"}).Draw(rt, "zone"), Spans: []privilege.Span{{
			Days: privilege.Days(rapid.IntRange(1, 127).Draw(rt, "days")), Start: privilege.Clock(rapid.IntRange(0, 700).Draw(rt, "start")), End: privilege.Clock(rapid.IntRange(701, 1440).Draw(rt, "end")),
		}}}
	}
	return v
}

func unless(paused bool, grants []share.Grant) []share.Grant {
	if paused {
		return nil
	}
	return grants
}

func (m *model) check(acc, dev string, channel int, p privilege.Set, now time.Time) access.Verdict {
	g, sees := m.grants[[2]string{acc, dev}]
	if m.owner[dev] == "" || !sees {
		return access.NotFound
	}
	if g[channel].Has(p) {
		if when := m.when[[2]string{acc, dev}]; m.owner[dev] == acc || when(channel, p, now) {
			return access.Allowed
		}
		return access.Forbidden
	}
	if m.owner[dev] == acc && g[channel] == privilege.None {
		return access.NotFound
	}
	return access.Forbidden
}

// Any sequence of events, some of them twice, gives what the model gives.
func TestIndexEqualsModel(t *testing.T) {
	accounts := []string{"a", "b", "c"}
	devices := []string{"d1", "d2"}
	rapid.Check(t, func(rt *rapid.T) {
		log := newLog()
		x, err := access.New(access.Config{Source: nothing{}, Log: log, MaxStaleness: bound})
		if err != nil {
			rt.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- x.Run(ctx) }()
		defer func() { cancel(); <-done }()
		for x.Health().State != "live" { // until it was measured
			runtime.Gosched()
		}
		m := newModel()
		for range rapid.IntRange(1, 30).Draw(rt, "events") {
			event := drawEvent(rt, accounts, devices)
			for range rapid.IntRange(1, 2).Draw(rt, "times") {
				m.apply(event)
				if err := x.WaitFor(ctx, log.append(rt, event)); err != nil {
					rt.Fatal(err)
				}
			}
			now := started.Add(-time.Duration(rapid.IntRange(0, 24*60).Draw(rt, "minutes back")) * time.Minute) // the clock may step
			for _, a := range accounts {
				for _, d := range devices {
					for c := 1; c <= 3; c++ {
						for _, p := range []privilege.Set{privilege.LiveView, privilege.PTZ, privilege.LiveView | privilege.PTZ} {
							if got, want := x.Check(ids.Account(a), ids.Device(d), c, p, now), m.check(a, d, c, p, now); got != want {
								rt.Fatalf("after %T %+v: Check(%s, %s, %d, %v, %v) = %v, want %v", event, event, a, d, c, p, now, got, want)
							}
						}
					}
				}
			}
		}
	})
}

func drawEvent(rt *rapid.T, accounts, devices []string) event.Event {
	owner, acc := rapid.SampledFrom(accounts).Draw(rt, "owner"), rapid.SampledFrom(accounts).Draw(rt, "account")
	dev := rapid.SampledFrom(devices).Draw(rt, "device")
	var grants []share.Grant
	for c := 1; c <= 3; c++ {
		if rapid.Bool().Draw(rt, "has channel") {
			g := share.Grant{Channel: c, Privileges: privilege.Set(rapid.IntRange(0, 31).Draw(rt, "privileges"))}
			if v := drawValidity(rt); !v.IsZero() {
				g.Limits = []privilege.Limit{{Privileges: privilege.PTZ, Validity: v}}
			}
			grants = append(grants, g)
		}
	}
	whole, terms := privilege.Terms{Validity: drawValidity(rt)}, privilege.Terms{Validity: drawValidity(rt)}
	paused := rapid.Bool().Draw(rt, "paused")
	given := []event.Given{{Device: dev, Account: acc, Grants: grants, Terms: terms, Paused: paused}, {Device: rapid.SampledFrom(devices).Draw(rt, "other"), Account: acc, Grants: grants}}
	switch rapid.IntRange(0, 9).Draw(rt, "kind") {
	case 9:
		return share.TermsChanged{Owner: owner, Terms: whole, Given: given[:rapid.IntRange(0, 2).Draw(rt, "given")]}
	case 7:
		return share.Paused{Owner: owner, Given: given[:rapid.IntRange(0, 2).Draw(rt, "given")]}
	case 8:
		given[0].Paused = false
		return share.Resumed{Owner: owner, Terms: whole, Given: given[:rapid.IntRange(0, 2).Draw(rt, "given")]}
	case 0:
		return added(owner, dev, rapid.IntRange(1, 3).Draw(rt, "channels"))
	case 1:
		return device.Removed{Device: dev, Owner: owner}
	case 2:
		return share.PrivilegesEdited{Owner: owner, Account: acc, Device: dev, Grants: grants, Paused: paused, ShareTerms: whole, Terms: terms}
	case 3:
		return share.Rejected{Owner: owner, Account: acc, Device: dev}
	case 4:
		return share.DeviceRemoved{Owner: owner, Account: acc, Device: dev, Reason: share.ByOwner}
	}
	return share.Accepted{Owner: owner, Account: acc, Device: dev, Grants: grants, Paused: paused, ShareTerms: whole, Terms: terms}
}

// TestAmbiguousName: a name that means several things to an account means none.
func TestAmbiguousName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		named := func(device, domain string) event.Event {
			return share.DomainSet{Owner: "olga", Account: "rita", Device: device, Domain: domain}
		}
		wait(t, x, log.append(t, added("olga", "cam", 1), added("olga", "dvr", 1), added("olga", "nvr", 1),
			accepted("olga", "rita", "cam", privilege.LiveView), accepted("olga", "rita", "dvr", privilege.LiveView),
			accepted("olga", "rita", "nvr", privilege.LiveView), named("cam", "door"), named("dvr", "door"), named("nvr", "door")))
		resolve := func(account ids.Account, name string, want ids.Device) {
			t.Helper()
			if got, ok := x.Resolve(account, name); ok != (want != "") || ok && got != want {
				t.Errorf("Resolve(%q, %q) = %q, %v; want %q", account, name, got, ok, want)
			}
		}
		resolve("rita", "door", "")
		wait(t, x, log.append(t, named("nvr", "yard")))
		resolve("rita", "door", "")
		resolve("rita", "yard", "nvr")
		wait(t, x, log.append(t, device.Removed{Device: "cam", Owner: "olga"}))
		resolve("rita", "door", "dvr")
		wait(t, x, log.append(t, share.DeviceRemoved{Owner: "olga", Account: "rita", Device: "cam"}))
		resolve("rita", "door", "dvr")

		wait(t, x, log.append(t, added("rita", "door", 1))) // her own camera, added later
		resolve("rita", "door", "")
		resolve("olga", "door", "door") // which she may not see
		wait(t, x, log.append(t, share.Left{Owner: "olga", Account: "rita", Device: "dvr"}))
		resolve("rita", "door", "door")

		wait(t, x, log.append(t, accepted("olga", "rita", "dvr", privilege.LiveView), named("dvr", "dvr")))
		resolve("rita", "dvr", "dvr")
	})
}
