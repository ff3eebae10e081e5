package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"

	"latchkey/eventstore"
	"latchkey/internal/testdb"
	"latchkey/projections/engine"
)

func TestUnavailable(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                  {nil, false},
		"something else":           {errors.New("no"), false},
		"the caller went away":     {context.Canceled, false},
		"too late":                 {fmt.Errorf("reading: %w", context.DeadlineExceeded), true},
		"the log is away":          {fmt.Errorf("%w: %w", eventstore.ErrUnavailable, context.DeadlineExceeded), false},
		"a read model is behind":   {fmt.Errorf("%w: %w", engine.ErrBehind, context.DeadlineExceeded), false},
		"too many connections":     {&pgconn.PgError{Code: "53300"}, true},
		"disk full":                {&pgconn.PgError{Code: "53100"}, true},
		"shut down":                {&pgconn.PgError{Code: "57P01"}, true},
		"crashed":                  {&pgconn.PgError{Code: "57P02"}, true},
		"recovering":               {&pgconn.PgError{Code: "57P03"}, true},
		"a standby":                {&pgconn.PgError{Code: "25006"}, true},
		"a unique key is violated": {&pgconn.PgError{Code: "23505"}, false},
		"a wrong password":         {&pgconn.PgError{Code: "28P01"}, false},
		"no such table":            {&pgconn.PgError{Code: "42P01"}, false},
	} {
		if got := engine.Unavailable(c.err); got != c.want {
			t.Errorf("%s: Unavailable(%v) = %v", name, c.err, got)
		}
	}
}

func TestUnavailableSQLite(t *testing.T) {
	dir := t.TempDir()
	_, err := engine.OpenSQLite(filepath.Join(dir, "missing", "p.db"))
	if !engine.Unavailable(err) {
		t.Errorf("a database that cannot be opened: %v", err)
	}
	path := filepath.Join(dir, "p.db")
	a, err := engine.OpenSQLite(path + "?_pragma=busy_timeout(0)")
	must(t, err)
	defer a.Close()
	tx, err := a.BeginTx(t.Context(), nil) // takes the lock for writing
	must(t, err)
	defer func() { must(t, tx.Rollback()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.RunInTx(ctx, nil, func(context.Context, bun.Tx) error { return nil }); !engine.Unavailable(err) {
		t.Errorf("a database that is locked: %v", err)
	}
}

func TestUnavailablePostgres(t *testing.T) {
	dsn, err := url.Parse(testdb.Postgres(t))
	must(t, err)
	s := open(t, dsn.String())
	err = s.DB().RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
		return err
	})
	if !engine.Unavailable(err) {
		t.Errorf("a connection that the server ended: %v", err)
	}
	q := dsn.Query()
	q.Set("host", filepath.Join(os.TempDir(), "no-such-folder"))
	dsn.RawQuery = q.Encode()
	if _, err = engine.Open(t.Context(), engine.Config{Database: dsn.String()}); !engine.Unavailable(err) {
		t.Errorf("a server that is away: %v", err)
	}
	q.Set("host", "127.0.0.1")
	q.Set("port", "1")
	dsn.RawQuery = q.Encode()
	if _, err = engine.Open(t.Context(), engine.Config{Database: dsn.String()}); !engine.Unavailable(err) {
		t.Errorf("a server that refuses: %v", err)
	}
}

// TestStoppedInATransaction: a process that stops in a transaction loses what it
// has locked within seconds, whether it writes or reads.
func TestStoppedInATransaction(t *testing.T) {
	t.Parallel()
	dsn := testdb.Postgres(t)
	s := open(t, dsn, notes("notes"))
	for name, begin := range map[string]func(context.Context) (bun.Tx, error){
		"writing": s.BeginWriting,
		"reading": func(ctx context.Context) (bun.Tx, error) { return s.DB().BeginTx(ctx, nil) },
	} {
		tx, err := begin(t.Context())
		must(t, err)
		_, err = tx.ExecContext(t.Context(), "LOCK TABLE projection_checkpoints IN ACCESS EXCLUSIVE MODE")
		must(t, err)
		began := time.Now()
		_, err = open(t, dsn, notes("notes")).Status(within(t))
		must(t, err)
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			t.Errorf("%s: the lock was held for %v", name, took)
		}
		if err := tx.Commit(); !engine.Unavailable(err) {
			t.Errorf("%s: the transaction that was ended: %v", name, err)
		}
	}
}
