package access_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/projections/access"
)

// until is a grant of live view until a time.
func until(end time.Time) share.PrivilegesEdited {
	return share.PrivilegesEdited{
		Share: "olga.x", Owner: "olga", Account: "rita", Device: "cam", Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView}},
		Terms: privilege.Terms{Validity: privilege.Validity{Until: end}},
	}
}

var ritasCam = access.Use{Subject: access.Subject{Account: "rita"}, Device: "cam", Channel: 1, Privilege: privilege.LiveView}

// TestEndOfAGrant: read a thousand times a second across its end, a grant is denied at
// the first check after it, through a permit and by name, and what runs is ended at most
// five milliseconds later, with the reason. Before the end nothing is denied.
func TestEndOfAGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		end := time.Now().Add(3 * time.Second)
		wait(t, x, log.append(t, added("olga", "cam", 1), until(end)))
		synctest.Wait()
		var ended atomic.Pointer[time.Time]
		var reason atomic.Value
		permit, v := x.Acquire(ritasCam, func(r access.Reason) {
			now := time.Now()
			reason.Store(r)
			ended.Store(&now)
		})
		if v != access.Allowed {
			t.Fatal(v)
		}
		defer permit.Release()
		for range 4000 {
			now := time.Now()
			held, named := permit.Check(now), x.Check("rita", "cam", 1, privilege.LiveView, now)
			if before := now.Before(end); before != (held == access.Allowed) || before != (named == access.Allowed) || named == access.NotFound {
				t.Fatalf("%v before the end: %v, and by name %v", end.Sub(now), held, named)
			}
			time.Sleep(time.Millisecond)
		}
		at := ended.Load()
		if at == nil || at.Before(end) || at.Sub(end) > 5*time.Millisecond || reason.Load() != access.Expired {
			t.Errorf("what ran was ended at %v, the grant at %v: %q", at, end, reason.Load())
		}
		if _, v := x.Acquire(ritasCam, func(access.Reason) {}); v != access.Forbidden {
			t.Errorf("after the end: %v", v)
		}
	})
}

// TestTheEndMoves: moving the end, forth and back, ends nothing that runs before the end
// as it is then, and no check is refused while it moves.
func TestTheEndMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		start := time.Now()
		wait(t, x, log.append(t, added("olga", "cam", 1), until(start.Add(time.Second))))
		synctest.Wait()
		var ended atomic.Pointer[time.Time]
		permit, v := x.Acquire(ritasCam, func(access.Reason) {
			now := time.Now()
			ended.Store(&now)
		})
		if v != access.Allowed {
			t.Fatal(v)
		}
		defer permit.Release()
		move := func(to time.Time) {
			wait(t, x, log.append(t, until(to)))
			if v := permit.Check(time.Now()); v != access.Allowed {
				t.Fatalf("moved to %v: %v", to.Sub(start), v)
			}
		}
		move(start.Add(time.Hour))
		time.Sleep(time.Minute)
		synctest.Wait()
		move(time.Time{}) // no end at all
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if at := ended.Load(); at != nil {
			t.Fatalf("ended after %v", at.Sub(start))
		}
		end := time.Now().Add(10 * time.Millisecond)
		move(end)
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if at := ended.Load(); at == nil || !at.Equal(end) {
			t.Errorf("ended at %v, not at %v, to which it was moved nearer", at, end)
		}
	})
}

// TestHoursEndWhatRuns: the end of a weekly span ends what runs, and the next span lets
// it in again.
func TestHoursEndWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01 00:00 UTC
		log := newLog()
		x := running(t, nothing{}, log, nil)
		e := until(time.Time{})
		e.Grants[0].Limits = []privilege.Limit{{Privileges: privilege.LiveView, Validity: privilege.Validity{
			Hours: privilege.Hours{Zone: "Europe/Berlin", Spans: []privilege.Span{{Days: 127, Start: 8 * 60, End: 9 * 60}}},
		}}}
		wait(t, x, log.append(t, added("olga", "cam", 1), e))
		begin := time.Now().Truncate(24 * time.Hour).Add(7 * time.Hour) // 08:00 in Berlin
		for day := range 2 {
			time.Sleep(time.Until(begin.AddDate(0, 0, day)) - time.Millisecond)
			synctest.Wait()
			if v := x.Check("rita", "cam", 1, privilege.LiveView, time.Now()); v != access.Forbidden {
				t.Fatalf("before its hours: %v", v)
			}
			time.Sleep(time.Millisecond)
			var ended atomic.Pointer[access.Reason]
			permit, v := x.Acquire(ritasCam, func(r access.Reason) { ended.Store(&r) })
			if v != access.Allowed {
				t.Fatalf("in its hours: %v", v)
			}
			time.Sleep(time.Hour - time.Millisecond)
			synctest.Wait()
			if ended.Load() != nil || permit.Check(time.Now()) != access.Allowed {
				t.Fatal("ended in its hours")
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if r := ended.Load(); r == nil || *r != access.Expired {
				t.Errorf("after its hours: %v", r)
			}
			permit.Release()
		}
	})
}

