package projections_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections"
	"latchkey/projections/access"
)

// damages are what a disk may do to what the door decides by: each would let
// somebody in, or skip an event, if it was taken as it is.
var damages = map[string]string{
	"a privilege":              "UPDATE privileges SET mask = mask - 1 WHERE entry = (SELECT max(entry) FROM privileges)",
	"whose privilege it is":    "UPDATE privileges SET entry = entry + 8589934592 WHERE entry = (SELECT max(entry) FROM privileges)",
	"which account it is":      "UPDATE privilege_accounts SET account = '" + stranger + "' WHERE account = '" + rita + "'",
	"which device it is":       "UPDATE privilege_devices SET device = 'dev9' WHERE device = 'dev0'",
	"that a device is gone":    "UPDATE privilege_devices SET live = 1 - live WHERE device = 'dev0'",
	"whose a device is":        "UPDATE privilege_devices SET owner = owner + 1 WHERE device = 'dev0'",
	"whose a key is":           "UPDATE privilege_keys SET account = account + 1",
	"when a key expires":       "UPDATE privilege_keys SET expires = expires + 4294967296",
	"which device a key is of": "UPDATE privilege_keys SET device = 'dev1'",
	"an account that is lost":  "DELETE FROM privilege_accounts WHERE no = (SELECT max(no) FROM privilege_accounts)",
	"a device that is lost":    "DELETE FROM privilege_devices WHERE no = (SELECT max(no) FROM privilege_devices)",
	"how many have a number":   "UPDATE projection_checkpoints SET accounts = accounts - 1 WHERE name = 'privileges'",
	"how far the rows are":     "UPDATE projection_checkpoints SET position = position + 1 WHERE name = 'privileges'",
	"which log they are of":    "UPDATE projection_checkpoints SET epoch = epoch + 4 WHERE name = 'privileges'",
}

const stranger = "0190a000-0000-7000-8000-00000000000c"

// TestDamagedRows: rows that do not fit their sums are made from the log again, and
// no index is loaded from them.
func TestDamagedRows(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		h.append("account-"+rita, account.StreamKeyAdded{Key: "k1", Account: rita, Device: "dev0", Label: "l", Expires: epoch, At: epoch})
		at := h.traffic(0, 5)
		wait(t, r, at)
		want := dump(t, h.store)
		stop()
		for name, damage := range damages {
			res, err := h.store.DB().ExecContext(t.Context(), damage)
			must(t, err)
			if n, err := res.RowsAffected(); err != nil || n != 1 {
				t.Fatalf("%s: %d rows were damaged, %v", name, n, err)
			}
			if !strings.Contains(damage, "projection_checkpoints") {
				if loaded := load(t, h.store); loaded != 0 {
					t.Errorf("%s: an index was loaded with %d rows", name, loaded)
				}
			} else if _, _, err := h.store.LoadPrivileges(t.Context(), ignoring()); err == nil {
				t.Errorf("%s: an index was loaded", name)
			}
			other := h.open()
			r, stop := h.run(other)
			wait(t, r, at)
			if got := dump(t, other); got != want {
				t.Errorf("%s: the rows that were made again:\n%s\nwant:\n%s", name, got, want)
			}
			stop()
			if load(t, h.store) == 0 {
				t.Errorf("%s: nothing is loaded after that", name)
			}
		}
	})
}

// TestLostNumber: a newcomer never gets the number of an account or a device whose
// row was lost, and what goes with it.
func TestLostNumber(t *testing.T) {
	for _, lost := range []string{
		"DELETE FROM privilege_accounts WHERE account = '" + rita + "'", "DELETE FROM privilege_accounts",
		"DELETE FROM privilege_devices WHERE device = 'dev4'", "DELETE FROM privilege_devices",
	} {
		onEach(t, func(t *testing.T, h *house) {
			r, stop := h.run(h.store)
			wait(t, r, h.traffic(0, 5))
			stop()
			_, err := h.store.DB().ExecContext(t.Context(), lost)
			must(t, err)
			other := h.open()
			r, _ = h.run(other)
			at := h.append("device-new", added(stranger, "new", channel(1)))
			wait(t, r, at)
			for account, want := range map[string]int{stranger: 1, rita: 5, olga: 5} {
				list, _, err := other.Privileges(t.Context(), account, projections.AnyRole, projections.Page{Limit: 50, AtLeast: at})
				must(t, err)
				if len(list) != want {
					t.Errorf("%s: %s may use %d devices, want %d", lost, account, len(list), want)
				}
			}
		})
	}
}

// TestDamagedUnderWay: the projector itself meets a damaged row.
func TestDamagedUnderWay(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		wait(t, r, h.traffic(0, 5))
		stop()
		_, err := h.store.DB().ExecContext(t.Context(), "UPDATE privilege_devices SET live = 1 - live WHERE device = 'dev0'")
		must(t, err)
		other := h.open()
		r, _ = h.run(other)
		wait(t, r, h.append("share-"+given, accepted("dev0", privilege.All)))
		if load(t, other) == 0 {
			t.Error("nothing is loaded after that")
		}
	})
}

// load counts the rows that count when an index is loaded.
func load(t *testing.T, s *projections.Store) (n int) {
	t.Helper()
	_, _, err := s.LoadPrivileges(t.Context(), access.Loader{
		Grant:      func(uint32, uint32, uint16, uint8) { n++ },
		Conditions: func(uint32, uint32, []privilege.Condition) { n++ },
		Account:    func(uint32, ids.Account) { n++ },
		Device:     func(uint32, ids.Device, uint32, bool) { n++ },
		Domain:     func(uint32, uint32, ids.Device, string) { n++ },
		Key:        func(ids.Key, ids.Account, ids.Device, time.Time) { n++ },
		Again:      func() { n = 0 },
	})
	must(t, err)
	return n
}

func ignoring() access.Loader {
	return access.Loader{
		Grant: func(uint32, uint32, uint16, uint8) {}, Conditions: func(uint32, uint32, []privilege.Condition) {}, Account: func(uint32, ids.Account) {}, Device: func(uint32, ids.Device, uint32, bool) {},
		Domain: func(uint32, uint32, ids.Device, string) {}, Key: func(ids.Key, ids.Account, ids.Device, time.Time) {}, Again: func() {},
	}
}

// TestLostKeyRow: a stream key whose row was lost in one table is known by the
// other, so that nobody forgets its secret.
func TestLostKeyRow(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, _ := h.run(h.store)
		h.append("account-"+rita, registered(rita, login))
		wait(t, r, h.append("account-"+rita, account.StreamKeyAdded{Key: "k1", Account: rita, At: epoch}))
		for _, lost := range []string{"DELETE FROM stream_keys", "UPDATE privilege_keys SET account = 0"} {
			known, err := h.store.Known(t.Context())
			must(t, err)
			same(t, "the keys that are known before "+lost, known.StreamKeys, []string{"k1"})
			_, err = h.store.DB().ExecContext(t.Context(), lost)
			must(t, err)
		}
		known, err := h.store.Known(t.Context())
		must(t, err)
		if len(known.StreamKeys) != 0 {
			t.Errorf("a key that is revoked by both is known: %v", known.StreamKeys)
		}
	})
}
