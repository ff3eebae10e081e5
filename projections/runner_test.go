package projections_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
	"latchkey/projections"
	"latchkey/projections/engine"
)

// readModels are all tables that hold rows.
var readModels = []string{
	"sent_shares", "sent_share_devices", "received_shares", "received_share_devices", "share_history", "recipients", "recipient_devices", "invitations", "devices",
	"account_logins", "account_proofs", "stream_keys", "privileges", "privilege_accounts", "privilege_devices", "privilege_shares", "privilege_keys",
}

// dump is every row of every read model, as text.
func dump(t testing.TB, s *projections.Store) string {
	t.Helper()
	var out strings.Builder
	for _, table := range readModels {
		rows, err := s.DB().QueryContext(context.Background(), "SELECT * FROM "+table)
		must(t, err)
		lines := texts(t, table, rows)
		slices.Sort(lines)
		out.WriteString(strings.Join(lines, ""))
	}
	return out.String()
}

func texts(t testing.TB, table string, rows *sql.Rows) (lines []string) {
	t.Helper()
	defer rows.Close()
	columns, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		must(t, rows.Scan(into...))
		lines = append(lines, fmt.Sprintln(append([]any{table}, values...)...))
	}
	must(t, rows.Err())
	return lines
}

// traffic writes events of n shares and answers the last position.
func (h *house) traffic(first, n int) (position eventstore.Position) {
	for i := first; i < first+n; i++ {
		id := fmt.Sprintf("dev%d", i)
		h.append("device-"+id, added(olga, id, channel(1)))
		events := []event.Event{invited(id, privilege.LiveView), accepted(id, privilege.All)}
		if i == 0 {
			events = append([]event.Event{opened()}, events...)
		}
		position = h.append("share-"+given, events...)
	}
	return position
}

// TestSeveralProcesses: two runners on two connections of one database; each
// knows how far the read models are; one goes and the other goes on.
func TestSeveralProcesses(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		other := h.open()
		a, stopA := h.run(h.store)
		b, _ := h.run(other)
		at := h.traffic(0, 20)
		wait(t, a, at)
		wait(t, b, at)
		stopA()
		at = h.traffic(20, 20)
		wait(t, b, at)
		_, stop := h.run(h.store) // and comes back
		defer stop()
		at = h.traffic(40, 20)
		wait(t, b, at)
		list, _, err := other.Privileges(t.Context(), rita, projections.AnyRole, projections.Page{Limit: 200})
		must(t, err)
		if len(list) != 60 {
			t.Errorf("after 60 acceptances the account has %d devices", len(list))
		}
		before := dump(t, other)
		for _, name := range projections.Names() {
			must(t, h.store.Rebuild(t.Context(), name, h.client, nil))
		}
		if after := dump(t, other); after != before {
			t.Errorf("a replay of the log says\n%s\nthe read models\n%s", after, before)
		}
	})
}

// TestRebuildUnderWay rebuilds every read model again and again while two
// runners write, and queries go on.
func TestRebuildUnderWay(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		other := h.open()
		a, _ := h.run(h.store)
		b, _ := h.run(other)
		h.traffic(0, 5)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		rounds := 0
		go func() {
			defer close(done)
			third := h.open()
			for ctx.Err() == nil {
				for _, name := range projections.Names() {
					if err := third.Rebuild(context.WithoutCancel(ctx), name, h.client, nil); err != nil {
						done <- err
						return
					}
				}
				rounds++
			}
		}()
		var at eventstore.Position
		for i := range 20 {
			at = h.traffic(5+5*i, 5)
			list, _, err := other.Privileges(ctx, rita, projections.AnyRole, projections.Page{Limit: 200})
			must(t, err)
			if len(list) < 5*i {
				wait(t, b, at) // it may be behind, but not lose what it had
			}
		}
		wait(t, a, at)
		wait(t, b, at)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if rounds == 0 {
			t.Fatal("nothing was rebuilt")
		}
		before := dump(t, h.store)
		if n := strings.Count(before, "\n"); n < 105*6 {
			t.Errorf("after 105 devices there are %d rows", n)
		}
		for _, name := range projections.Names() {
			must(t, h.store.Rebuild(t.Context(), name, h.client, nil))
		}
		if after := dump(t, h.store); numberless(after) != numberless(before) {
			t.Errorf("a replay of the log says\n%s\nthe read models\n%s", after, before)
		}
		status, err := h.store.Status(t.Context())
		must(t, err)
		for _, s := range status {
			if s.Generation != int64(rounds)+2 && s.Generation < 3 || s.Rebuilding || s.State != "running" {
				t.Errorf("status %+v after %d rounds", s, rounds)
			}
		}
	})
}