// TestTheClockIsSetBack: a verdict of a time is not one of an earlier time.
func TestTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		from := time.Now().Add(time.Second)
		e := until(from.Add(time.Hour))
		e.Terms.From = from
		wait(t, x, log.append(t, added("olga", "cam", 1), e))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		permit, v := x.Acquire(ritasCam, func(access.Reason) {})
		if v != access.Allowed || permit.Check(time.Now()) != access.Allowed {
			t.Fatal(v)
		}
		defer permit.Release()
		if v := permit.Check(from.Add(-time.Millisecond)); v == access.Allowed {
			t.Error("allowed before its beginning, as the clock was set back")
		}
		if v := permit.Check(time.Now()); v != access.Allowed {
			t.Error("refused after that:", v)
		}
	})
}

// TestReleasedBeforeTheEnd: a permit that was released is not ended, and leaves no timer.
func TestReleasedBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		wait(t, x, log.append(t, added("olga", "cam", 1), until(time.Now().Add(time.Second))))
		synctest.Wait()
		permit, v := x.Acquire(ritasCam, func(r access.Reason) { t.Errorf("ended after it was released: %s", r) })
		if v != access.Allowed {
			t.Fatal(v)
		}
		permit.Release()
		permit.Recheck()
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// TestPlaybackWindow: what may be played back, and from when until when.
func TestPlaybackWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		now := time.Now()
		grant := func(p privilege.Set, limit privilege.PlaybackLimit) share.Accepted {
			e := accepted("olga", "rita", "cam", p)
			e.At, e.Terms.Playback = now.Add(-time.Hour), limit
			return e
		}
		const hold = 15 * time.Minute
		var long time.Time
		for _, c := range []struct {
			p        privilege.Set
			limit    privilege.PlaybackLimit
			from, to time.Time
			ok       bool
		}{
			{privilege.All, privilege.PlaybackLimit{}, long, now, true},
			{privilege.Playback, privilege.PlaybackLimit{}, long, now.Add(-hold), true},
			{privilege.LiveView, privilege.PlaybackLimit{}, long, long, false},
			{privilege.All, privilege.PlaybackLimit{LastDays: 7}, now.AddDate(0, 0, -7), now, true},
			{privilege.Playback, privilege.PlaybackLimit{SinceAcceptance: true}, now.Add(-time.Hour), now.Add(-hold), true},
			{privilege.All, privilege.PlaybackLimit{LastDays: 7, SinceAcceptance: true}, now.Add(-time.Hour), now, true},
		} {
			wait(t, x, log.append(t, added("olga", "cam", 1), grant(c.p, c.limit)))
			synctest.Wait()
			from, to, ok := x.PlaybackWindow("rita", "cam", 1, now, hold)
			if ok != c.ok || !from.Equal(c.from) || !to.Equal(c.to) {
				t.Errorf("%v, %+v: from %v to %v, %v", c.p, c.limit, from, to, ok)
			}
		}
		if from, to, ok := x.PlaybackWindow("olga", "cam", 1, now, hold); !ok || !from.IsZero() || !to.Equal(now) {
			t.Errorf("the owner: from %v to %v, %v", from, to, ok)
		}
		e := grant(privilege.Playback, privilege.PlaybackLimit{SinceAcceptance: true})
		e.At = now
		wait(t, x, log.append(t, e))
		if _, _, ok := x.PlaybackWindow("rita", "cam", 1, now, hold); ok {
			t.Error("there is something to play back before it may be seen")
		}
		if _, _, ok := x.PlaybackWindow("sam", "cam", 1, now, hold); ok {
			t.Error("a stranger plays back")
		}
	})
}

// TestPlayable: what the pure rule says of the conditions of the grant that is in force,
// with the delay of whoever may not view live; nothing for whoever may not play back.
func TestPlayable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		x := running(t, nothing{}, log, nil)
		now := time.Now()
		day := privilege.Interval{From: now.Add(-24 * time.Hour), To: now}
		const hold = 15 * time.Minute
		e := accepted("olga", "rita", "cam", privilege.Playback)
		e.Terms.From = now.Add(-time.Hour)
		wait(t, x, log.append(t, added("olga", "cam", 1), e))
		synctest.Wait()
		if got, ok := x.Playable("rita", "cam", 1, day, now, hold); !ok || !got.From.Equal(now.Add(-time.Hour)) || !got.To.Equal(now.Add(-hold)) {
			t.Errorf("%+v, %v", got, ok)
		}
		if from, to, ok := x.PlaybackWindow("rita", "cam", 1, now, hold); !ok || !from.Equal(now.Add(-time.Hour)) || !to.Equal(now.Add(-hold)) {
			t.Errorf("the window: %v to %v, %v", from, to, ok)
		}
		if got, ok := x.Playable("olga", "cam", 1, day, now, hold); !ok || got != day {
			t.Errorf("the owner: %+v, %v", got, ok)
		}
		for _, who := range []ids.Account{"sam", ""} {
			if _, ok := x.Playable(who, "cam", 1, day, now, hold); ok {
				t.Errorf("%q plays back", who)
			}
		}
		wait(t, x, log.append(t, accepted("olga", "rita", "cam", privilege.LiveView)))
		synctest.Wait()
		if _, ok := x.Playable("rita", "cam", 1, day, now, hold); ok {
			t.Error("live view alone plays back")
		}
	})
}
