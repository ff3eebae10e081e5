package access_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections/access"
)

// A log that lost what the index applied closes it, whether a subscription
// begins again or only the end of the log is seen to be lower, and whether the
// log has grown since or not. When the right log is back, it opens.
func TestALogThatLostEventsDenies(t *testing.T) {
	for name, c := range map[string]struct {
		drop bool
		grow int
	}{
		"the node starts on an older folder":                {true, 0},
		"the older folder has grown past what was applied":  {true, 10},
		"the end is lower, and no subscription began again": {false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLog()
				told := make(chan access.Change, 100)
				x := running(t, nothing{}, log, func(c access.Change) { told <- c })
				log.append(t, added("olga", "cam", 1), accepted("olga", "rita", "cam", privilege.LiveView))
				log.mu.Lock()
				older := slices.Clone(log.events)
				log.mu.Unlock()
				wait(t, x, log.append(t, share.Left{Owner: "olga", Account: "rita", Device: "cam"}))
				log.mu.Lock()
				newer := slices.Clone(log.events)
				log.mu.Unlock()
				time.Sleep(bound)
				for len(told) > 0 {
					<-told
				}

				before := x.Position()
				log.set(func() {
					log.events = older
					for range c.grow {
						log.raw("latchkey.share.deleted.v1", []byte(`{}`))
					}
					if c.drop {
						log.drop()
					}
				})
				time.Sleep(bound / 5)
				synctest.Wait()
				if x.Live(time.Now()) || x.Check("olga", "cam", 1, privilege.LiveView, time.Now()) != access.Unavailable {
					t.Error("the index answers from a log that lost events")
				}
				if h := x.Health(); h.State != "diverged" || !errors.Is(h.Err, eventstore.ErrLogCut) || !strings.Contains(h.Reason, "recover") || h.Behind < 24*time.Hour {
					t.Errorf("health: %+v", h)
				}
				if err := x.Fit(); !errors.Is(err, eventstore.ErrLogCut) {
					t.Errorf("commands may be acknowledged: %v", err)
				}
				if err := x.WaitFor(t.Context(), 1); err == nil {
					t.Error("a position is said to be in force")
				}
				if err := x.Appended(t.Context(), before, 3); !errors.Is(err, eventstore.ErrLogCut) {
					t.Errorf("an append below what was applied: %v", err)
				}
				if !slices.Contains(drained(told), access.Change{}) {
					t.Error("nobody was told that nobody may do anything")
				}

				log.replace(newer, 1)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if !x.Live(time.Now()) || x.Fit() != nil {
					t.Errorf("the right log is back: %+v", x.Health())
				}
				wait(t, x, log.append(t, accepted("olga", "rita", "cam", privilege.PTZ)))
				if got := x.Check("rita", "cam", 1, privilege.PTZ, time.Now()); got != access.Allowed {
					t.Errorf("an event after it came back: %v", got)
				}
			})
		})
	}
}

func drained(c chan access.Change) (list []access.Change) {
	for len(c) > 0 {
		list = append(list, <-c)
	}
	return list
}

// An append below what was applied closes the index before any subscription
// notices, so that nothing is acknowledged; one that is repeated does not.
func TestAppendedNoticesAnOlderLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		wait(t, x, log.append(t, added("olga", "cam", 1), accepted("olga", "rita", "cam", privilege.LiveView)))
		if err := x.Appended(t.Context(), x.Position(), 1); err != nil {
			t.Errorf("an append that was repeated: %v", err)
		}
		if err := x.Appended(t.Context(), x.Position(), 3); err != nil {
			t.Errorf("an append at the end: %v", err)
		}
		log.mu.Lock()
		log.events = log.events[:1]
		log.mu.Unlock()
		if err := x.Appended(t.Context(), x.Position(), 2); !errors.Is(err, eventstore.ErrLogCut) {
			t.Errorf("an append to an older log: %v", err)
		}
		synctest.Wait()
		if x.Fit() == nil || x.Live(time.Now()) {
			t.Error("the index goes on")
		}
	})
}

// rows is a read model of one grant, made from a log of some epoch.
type rows struct {
	epoch atomic.Uint64
	loads atomic.Int32
}

