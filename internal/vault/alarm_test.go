package vault_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"latchkey/internal/vault"
)

// raised is an alarm of a device for accounts.
func raised(device string, at time.Time, accounts ...string) vault.RaisedAlarm {
	id := fmt.Sprint(device, " ", at.UnixNano())
	return vault.RaisedAlarm{Alarm: vault.Alarm{ID: id, Device: device, Channel: 1, By: 1, Kind: "motion", Source: "listening", Raised: at}, Accounts: accounts, Again: 5 * time.Second, Most: 3}
}

// TestAlarmsAreBoundedAndForgotten: in number for each device, in time, with the device and
// with the account; and numbers never come again.
func TestAlarmsAreBoundedAndForgotten(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := context.Background()
		c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		v, err := vault.Open(ctx, db, vault.NewMasterKey(), c.now)
		must(t, err)
		raise := func(device string, want bool, accounts ...string) {
			t.Helper()
			_, ok, err := v.RaiseAlarm(ctx, raised(device, c.t, accounts...))
			if err != nil || ok != want {
				t.Fatalf("%v, %v", ok, err)
			}
		}
		numbers := func(account string) (list []int64) {
			t.Helper()
			rows, err := v.AlarmsOf(ctx, vault.AlarmQuery{Account: account, Most: 100})
			must(t, err)
			for _, row := range rows {
				list = append(list, row.Seq)
			}
			return list
		}
		raise("cam", true, "olga", "rita")
		posted := raised("cam", c.t, "olga", "rita")
		posted.ID, posted.Source = "posted", "posting"
		if _, ok, err := v.RaiseAlarm(ctx, posted); err != nil || ok {
			t.Errorf("on another way, at the same time: %v, %v", ok, err)
		}
		for range 4 {
			c.t = c.t.Add(time.Minute)
			raise("cam", true, "olga", "rita")
			raise("dvr", true, "olga")
		}
		last, err := v.LastAlarm(ctx)
		must(t, err)
		list := numbers("rita")
		if len(list) != 3 || !slices.IsSortedFunc(list, func(a, b int64) int { return int(b - a) }) || len(numbers("olga")) != 6 || last < 9 {
			t.Errorf("rita has %v, olga %v, the last is %d", list, numbers("olga"), last)
		}
		some, err := v.AlarmsOf(ctx, vault.AlarmQuery{Account: "olga", Device: "dvr", After: list[2], Before: last, OldestFirst: true, Most: 1})
		if err != nil || len(some) != 1 || some[0].Device != "dvr" || some[0].Seq <= list[2] || !some[0].Camera.IsZero() {
			t.Errorf("%+v, %v", some, err)
		}
		must(t, v.AcknowledgeAlarms(ctx, "rita", list[0]))
		yes := true
		if seen, err := v.AlarmsOf(ctx, vault.AlarmQuery{Account: "rita", Acknowledged: &yes, Most: 9}); err != nil || len(seen) != 1 || seen[0].Acknowledged != c.t.UTC() {
			t.Errorf("%+v, %v", seen, err)
		}
		if other, err := v.AlarmsOf(ctx, vault.AlarmQuery{Account: "olga", Acknowledged: &yes, Most: 9}); err != nil || len(other) != 0 {
			t.Errorf("another account has seen it too: %+v, %v", other, err)
		}
		must(t, v.UnacknowledgeAlarm(ctx, "rita", list[0]))
		if seen, err := v.AlarmsOf(ctx, vault.AlarmQuery{Account: "rita", Acknowledged: &yes, Most: 9}); err != nil || len(seen) != 0 {
			t.Errorf("after the acknowledgement was taken back: %+v, %v", seen, err)
		}
		must(t, v.AcknowledgeAlarms(ctx, "rita", list...))
		if seen, err := v.AlarmsOf(ctx, vault.AlarmQuery{Account: "rita", Acknowledged: &yes, Most: 9}); err != nil || len(seen) != 3 {
			t.Errorf("after all were acknowledged: %+v, %v", seen, err)
		}
		within := vault.AlarmQuery{Account: "rita", From: c.t.Add(-time.Minute), To: c.t, Most: 9}
		if some, err := v.AlarmsOf(ctx, within); err != nil || len(some) != 1 || !some[0].Raised.Equal(within.From) {
			t.Errorf("of one minute: %+v, %v", some, err)
		}
		must(t, v.DropAlarms(ctx, c.t.Add(-time.Minute)))
		if got := numbers("rita"); len(got) != 2 {
			t.Errorf("after the old ones were dropped: %v", got)
		}
		must(t, v.Forget(ctx, "rita"))
		must(t, v.ForgetCamera(ctx, "dvr"))
		if got, others := numbers("rita"), numbers("olga"); len(got) != 0 || len(others) != 2 {
			t.Errorf("%v and %v", got, others)
		}
		must(t, v.ForgetCamera(ctx, "cam"))
		c.t = c.t.Add(time.Minute)
		raise("new", true, "olga")
		if got := numbers("olga"); len(got) != 1 || got[0] <= last {
			t.Errorf("numbers come again: %v after %d", got, last)
		}
		must(t, vault.Dump(ctx, db, func(r vault.Row) error {
			if r.Table == "vault_alarms" || r.Table == "vault_alarm_copies" {
				t.Errorf("a backup has %v", r)
			}
			return nil
		}))
	})
}

