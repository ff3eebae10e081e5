package projections_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections"
	"latchkey/projections/access"
	"latchkey/projections/engine"
)

// parties are so few that events meet each other often.
var (
	people = []string{"olga", "rita", "sven"}
	things = []string{"cam", "dvr", "cam.2"}
	labels = []string{"", "porch", "yard"}
)

// today is what drawn times are around.
var today = time.Now()

// history draws events as a log may hold them: each device is added once and
// removed at most once; the rest comes in any order, also where it makes no
// sense, as a reader must bear that.
func history(t *rapid.T) []eventstore.Recorded {
	known := map[string]string{} // device -> owner
	gone := map[string]bool{}
	keys := 0
	var list []eventstore.Recorded
	for i := range rapid.IntRange(1, 40).Draw(t, "events") {
		when := epoch.Add(time.Duration(i) * time.Second)
		owner, who := rapid.SampledFrom(people).Draw(t, "owner"), rapid.SampledFrom(people).Draw(t, "who")
		thing := rapid.SampledFrom(things).Draw(t, "device")
		login := "login-of-" + who
		id := owner + "." + login
		given := []share.Grant{
			{Channel: 1, Privileges: privilege.Set(rapid.IntRange(0, 31).Draw(t, "privileges"))},
			{Channel: rapid.IntRange(2, 12).Draw(t, "channel"), Privileges: privilege.LiveView},
		}[:rapid.IntRange(0, 2).Draw(t, "channels")]
		paused := rapid.Bool().Draw(t, "paused")
		each := []event.Given{{Device: thing, Account: who, Grants: given}, {Device: rapid.SampledFrom(things).Draw(t, "other"), Account: who, Grants: given}}[:rapid.IntRange(0, 2).Draw(t, "given")]
		one := rapid.SampledFrom([]string{"", thing}).Draw(t, "one")
		var whole, terms privilege.Terms
		if rapid.IntRange(0, 2).Draw(t, "timed") == 0 {
			whole.Until = today.Add(time.Duration(rapid.IntRange(-40, 40).Draw(t, "until")) * time.Minute)
		}
		if rapid.IntRange(0, 2).Draw(t, "timed") == 0 {
			terms.From = today.Add(time.Duration(rapid.IntRange(-40, 40).Draw(t, "from")) * time.Minute)
			terms.Playback.LastDays = rapid.IntRange(0, 3).Draw(t, "days")
		}
		if len(given) > 0 && rapid.IntRange(0, 2).Draw(t, "limited") == 0 {
			given[0].Limits = []privilege.Limit{{Privileges: privilege.PTZ, Validity: privilege.Validity{Hours: privilege.Hours{Zone: "Europe/Berlin", Spans: []privilege.Span{{Days: 127, Start: 0, End: 720}}}}}}
		}
		for i := range each {
			each[i].Terms = terms
		}
		var e event.Event
		switch rapid.IntRange(0, 16).Draw(t, "kind") {
		case 0, 1:
			if known[thing] != "" {
				continue
			}
			known[thing] = owner
			e = device.Added{Device: thing, Serial: thing, Generation: 1, Owner: owner, Name: owner + ":n", At: when,
				Channels: []device.Channel{{Channel: 1, Capabilities: privilege.All}, {Channel: 2, Capabilities: privilege.PTZ}}}
		case 2:
			if known[thing] == "" || gone[thing] {
				continue
			}
			gone[thing] = true
			e = device.Removed{Device: thing, Owner: known[thing], At: when}
		case 3:
			e = share.Opened{Share: id, Owner: owner, Login: login, Kind: "email", Recipient: "r", Remark: "m", At: when, Terms: whole}
		case 4:
			e = share.Invited{Share: id, Owner: owner, Login: login, Device: thing, Grants: given, At: when, Terms: terms}
		case 5, 6:
			e = share.Accepted{Share: id, Owner: owner, Login: login, Account: who, Device: thing, Grants: given, Paused: paused, At: when, ShareTerms: whole, Terms: terms}
		case 7:
			e = share.PrivilegesEdited{Share: id, Owner: owner, Login: login, Account: rapid.SampledFrom([]string{"", who}).Draw(t, "account"), Device: thing, Grants: given, Paused: paused, At: when, ShareTerms: whole, Terms: terms}
		case 8:
			e = rapid.SampledFrom([]event.Event{
				share.Rejected{Share: id, Owner: owner, Login: login, Account: who, Device: thing, At: when},
				share.Left{Share: id, Owner: owner, Login: login, Account: who, Device: thing, At: when},
			}).Draw(t, "end")
		case 9:
			e = share.DeviceRemoved{Share: id, Owner: owner, Login: login, Account: rapid.SampledFrom([]string{"", who}).Draw(t, "account"), Device: thing, Reason: share.ByOwner, At: when}
		case 10:
			if known[thing] == who { // an owner has no names for devices
				continue
			}
			e = share.DomainSet{Share: id, Owner: owner, Account: who, Device: thing, Domain: rapid.SampledFrom(labels).Draw(t, "domain"), At: when}
		case 11:
			e = share.Deleted{Share: id, Owner: owner, Login: login, Kind: "email", Recipient: "r", Remark: "m", At: when}
		case 12:
			keys++
			e = account.StreamKeyAdded{Account: who, Key: fmt.Sprint("k", keys), Device: rapid.SampledFrom([]string{"", thing}).Draw(t, "bound"), At: when}
		case 13:
			if keys == 0 {
				continue
			}
			e = account.StreamKeyRevoked{Account: who, Key: fmt.Sprint("k", rapid.IntRange(1, keys).Draw(t, "key")), At: when}
		case 14:
			e = share.Paused{Share: id, Owner: owner, Login: login, Device: one, Given: each, At: when}
		case 15:
			e = share.Resumed{Share: id, Owner: owner, Login: login, Device: one, Given: each, At: when, Terms: whole}
		case 16:
			e = share.TermsChanged{Share: id, Owner: owner, Login: login, Terms: whole, Given: each, At: when}
		}
		name, data, err := catalogue.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, eventstore.Recorded{ID: uuid.New(), Position: eventstore.Position(10 * (i + 1)), Revision: uint64(i), Type: name, Data: data})
	}
	return list
}

