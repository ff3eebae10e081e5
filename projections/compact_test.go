package projections_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections"
	"latchkey/projections/access"
)

// few opens the database as a process would that has few numbers.
func (h *house) few(numbers int64) *projections.Store {
	return h.openWith(projections.OpenConfig{Database: h.dsn, Numbers: numbers})
}

// index loads an index from a store, as a process does when it starts.
func (h *house) index(s *projections.Store, numbers uint32) (x *access.Index, stop func()) {
	h.t.Helper()
	x, err := access.New(access.Config{Source: s, Log: h.client, MaxStaleness: time.Minute, Numbers: numbers})
	must(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	until(h.t, func() bool { return x.Health().Ready() })
	return x, func() {
		cancel()
		must(h.t, <-done)
	}
}

func sees(x *access.Index, who, thing string) bool {
	return x.Check(ids.Account(who), ids.Device(thing), 1, privilege.LiveView, time.Now()) == access.Allowed
}

// TestNumbersAreGivenAgain: far more devices and accounts come and go than there
// are numbers.
func TestNumbersAreGivenAgain(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		const numbers = 16
		s := h.few(numbers)
		r, _ := h.run(s)
		h.append("device-kept", added(olga, "kept", channel(1)))
		h.append("share-"+given, opened(), accepted("kept", privilege.All))
		h.append("account-"+rita, account.StreamKeyAdded{Key: "kept", Account: rita, At: epoch})
		x, stop := h.index(s, 0)
		defer stop()
		for i := range 4 * numbers {
			id, who := fmt.Sprint("dev", i), fmt.Sprint("guest", i)
			share := accepted(id, privilege.All)
			share.Account = who
			h.append("device-"+id, added(olga, id, channel(1)))
			h.append("share-"+given, share)
			at := h.append("account-"+who, account.StreamKeyAdded{Key: who, Account: who, At: epoch})
			if i%8 == 0 {
				must(t, r.WaitFor(within(t), projections.Privileges, at))
				after, stop := h.index(s, numbers)
				if !sees(after, who, id) || !sees(after, olga, id) || !sees(after, rita, "kept") || after.Full() {
					t.Errorf("device %d is not served after a restart: %+v", i, after.Health())
				}
				stop()
			}
			h.append("account-"+who, account.StreamKeyRevoked{Key: who, Account: who, At: epoch})
			must(t, r.WaitFor(within(t), projections.Privileges, h.append("device-"+id, device.Removed{Device: id, Owner: olga, At: epoch})))
		}
		accounts, devices, lacks, err := numbersOf(t.Context(), s)
		must(t, err)
		if accounts > numbers || devices > numbers || lacks != 0 {
			t.Errorf("%d accounts and %d devices have numbers; %d events lacked one", accounts, devices, lacks)
		}
		at := h.append("device-last", added(rita, "last", channel(1)))
		must(t, r.WaitFor(within(t), projections.Privileges, at))
		must(t, x.WaitFor(within(t), at))
		after, stopAfter := h.index(s, numbers)
		defer stopAfter()
		for i := range 4 * numbers {
			for _, who := range []string{olga, rita, fmt.Sprint("guest", i)} {
				for _, thing := range []string{fmt.Sprint("dev", i), "kept", "last"} {
					if got, want := sees(after, who, thing), sees(x, who, thing); got != want {
						t.Errorf("%s on %s: %v, but %v by the events", who, thing, got, want)
					}
				}
			}
		}
		// A rebuild meets the same limit on its way.
		must(t, s.Rebuild(t.Context(), projections.Privileges, h.client, nil))
		list, _, err := s.Privileges(t.Context(), rita, projections.AnyRole, page)
		must(t, err)
		if len(list) != 2 {
			t.Errorf("after a rebuild there are %+v", list)
		}
	})
}