func (r *rows) LoadPrivileges(_ context.Context, l access.Loader) (eventstore.Position, eventstore.Mark, error) {
	r.loads.Add(1)
	m := eventstore.Mark{Identity: eventstore.Identity{Log: logID, Epoch: r.epoch.Load()}}
	l.Grant(2, 1, 1, uint8(privilege.LiveView))
	l.Account(1, "olga")
	l.Account(2, "rita")
	if m.Epoch > 1 { // its numbers are others
		l.Account(3, "sam")
	}
	l.Device(1, "cam", 1, true)
	return 0, m, nil
}

// When the epoch has risen the index is loaded again, wholly, once the read model
// is made of the restored log. Until then it denies.
func TestARestoredLogIsLoadedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, source := newLog(), &rows{}
		source.epoch.Store(1)
		x := running(t, source, log, nil)
		wait(t, x, log.append(t, accepted("olga", "rita", "cam", privilege.All), added("olga", "new", 1)))
		synctest.Wait()
		ref := x.Intern("rita", "cam")
		if x.CheckRef(ref, 1, privilege.PTZ, time.Now()) != access.Allowed {
			t.Fatal("the grant is not in force")
		}
		log.replace(nil, 2)
		time.Sleep(bound)
		if x.Live(time.Now()) || x.Health().State != "loading" || x.Fit() != nil {
			t.Errorf("before the read model is made again: %+v", x.Health())
		}
		source.epoch.Store(2)
		time.Sleep(bound / 5)
		synctest.Wait()
		for _, c := range []struct {
			account, device string
			p               privilege.Set
			want            access.Verdict
		}{
			{"rita", "cam", privilege.LiveView, access.Allowed},
			{"rita", "cam", privilege.PTZ, access.Forbidden},     // what only the lost events gave
			{"olga", "new", privilege.LiveView, access.NotFound}, // whom only they made
		} {
			if got := x.Check(ids.Account(c.account), ids.Device(c.device), 1, c.p, time.Now()); got != c.want {
				t.Errorf("Check(%s, %s, %v) = %v, want %v", c.account, c.device, c.p, got, c.want)
			}
		}
		if got := x.CheckRef(ref, 1, privilege.LiveView, time.Now()); got == access.Allowed {
			t.Error("what was looked up in the log's earlier life is allowed")
		}
		wait(t, x, log.append(t, accepted("olga", "sam", "cam", privilege.Alarm)))
		if got := x.Check("sam", "cam", 1, privilege.Alarm, time.Now()); got != access.Allowed {
			t.Errorf("after an event of the restored log: %v", got)
		}
	})
}

// A log that is away for less than the bound ends nobody: a measurement that
// failed is repeated at once, and counts from its own start.
func TestAShortOutageEndsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		told := make(chan access.Change, 100)
		x := running(t, nothing{}, log, func(c access.Change) { told <- c })
		wait(t, x, log.append(t, added("olga", "cam", 1)))
		synctest.Wait()
		for range 20 {
			time.Sleep(bound + 130*time.Millisecond)
			log.set(func() { log.away = true })
			for range 300 {
				time.Sleep(10 * time.Millisecond)
				if !x.Live(time.Now()) {
					t.Fatal("the index is stale though the log was away for 3 s")
				}
			}
			log.set(func() { log.away = false })
		}
		if list := drained(told); slices.Contains(list, access.Change{}) {
			t.Error("viewers were ended")
		}
	})
}

// A process that was stopped knows nothing when it goes on: Live compares with
// the clock, before anything of the index has run.
func TestLiveIsStaleByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		wait(t, x, log.append(t, added("olga", "cam", 1)))
		synctest.Wait()
		if !x.Live(time.Now()) {
			t.Fatal("an index that is up to date is not live")
		}
		if x.Live(time.Now().Add(bound + time.Second)) {
			t.Error("it is live though nothing was measured for longer than the bound")
		}
	})
}

// slowRows is a read model that is complete up to position 7, and slow.
type slowRows struct{}

func (slowRows) LoadPrivileges(context.Context, access.Loader) (eventstore.Position, eventstore.Mark, error) {
	time.Sleep(time.Second)
	return 7, eventstore.Mark{}, nil
}

// Who waits while the index is loaded is woken by what was loaded.
func TestLoadingWakesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := running(t, slowRows{}, newLog(), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := x.WaitFor(ctx, 7); err != nil {
			t.Error(err)
		}
	})
}
