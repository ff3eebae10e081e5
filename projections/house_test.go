package projections_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/eventstore/node"
	"latchkey/internal/testdb"
	"latchkey/projections"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The pools of database/sql end in the background after Close.
		goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"),
		// What the library of the log may leave behind where a node went away under
		// several calls; see the package eventstore.
		goleak.IgnoreAnyFunction("github.com/EventStore/EventStore-Client-Go/v4/esdb.discoverNode"),
		goleak.IgnoreTopFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"))
}

var databases = []struct {
	name string
	dsn  func(t testing.TB) string
}{
	{"sqlite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "p.db") }},
	{"postgres", func(t testing.TB) string { return testdb.Postgres(t) }},
}

// onEach runs a test on each kind of database.
func onEach(t *testing.T, f func(t *testing.T, h *house)) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			f(t, newHouse(t, d.dsn(t)))
		})
	}
}

// house is a log and a database, without anything that runs.
type house struct {
	t      testing.TB
	dsn    string
	client *eventstore.Client
	store  *projections.Store
}

func newHouse(t testing.TB, dsn string) *house {
	h := &house{t: t, dsn: dsn, client: newLog(t)}
	h.store = h.open()
	_, err := h.client.Identify(context.Background()) // before the test's first event: positions follow each other
	must(t, err)
	return h
}

// newLog starts an embedded node and answers a client of it.
func newLog(t testing.TB) *eventstore.Client {
	t.Helper()
	return newMovableLog(t).client
}

// movableLog is an embedded node whose folder can be put back to an earlier time.
type movableLog struct {
	dir    string
	client *eventstore.Client
	stop   func()
}

func newMovableLog(t testing.TB) *movableLog {
	t.Helper()
	dir, err := os.MkdirTemp("", "lk") // short: a socket's path has 107 bytes at most
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &movableLog{dir: dir}
	l.start(t)
	t.Cleanup(func() { l.stop() })
	l.client, err = eventstore.Open(eventstore.Config{Target: "unix://" + filepath.Join(dir, "s")})
	must(t, err)
	t.Cleanup(func() { l.client.Close() })
	return l
}

func (l *movableLog) start(t testing.TB) {
	t.Helper()
	n, err := node.Open(node.Config{Dir: filepath.Join(l.dir, "log"), NoSync: true})
	must(t, err)
	listener, err := net.Listen("unix", filepath.Join(l.dir, "s"))
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- n.Serve(listener) }()
	l.stop = func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		<-served
	}
}

// backup copies the folder, with the node stopped, and answers where the copy
// is.
func (l *movableLog) backup(t testing.TB) string {
	t.Helper()
	l.stop()
	copied := filepath.Join(t.TempDir(), "log")
	must(t, os.CopyFS(copied, os.DirFS(filepath.Join(l.dir, "log"))))
	l.start(t)
	return copied
}

// replace puts a copy in the place of the folder, and starts the node on it. A
// copy that is restored as it should be has its epoch raised before anybody
// else sees it.
func (l *movableLog) replace(t testing.TB, with string, raise bool) {
	t.Helper()
	l.stop()
	folder := filepath.Join(l.dir, "log")
	must(t, os.RemoveAll(folder))
	must(t, os.CopyFS(folder, os.DirFS(with)))
	if raise {
		raiseEpoch(t, folder)
	}
	l.start(t)
}

func raiseEpoch(t testing.TB, folder string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lk")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Rename(folder, filepath.Join(dir, "log")))
	l := &movableLog{dir: dir}
	l.start(t)
	c, err := eventstore.Open(eventstore.Config{Target: "unix://" + filepath.Join(dir, "s")})
	must(t, err)
	_, err = c.RaiseEpoch(context.Background())
	must(t, err)
	must(t, c.Close())
	l.stop()
	must(t, os.Rename(filepath.Join(dir, "log"), folder))
}

// open opens the database as one more process would.
func (h *house) open() *projections.Store {
	h.t.Helper()
	return h.openWith(projections.OpenConfig{Database: h.dsn})
}

func (h *house) openWith(cfg projections.OpenConfig) *projections.Store {
	h.t.Helper()
	s, err := projections.Open(context.Background(), cfg)
	must(h.t, err)
	h.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return s
}

// append writes events to a stream, whatever it holds, and answers the position
// of the last one.
func (h *house) append(stream string, events ...event.Event) eventstore.Position {
	h.t.Helper()
	list := make([]eventstore.Event, len(events))
	for i, e := range events {
		name, data, err := catalogue.Encode(e)
		must(h.t, err)
		list[i] = eventstore.Event{ID: uuid.New(), Type: name, Data: data, Metadata: []byte("{}")}
	}
	return h.raw(stream, list...)
}

func (h *house) raw(stream string, events ...eventstore.Event) eventstore.Position {
	h.t.Helper()
	done, err := h.client.Append(context.Background(), stream, eventstore.Any(), events...)
	must(h.t, err)
	return done.Position
}

// run starts a runner on a store, as a process would.
func (h *house) run(s *projections.Store) (r *projections.Runner, stop func()) {
	h.t.Helper()
	r, err := projections.NewRunner(projections.RunnerConfig{Store: s, Client: h.client})
	must(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("the runner ended with %v", err)
		}
	}
	h.t.Cleanup(stop)
	return r, stop
}

// within bounds what waits for something that must happen.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wait waits until every projection has reached a position.
func wait(t testing.TB, r *projections.Runner, position eventstore.Position) {
	t.Helper()
	for _, name := range projections.Names() {
		must(t, r.WaitFor(within(t), name, position))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	olga  = "0190a000-0000-7000-8000-00000000000a"
	rita  = "0190a000-0000-7000-8000-00000000000b"
	login = "000102030405060708090a0b0c0d0e0f"
	given = olga + "." + login
)

func added(owner, id string, channels ...device.Channel) device.Added {
	return device.Added{Device: id, Serial: id, Generation: 1, Owner: owner, Name: owner + ":name", Channels: channels, At: epoch}
}

func channel(n int) device.Channel { return device.Channel{Channel: n, Capabilities: privilege.All} }

func opened() share.Opened {
	return share.Opened{Share: given, Owner: olga, Login: login, Kind: "email", Recipient: "login:address", Remark: "login:remark", At: epoch}
}

func invited(id string, p privilege.Set) share.Invited {
	return share.Invited{Share: given, Owner: olga, Login: login, Device: id, Grants: grants(p), At: epoch.Add(time.Minute)}
}

func accepted(id string, p privilege.Set) share.Accepted {
	return share.Accepted{Share: given, Owner: olga, Login: login, Account: rita, Device: id, Grants: grants(p), At: epoch.Add(time.Hour)}
}

func grants(p privilege.Set) []share.Grant { return []share.Grant{{Channel: 1, Privileges: p}} }

func registered(id, hash string) account.Registered {
	return account.Registered{Account: id, Login: hash, Kind: "email", Address: "a", Name: "n", At: epoch}
}