// numberless leaves the rows away whose numbers depend on the batches.
func numberless(dump string) string {
	var lines []string
	for line := range strings.Lines(dump) {
		if !strings.HasPrefix(line, "privilege") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// TestUnreadable: an event that a projection cannot read stops it and no other,
// is never skipped, and is seen from inside and outside.
func TestUnreadable(t *testing.T) {
	for _, c := range []struct {
		name, typ, data string
		others          []string // those that do not read it go on
	}{
		{"unknown type", "latchkey.share.suspended.v1", `{}`, nil},
		{"unknown field", "latchkey.share.left.v1", `{"share":"s","owner":"o","login":"l","account":"a","device":"d","until":"x","at":"2026-03-01T12:00:00Z"}`,
			[]string{projections.Devices, projections.Accounts}},
		{"impossible channel", "latchkey.share.accepted.v1", `{"share":"` + given + `","owner":"` + olga + `","login":"` + login + `","account":"` + rita + `","device":"dev0",` +
			`"grants":[{"channel":600,"privileges":["ptz"]}],"at":"2026-03-01T12:00:00Z"}`,
			[]string{projections.Devices, projections.Accounts, projections.ShareHistory, projections.SentShares}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, h *house) {
				r, _ := h.run(h.store)
				at := h.traffic(0, 1)
				wait(t, r, at)
				unread := h.raw("share-"+given, eventstore.Event{ID: uuid.New(), Type: c.typ, Data: []byte(c.data)})
				bad := h.traffic(1, 1)
				until(t, func() bool {
					_, ok := r.State(t.Context())
					return !ok && r.Err() != nil && strings.Contains(r.Err().Error(), c.typ)
				})
				until(t, func() bool {
					status, err := h.store.Status(t.Context())
					must(t, err)
					return slices.ContainsFunc(status, func(s engine.Status) bool {
						return s.Projection == projections.Privileges && s.State == "failed" && strings.Contains(s.Error, c.typ) && s.Position >= at && s.Position < unread
					})
				})
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := r.WaitFor(ctx, projections.Privileges, bad); err == nil {
					t.Error("the projection went past an event that it cannot read")
				}
				for _, name := range c.others {
					must(t, r.WaitFor(within(t), name, bad))
				}
			})
		})
	}
}

// until waits for something that must happen, and is not signalled.
func until(t testing.TB, happened func() bool) {
	t.Helper()
	for ctx := within(t); !happened(); time.Sleep(5 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("it did not happen")
		}
	}
}

// TestWentBack: a database that was restored is brought up to date again.
func TestWentBack(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		wait(t, r, h.traffic(0, 3))
		want := dump(t, h.store)
		stop()
		r, _ = h.run(h.store)
		wait(t, r, h.append("device-x", added(rita, "x", channel(1))))
		for _, name := range projections.Names() {
			must(t, setCheckpoint(t.Context(), h.store, name, 0))
		}
		at := h.append("device-x", device.Removed{Device: "x", Owner: rita, At: epoch})
		h.append("device-y", added(rita, "y", channel(1)))
		until(t, func() bool {
			status, err := h.store.Status(t.Context())
			must(t, err)
			return !slices.ContainsFunc(status, func(s engine.Status) bool {
				return (s.Projection == projections.Devices || s.Projection == projections.Privileges) && s.Position < at
			})
		})
		for _, line := range strings.Split(strings.TrimSpace(want), "\n") {
			if !strings.Contains(dump(t, h.store), line) {
				t.Errorf("after the log was read again this is missing: %s", line)
			}
		}
	})
}
