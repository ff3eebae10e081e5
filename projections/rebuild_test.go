package projections_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections"
	"latchkey/projections/access"
)

// TestQueriesGoOn: whatever is swapped under a query, it sees every row.
func TestQueriesGoOn(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		h.append("login-"+login, account.LoginClaimed{Login: login, Account: rita, At: epoch})
		wait(t, r, h.traffic(0, 30))
		stop()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		swapped := make(chan struct{})
		other := h.open()
		go func() {
			defer close(done)
			for round := 0; ctx.Err() == nil; round++ {
				for _, name := range projections.Names() {
					if err := other.Rebuild(context.WithoutCancel(ctx), name, h.client, nil); err != nil {
						done <- err
						return
					}
				}
				if round == 2 {
					close(swapped)
				}
			}
		}()
		for more := true; more; {
			select {
			case <-swapped:
				more = false
			case err := <-done:
				t.Fatal(err)
			default:
			}
			sent, _, err := h.store.SentShares(t.Context(), olga, page)
			must(t, err)
			received, _, err := h.store.ReceivedShares(t.Context(), rita, page)
			must(t, err)
			if len(sent) != 1 || len(sent[0].Devices) != 30 || len(received) != 1 || len(received[0].Devices) != 30 {
				t.Fatalf("a list lost rows: %d sent, %d received", len(sent), len(received))
			}
			may, _, err := h.store.Privileges(t.Context(), rita, projections.AnyRole, page)
			must(t, err)
			if len(may) != 30 || len(may[29].Grants) != 1 || may[29].Name == "" {
				t.Fatalf("privileges lost rows: %d", len(may))
			}
			loaded := 0
			_, _, err = h.store.LoadPrivileges(t.Context(), access.Loader{
				Account: func(uint32, ids.Account) {}, Device: func(uint32, ids.Device, uint32, bool) {},
				Grant: func(_, _ uint32, channel uint16, _ uint8) {
					if channel == 1 {
						loaded++
					}
				},
				Domain: func(uint32, uint32, ids.Device, string) {}, Key: func(ids.Key, ids.Account, ids.Device, time.Time) {},
			})
			must(t, err)
			if loaded != 60 {
				t.Fatalf("an index would be loaded with %d grants of 60", loaded)
			}
		}
		cancel()
		must(t, <-done)
	})
}

// TestPages: pages hold every row once, whatever their size, and a cursor of
// another list is refused.
func TestPages(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, _ := h.run(h.store)
		wait(t, r, h.traffic(0, 13))
		ctx := t.Context()
		lists := map[string]func(projections.Page) (ids []string, next string, err error){
			"devices": func(p projections.Page) (ids []string, _ string, _ error) {
				rows, next, err := h.store.Devices(ctx, olga, p)
				for _, r := range rows {
					ids = append(ids, r.ID)
				}
				return ids, next, err
			},
			"privileges": func(p projections.Page) (ids []string, _ string, _ error) {
				rows, next, err := h.store.Privileges(ctx, rita, projections.AnyRole, p)
				for _, r := range rows {
					if len(r.Grants) != 1 || r.Grants[0].Privileges != privilege.All {
						t.Errorf("device %s on a page of %d: %+v", r.Device, p.Limit, r.Grants)
					}
					ids = append(ids, r.Device)
				}
				return ids, next, err
			},
		}
		for name, list := range lists {
			for _, limit := range []int{-1, 1, 5, 13, 14, 1000} {
				var all []string
				for p, more := (projections.Page{Limit: limit}), true; more; more = p.Cursor != "" {
					ids, next, err := list(p)
					must(t, err)
					if len(ids) > max(limit, 1) {
						t.Fatalf("%s: a page of %d has %d rows", name, limit, len(ids))
					}
					all, p.Cursor = append(all, ids...), next
				}
				if len(all) != 13 || strings.Count(strings.Join(all, " ")+" ", "dev12 ") != 1 {
					t.Errorf("%s in pages of %d: %v", name, limit, all)
				}
			}
			for _, bad := range []string{"x", "AAAA", "ZGV2aWNlczotMQ", "c2VudDox"} {
				if _, _, err := list(projections.Page{Limit: 1, Cursor: bad}); err == nil {
					t.Errorf("%s: cursor %q was taken", name, bad)
				}
			}
		}
	})
}

// TestMakeAnew: a migration that gives the tables another form empties them, and
// they are filled from the log again.
func TestMakeAnew(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		at := h.traffic(0, 5)
		wait(t, r, at)
		want := dump(t, h.store)
		stop()
		_, err := h.store.DB().ExecContext(t.Context(), "DELETE FROM projection_migrations WHERE name = '0002'")
		must(t, err)
		other := h.open()
		status, err := other.Status(t.Context())
		must(t, err)
		for _, s := range status {
			if slices.Contains([]string{projections.Recipients, projections.Invitations, projections.AccessRequests, projections.Transfers, projections.Reclaims}, s.Projection) { // they came later
				continue
			}
			if s.Rows != 0 || s.Position != 0 || s.Generation < 2 {
				t.Errorf("after the migration: %+v", s)
			}
		}
		r, _ = h.run(other)
		wait(t, r, at)
		if got := dump(t, other); got != want {
			t.Errorf("filled again:\n%s\nbefore:\n%s", got, want)
		}
	})
}

// TestOlderDatabase: a database of the version before, whose checkpoints have no leases,
// is opened and goes on where it is.
func TestOlderDatabase(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		wait(t, r, h.traffic(0, 5))
		stop()
		before, err := h.store.Status(t.Context())
		must(t, err)
		for _, q := range []string{
			"ALTER TABLE projection_checkpoints DROP COLUMN holder", "ALTER TABLE projection_checkpoints DROP COLUMN held_until",
			"DELETE FROM projection_migrations WHERE name = '0008'",
		} {
			_, err := h.store.DB().ExecContext(t.Context(), q)
			must(t, err)
		}
		other := h.open()
		after, err := other.Status(t.Context())
		must(t, err)
		same(t, "the read models", after, before)
		if has, err := other.Lease(t.Context(), "policies", "me", time.Second); err != nil || !has {
			t.Errorf("the lease: %v, %v", has, err)
		}
		r, _ = h.run(other)
		wait(t, r, h.traffic(5, 1))
	})
}