// replayed is a store of its own for each way to apply a history. A database is
// made once and emptied between histories.
type replayed struct {
	*projections.Store
}

func (s replayed) empty(t *rapid.T) {
	for _, table := range rows {
		if _, err := s.DB().DB.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range projections.Names() {
		if err := setCheckpoint(context.Background(), s.Store, name, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// apply applies events in batches whose sizes are drawn; now and then another
// process goes on, and now and then a batch comes again.
func (s replayed) apply(t *rapid.T, events []eventstore.Recorded, size func() int) {
	ctx := context.Background()
	for _, name := range projections.Names() {
		feed, err := engine.NewPlayer(ctx, s.Store.Store, name)
		if err != nil {
			t.Fatal(err)
		}
		for rest := events; len(rest) > 0; {
			n := min(size(), len(rest))
			if n%3 == 0 {
				if feed, err = engine.NewPlayer(ctx, s.Store.Store, name); err != nil {
					t.Fatal(err)
				}
			}
			for range 1 + n%2 {
				if err := feed.Apply(ctx, rest[:n]); err != nil {
					t.Fatal(err)
				}
			}
			rest = rest[n:]
		}
	}
}

// rows are the tables of every read model.
var rows = []string{
	"sent_shares", "sent_share_devices", "received_shares", "received_share_devices", "share_history", "recipients", "recipient_devices", "invitations", "devices",
	"account_logins", "account_proofs", "stream_keys", "privileges", "privilege_limits", "privilege_accounts", "privilege_devices", "privilege_shares", "privilege_keys",
}

// everyRow is every row of every read model, as text.
func everyRow(t interface {
	Helper()
	Fatal(...any)
}, s *projections.Store) string {
	t.Helper()
	var lines []string
	for _, table := range rows {
		found, err := s.DB().DB.Query("SELECT * FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := found.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for found.Next() {
			values, into := make([]string, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := found.Scan(into...); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, table+": "+strings.Join(values, " | "))
		}
		if err := errors.Join(found.Err(), found.Close()); err != nil { //nolint:sqlclosecheck // one after the other
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestReplayEqualsIncremental: however events are cut into batches, whoever
// applies them, and however often they come, the rows are the same; and the
// index says the same whether it read the rows or the events.
func TestReplayEqualsIncremental(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			var stores [3]replayed
			for i := range stores {
				s, err := projections.Open(t.Context(), projections.OpenConfig{Database: d.dsn(t)})
				must(t, err)
				t.Cleanup(func() { must(t, s.Close()) })
				stores[i] = replayed{s}
			}
			rapid.Check(t, func(t *rapid.T) {
				events := history(t)
				if len(events) == 0 {
					return
				}
				sizes := []func() int{
					func() int { return 1 },
					func() int { return rapid.IntRange(1, 20).Draw(t, "batch") },
					func() int { return len(events) },
				}
				for i, s := range stores {
					s.empty(t)
					s.apply(t, events, sizes[i])
				}
				want := everyRow(t, stores[0].Store)
				for _, s := range stores[1:] {
					if got := everyRow(t, s.Store); got != want {
						t.Fatalf("rows differ from those that were written one by one:\n%s", difference(got, want))
					}
				}
				sameVerdicts(t, stores[1].Store, events)
			})
		})
	}
}

// onlyLog is a log whose events came before the index.
type onlyLog struct{ events []eventstore.Recorded }

func (l onlyLog) Subscribe(ctx context.Context, after eventstore.Position, _ string, h eventstore.Handler) error {
	var list []eventstore.Recorded
	for _, e := range l.events {
		if e.Position > after {
			list = append(list, e)
		}
	}
	if len(list) > 0 {
		if err := h.Events(list); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (l onlyLog) Tail(_ context.Context, _ int, each func(eventstore.Recorded) bool) error {
	for _, e := range slices.Backward(l.events) {
		if !each(e) {
			break
		}
	}
	return nil
}

func (onlyLog) Identity(context.Context) (eventstore.Identity, error) {
	return eventstore.Identity{}, eventstore.ErrNoIdentity
}

func (onlyLog) Holds(context.Context, eventstore.Mark) error { return nil }

// noRows is a read model that is still empty.
type noRows struct{}

func (noRows) LoadPrivileges(context.Context, access.Loader) (eventstore.Position, eventstore.Mark, error) {
	return 0, eventstore.Mark{}, nil
}

// sameVerdicts asks an index that was loaded from the rows and one that read
// every event.
func sameVerdicts(t *rapid.T, s *projections.Store, events []eventstore.Recorded) {
	last := events[len(events)-1].Position
	answers := func(src access.Source) string {
		x, err := access.New(access.Config{Source: src, Log: onlyLog{events}, MaxStaleness: 2 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- x.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}()
		limit, stop := context.WithTimeout(ctx, 10*time.Second)
		defer stop()
		if err := x.WaitFor(limit, last); err != nil {
			t.Fatal(err)
		}
		for x.Check("olga", "cam", 1, privilege.LiveView, time.Now()) == access.Unavailable { // until it was measured once
			if limit.Err() != nil {
				t.Fatalf("the index never lives: %+v", x.Health())
			}
			time.Sleep(time.Millisecond)
		}
		return verdicts(x, events)
	}
	if got, want := answers(s), answers(noRows{}); got != want {
		t.Fatalf("an index from the rows and one from the events differ:\n%s", difference(got, want))
	}
}

func verdicts(x *access.Index, events []eventstore.Recorded) string {
	var out strings.Builder
	for _, who := range people {
		for _, thing := range things {
			for channel := range 14 {
				for _, p := range []privilege.Set{privilege.LiveView, privilege.Playback, privilege.PTZ, privilege.All} {
					for _, step := range []time.Duration{-30 * time.Minute, 0, 30 * time.Minute} {
						fmt.Fprintf(&out, "%s %s %d %d %s: %s\n", who, thing, channel, p, step, x.Check(ids.Account(who), ids.Device(thing), channel, p, today.Add(step)))
					}
				}
			}
		}
		for _, label := range labels[1:] {
			id, ok := x.Resolve(ids.Account(who), label)
			allowed := ok && x.Check(ids.Account(who), id, 1, privilege.None, today) != access.NotFound
			fmt.Fprintf(&out, "%s %s: %v %v\n", who, label, allowed && id != "", onlyIf(allowed, string(id)))
		}
	}
	for i := range len(events) {
		if k, ok := x.Key(ids.Key(fmt.Sprint("k", i+1))); ok {
			fmt.Fprintf(&out, "%+v\n", k)
		}
	}
	return out.String()
}

func onlyIf(ok bool, s string) string {
	if ok {
		return s
	}
	return ""
}

// difference are the lines that only one of two texts has.
func difference(got, want string) string {
	var out strings.Builder
	for _, line := range strings.Split(got, "\n") {
		if !slices.Contains(strings.Split(want, "\n"), line) {
			out.WriteString("- " + line + "\n")
		}
	}
	for _, line := range strings.Split(want, "\n") {
		if !slices.Contains(strings.Split(got, "\n"), line) {
			out.WriteString("+ " + line + "\n")
		}
	}
	return out.String()
}
