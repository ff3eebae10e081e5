package reactors_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/reclaim"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/reactors"
	"latchkey/internal/testdb"
	"latchkey/internal/testlog"
	"latchkey/projections"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The pools of database/sql end in the background after Close.
		goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"),
		goleak.IgnoreAnyFunction("github.com/EventStore/EventStore-Client-Go/v4/esdb.discoverNode"),
		goleak.IgnoreTopFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"))
}

// house is a log and a database, without anything that runs.
type house struct {
	t   testing.TB
	dsn string
	log *eventstore.Client

	last eventstore.Position // position of the last event that was appended
}

// onEach runs a test on each kind of database.
func onEach(t *testing.T, f func(t *testing.T, h *house)) {
	for name, dsn := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "p.db") },
		"postgres": func(t testing.TB) string { return testdb.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &house{t: t, dsn: dsn(t), log: testlog.New(t)}
			_, err := h.log.Identify(t.Context())
			must(t, err)
			f(t, h)
		})
	}
}

func (h *house) open() *projections.Store {
	h.t.Helper()
	s, err := projections.Open(context.Background(), projections.OpenConfig{Database: h.dsn})
	must(h.t, err)
	h.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return s
}

// process starts what keeps read models up to date and follows events, as a process
// of its own would.
func (h *house) process(do reactors.Commands) (stop func()) {
	h.t.Helper()
	s := h.open()
	r, err := projections.NewRunner(projections.RunnerConfig{Store: s, Client: h.log})
	must(h.t, err)
	for _, f := range reactors.Followers(s, reactors.List(r, do)) {
		must(h.t, r.Follow(f))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("the runner ended with %v", err)
		}
	})
	h.t.Cleanup(stop)
	return stop
}

func (h *house) append(stream string, events ...event.Event) (ids []uuid.UUID) {
	h.t.Helper()
	list := make([]eventstore.Event, len(events))
	for i, e := range events {
		name, data, err := catalogue.Encode(e)
		must(h.t, err)
		list[i] = eventstore.Event{ID: uuid.New(), Type: name, Data: data, Metadata: []byte("{}")}
		ids = append(ids, list[i].ID)
	}
	done, err := h.log.Append(context.Background(), stream, eventstore.Any(), list...)
	must(h.t, err)
	h.last = done.Position
	return ids
}

const (
	olga  = "0190a000-0000-7000-8000-00000000000a"
	login = "000102030405060708090a0b0c0d0e0f"
	given = olga + "." + login
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shared adds a device and offers it in a share.
func (h *house) shared(id string) {
	h.append("device-"+id, device.Added{Device: id, Serial: id, Generation: 1, Owner: olga, Channels: []device.Channel{{Channel: 1, Capabilities: privilege.All}}, At: epoch})
	h.append("share-"+given, share.Opened{Share: given, Owner: olga, Login: login, Kind: "email", At: epoch}, offered(id))
}

func offered(id string) share.Invited {
	return share.Invited{Share: given, Owner: olga, Login: login, Device: id, Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView}}, At: epoch}
}

func (h *house) remove(id string) (cause uuid.UUID) {
	return h.append("device-"+id, device.Removed{Device: id, Owner: olga, At: epoch})[0]
}

// call is a command that was given.
type call struct {
	cause  uuid.UUID
	device string
	shares []string
}

// commands carries commands out as a test wants.
type commands func(ctx context.Context, c call) error

func (f commands) EndShares(ctx context.Context, cause uuid.UUID, device string, shares []string) error {
	return f(ctx, call{cause, device, shares})
}

func (f commands) EndOffers(context.Context, uuid.UUID, string, eventstore.Position) error {
	return nil
}

func (f commands) EpochBegan(context.Context) (eventstore.Position, error) { return 0, nil }

func (f commands) FinishClosing(context.Context, uuid.UUID, string, eventstore.Position) error {
	return nil
}

func (f commands) Notify(context.Context, []reactors.Event) error { return nil }
func (f commands) Notified() []string                             { return nil }
func (f commands) Notifies(context.Context) (bool, error)         { return false, nil }
func (f commands) FinishRemoval(context.Context, uuid.UUID, string, string, eventstore.Position) error {
	return nil
}

func (f commands) FollowClaim(context.Context, string, eventstore.Position) error { return nil }

var errTest = errors.New("as the test wants it")

func (f commands) TellOfTransfer(context.Context, uuid.UUID, device.TransferOffered) error {
	return nil
}

func (f commands) TellOfReclaim(context.Context, uuid.UUID, reclaim.Claimed) error { return nil }

func (f commands) TellOfLoss(context.Context, uuid.UUID, device.Removed) error { return nil }

func (f commands) FinishHandover(context.Context, uuid.UUID, device.Added) error { return nil }

// within bounds what waits for something that must happen.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// next waits for a value.
func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-within(t).Done():
		t.Fatal("it did not happen")
		panic("not reached")
	}
}

// nextFor waits for the command after an event. There may be others before: one after
// an event that offers a device which was removed meanwhile, for instance.
func nextFor(t testing.TB, c <-chan call, cause uuid.UUID) call {
	t.Helper()
	for {
		if got := next(t, c); got.cause == cause {
			return got
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
