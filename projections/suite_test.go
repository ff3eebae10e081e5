package projections_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"latchkey/domain"
	"latchkey/eventstore"
	"latchkey/eventstore/node"
	"latchkey/internal/testdb"
	"latchkey/projections"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// databases are what every test of the suite runs on.
var databases = []string{"sqlite", "postgres"}

// onEach runs a test on each database.
func onEach(t *testing.T, f func(t *testing.T, cfg projections.OpenConfig)) {
	for _, kind := range databases {
		t.Run(kind, func(t *testing.T) { f(t, config(t, kind)) })
	}
}

// config is an empty database, gone when the test ends.
func config(t testing.TB, kind string) projections.OpenConfig {
	cfg := projections.OpenConfig{Database: "sqlite", Dir: t.TempDir()}
	if kind == "postgres" {
		cfg.Database = testdb.Postgres(t)
	}
	return cfg
}

func open(t testing.TB, cfg projections.OpenConfig) *projections.Store {
	t.Helper()
	s, err := projections.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// startLog runs a log and answers how it is reached.
func startLog(t testing.TB) *eventstore.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "lk") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n, err := node.Open(node.Config{Dir: filepath.Join(dir, "log"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := node.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = n.Serve(l) })
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	c, err := eventstore.Open(eventstore.Config{Target: "unix://" + socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// encoded are events for the log.
func encoded(t testing.TB, events ...any) []eventstore.Event {
	t.Helper()
	list := make([]eventstore.Event, len(events))
	for i, e := range events {
		name, data, err := domain.EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = eventstore.Event{ID: uuid.New(), Type: name, Data: data}
	}
	return list
}

// write appends events to a stream and answers the last one's position.
func write(t testing.TB, c *eventstore.Client, stream string, events ...any) uint64 {
	t.Helper()
	done, err := c.Append(t.Context(), stream, eventstore.Any(), encoded(t, events...)...)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(done.Position)
}

// running is a runner that a test can end before it ends itself.
type running struct {
	*projections.Runner
	stop func()
}

// ended is a policy's call.
type ended struct {
	cause  uuid.UUID
	device string
	shares []string
}

// start runs the projections; what the policy asks for goes to calls, unless
// that is nil.
func start(t testing.TB, s *projections.Store, c *eventstore.Client, calls chan<- ended) running {
	t.Helper()
	r, err := projections.NewRunner(projections.RunnerConfig{Store: s, Client: c,
		EndShares: func(ctx context.Context, cause uuid.UUID, device string, shares []string) error {
			if calls == nil {
				return nil
			}
			select {
			case calls <- ended{cause, device, shares}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Errorf("running the projections: %v", err)
		}
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return running{r, stop}
}

// reach waits until every projection is there.
func (r running) reach(t testing.TB, position uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, name := range projections.Names() {
		if err := r.WaitFor(ctx, name, position); err != nil {
			t.Fatalf("%v (%v)", err, r.Err())
		}
	}
}

// tables are the rows of every read model.
var tables = []string{
	"sent_shares", "sent_share_devices", "received_shares", "received_share_devices", "share_history", "devices",
	"account_logins", "stream_keys", "privileges", "privilege_accounts", "privilege_devices", "privilege_shares", "privilege_keys",
}

// dump is every row of every read model, as text.
func dump(t interface {
	Helper()
	Fatal(...any)
}, s *projections.Store) string {
	t.Helper()
	var out strings.Builder
	for _, table := range tables {
		rows, err := s.DB().DB.Query("SELECT * FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(string)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			line := table
			for i, v := range values {
				line += fmt.Sprintf(" %s=%q", columns[i], *v.(*string))
			}
			lines = append(lines, line)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(lines)
		out.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return out.String()
}

// at is the n-th second of the tests' time.
func at(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0).UTC() }