// TestFullOfWhatLives: the new is denied and the old served, also after a restart;
// what is taken away is gone; when some are gone, new ones are served.
func TestFullOfWhatLives(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		const numbers = 8
		s := h.few(numbers)
		r, _ := h.run(s)
		for i := range numbers {
			id := fmt.Sprint("dev", i)
			h.append("device-"+id, added(olga, id, channel(1)))
		}
		h.append("share-"+given, opened(), accepted("dev0", privilege.All), accepted("dev1", privilege.All))
		h.append("device-new", added(olga, "new", channel(1)))
		at := h.append("share-"+given, accepted("new", privilege.All))
		wait(t, r, at)
		check := func(when string, want map[[2]string]bool, full bool) {
			t.Helper()
			x, stop := h.index(s, numbers)
			defer stop()
			for pair, want := range want {
				if got := sees(x, pair[0], pair[1]); got != want {
					t.Errorf("%s: %s on %s: %v", when, pair[0], pair[1], got)
				}
			}
			if x.Full() != full {
				t.Errorf("%s: full is %v", when, x.Full())
			}
		}
		check("full", map[[2]string]bool{{olga, "new"}: false, {rita, "new"}: false, {rita, "dev0"}: true, {olga, "dev7"}: true}, true)
		if _, _, lacks, err := numbersOf(t.Context(), s); err != nil || lacks != 1 {
			t.Errorf("%d events lacked a number, %v", lacks, err)
		}
		at = h.append("device-dev0", device.Removed{Device: "dev0", Owner: olga, At: epoch})
		wait(t, r, at)
		check("removed", map[[2]string]bool{{rita, "dev0"}: false, {olga, "dev0"}: false, {rita, "dev1"}: true}, true)
		wait(t, r, h.append("device-newer", added(olga, "newer", channel(1))))
		wait(t, r, h.append("share-"+given, accepted("newer", privilege.All)))
		check("with room", map[[2]string]bool{{rita, "newer"}: true, {olga, "newer"}: true, {rita, "dev0"}: false, {rita, "dev1"}: true, {olga, "new"}: false}, true)
	})
}

// TestMended: what no number was left for comes from the log when there is room.
func TestMended(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		s := h.few(3)
		r, stop := h.run(s)
		at := h.traffic(0, 5)
		wait(t, r, at)
		list, _, err := s.Privileges(t.Context(), rita, projections.AnyRole, page)
		must(t, err)
		if len(list) != 3 {
			t.Errorf("with three numbers there are %d devices", len(list))
		}
		stop()
		h.run(h.few(100))
		until(t, func() bool {
			list, _, err := s.Privileges(t.Context(), rita, projections.AnyRole, page)
			must(t, err)
			return len(list) == 5
		})
		if _, _, lacks, err := numbersOf(t.Context(), s); err != nil || lacks != 0 {
			t.Errorf("%d events lack a number, %v", lacks, err)
		}
	})
}

// TestNothingDamagedIsGivenANumber: rows that do not fit their sums are not written
// again with one that fits.
func TestNothingDamagedIsGivenANumber(t *testing.T) {
	for _, damage := range []string{
		"a privilege", "which account it is", "which device it is", "whose a device is", "whose a key is", "an account that is lost", "a device that is lost",
	} {
		t.Run(damage, func(t *testing.T) {
			onEach(t, func(t *testing.T, h *house) {
				s := h.few(8)
				r, stop := h.run(s)
				h.append("account-"+rita, account.StreamKeyAdded{Key: "k1", Account: rita, Device: "dev0", At: epoch})
				wait(t, r, h.traffic(0, 5))
				stop()
				_, err := s.DB().ExecContext(t.Context(), damages[damage])
				must(t, err)
				r, _ = h.run(s)
				for i := range 4 {
					id := fmt.Sprint("dev", i)
					wait(t, r, h.append("device-"+id, device.Removed{Device: id, Owner: olga, At: epoch}))
				}
				at := h.append("device-new", added(stranger, "new", channel(1)))
				wait(t, r, at)
				for account, want := range map[string]int{stranger: 1, rita: 1, olga: 1} {
					list, _, err := s.Privileges(t.Context(), account, projections.AnyRole, projections.Page{Limit: 50, AtLeast: at})
					must(t, err)
					if len(list) != want {
						t.Errorf("%s may use %d devices, want %d", account, len(list), want)
					}
				}
			})
		})
	}
}

// TestGivenAgainEqualsTheLog: with few numbers, given again all the time, an index
// from the rows says what one with many says that read every event.
func TestGivenAgainEqualsTheLog(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			s, err := projections.Open(t.Context(), projections.OpenConfig{Database: d.dsn(t), Numbers: 6})
			must(t, err)
			t.Cleanup(func() { must(t, s.Close()) })
			rapid.Check(t, func(t *rapid.T) {
				events := history(t)
				if len(events) == 0 {
					return
				}
				replayed{s}.empty(t)
				replayed{s}.apply(t, events, func() int { return rapid.IntRange(1, 20).Draw(t, "batch") })
				sameVerdicts(t, s, events)
			})
		})
	}
}
