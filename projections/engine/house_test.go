package engine_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/testdb"
	"latchkey/projections/engine"
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
func onEach(t *testing.T, f func(t *testing.T, dsn string)) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			f(t, d.dsn(t))
		})
	}
}

// open opens a database with some read models in it.
func open(t testing.TB, dsn string, models ...*engine.Projection) *engine.Store {
	t.Helper()
	s, err := engine.Open(context.Background(), engine.Config{
		Database: dsn, Models: models, Followers: []string{"followers"},
		Events: engine.Events{
			Prefix: "test.", Known: func(string) bool { return true },
			Decode: func(_ string, data []byte) (any, error) { return string(data), nil },
		},
		Migrations: []engine.Migration{
			{Name: "0001", Comment: "tables", Do: engine.MakeTables}, {Name: "0002", Comment: "sessions", Do: engine.OnSQLite(engine.AddSession)}, {Name: "0003", Comment: "leases", Do: engine.AddLeases},
		},
	})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// run runs a runner until stop is called or the test ends.
func run(t testing.TB, r interface{ Run(context.Context) error }) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the runner ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// within bounds what waits for something that must happen.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