// TestNumbersOfAlarmsBecomeVisibleInOrder: whoever continues after a number misses none.
func TestNumbersOfAlarmsBecomeVisibleInOrder(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := context.Background()
		v := opened(t, db, vault.NewMasterKey())
		var raising sync.WaitGroup
		for i := range 4 {
			raising.Go(func() {
				for n := range 20 {
					_, _, err := v.RaiseAlarm(ctx, raised(fmt.Sprint("cam", i, n), time.Now(), "olga"))
					must(t, err)
				}
			})
		}
		var seen []int64
		for end := false; !end; {
			end = len(seen) >= 80
			after := int64(0)
			if len(seen) > 0 {
				after = seen[len(seen)-1]
			}
			until, err := v.LastAlarm(ctx)
			must(t, err)
			list, err := v.NewAlarms(ctx, after, until)
			must(t, err)
			for _, a := range list {
				seen = append(seen, a.Seq)
			}
		}
		raising.Wait()
		if !slices.IsSorted(seen) || len(slices.Compact(seen)) != 80 {
			t.Errorf("%v", seen)
		}
	})
}

func TestAlarmReceiversAreBound(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := context.Background()
		v := opened(t, db, vault.NewMasterKey())
		must(t, v.SetAlarmReceiver(ctx, "cam", "olga", "first"))
		must(t, v.SetAlarmReceiver(ctx, "cam", "olga", "second"))
		if _, err := v.AlarmReceiverBy(ctx, "first"); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("the key before: %v", err)
		}
		must(t, v.UsedAlarmReceiver(ctx, "cam"))
		if of, err := v.AlarmReceiverBy(ctx, "second"); err != nil || of.Device != "cam" || of.Owner != "olga" || of.Used.IsZero() {
			t.Errorf("%+v, %v", of, err)
		}
		_, err := db.ExecContext(ctx, "UPDATE vault_alarm_receivers SET device = 'dvr'")
		must(t, err)
		if of, err := v.AlarmReceiverBy(ctx, "second"); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("a row that somebody changed: %+v, %v", of, err)
		}
		if had, err := v.RevokeAlarmReceiver(ctx, "dvr"); err != nil || !had {
			t.Errorf("%v, %v", had, err)
		}
	})
}

// TestABrowserLastsAsLongAsItsSession: a push goes to nobody whose session has ended.
func TestABrowserLastsAsLongAsItsSession(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := context.Background()
		v := opened(t, db, vault.NewMasterKey())
		session := func() string {
			token, err := v.NewSession(ctx, "olga", vault.NewSession{TTL: time.Hour})
			must(t, err)
			return token
		}
		one, two := session(), session()
		add := func(token, endpoint string) vault.Push {
			p, err := v.AddPush(ctx, token, vault.Push{Account: "olga", Endpoint: endpoint, P256DH: "k", Auth: "a"}, 2)
			must(t, err)
			return p
		}
		first, again, other := add(one, "https://a.example/1"), add(one, "https://a.example/1"), add(two, "https://b.example/2")
		if first.ID != again.ID || first.ID == other.ID {
			t.Errorf("%+v, %+v, %+v", first, again, other)
		}
		if got, err := v.PushOf(ctx, "olga", first.ID); err != nil || got.Endpoint != "https://a.example/1" || got.Auth != "a" {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := v.PushOf(ctx, "rita", first.ID); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("somebody else's: %v", err)
		}
		must(t, v.EndSession(ctx, one))
		if _, err := v.PushOf(ctx, "olga", first.ID); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("after the session ended: %v", err)
		}
		if list, err := v.Pushes(ctx, "olga", two); err != nil || len(list) != 1 || !list[0].Current || list[0].Endpoint != "" {
			t.Errorf("%+v, %v", list, err)
		}
		must(t, v.DropPushes(ctx))
		if of, err := v.PushesOf(ctx, []string{"olga", "rita"}); err != nil || len(of["olga"]) != 1 {
			t.Errorf("%v, %v", of, err)
		}
		add(two, "https://c.example/3")
		add(two, "https://d.example/4")
		if of, err := v.PushesOf(ctx, []string{"olga"}); err != nil || len(of["olga"]) != 2 {
			t.Errorf("more than may be: %v, %v", of, err)
		}
		must(t, v.Forget(ctx, "olga"))
		if some, err := v.AnyPush(ctx); err != nil || some {
			t.Errorf("after the account was erased: %v, %v", some, err)
		}
		private, public, err := v.PushKey(ctx)
		must(t, err)
		if again, same, err := v.PushKey(ctx); err != nil || again != private || same != public || len(private) != 43 || len(public) != 87 {
			t.Errorf("the key changes: %v", err)
		}
	})
}

func TestALeaseHasOneHolder(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := context.Background()
		c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		v, err := vault.Open(ctx, db, vault.NewMasterKey(), c.now)
		must(t, err)
		lease := func(holder string, want bool) {
			t.Helper()
			if has, err := v.Lease(ctx, "alarms", holder, 10*time.Second); err != nil || has != want {
				t.Errorf("%s: %v, %v", holder, has, err)
			}
		}
		lease("one", true)
		lease("two", false)
		c.t = c.t.Add(9 * time.Second)
		lease("one", true)
		c.t = c.t.Add(9 * time.Second)
		lease("two", false)
		must(t, v.EndLease(ctx, "alarms", "one"))
		lease("two", true)
		c.t = c.t.Add(11 * time.Second)
		lease("one", true)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
