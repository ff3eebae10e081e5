package testdb_test

import (
	"context"
	"database/sql"
	"testing"

	"latchkey/internal/testdb"
)

func TestEachCallGivesAnEmptyDatabase(t *testing.T) {
	for range 2 {
		db, err := sql.Open("pgx", testdb.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(context.Background(), "CREATE TABLE only_one (n bigint)"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACrashLosesWhatWasNotFlushed(t *testing.T) {
	s := testdb.NewServer(t, "wal_writer_delay=10s")
	count := func(statements ...string) (n int) {
		t.Helper()
		db, err := sql.Open("pgx", s.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM kept").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count("CREATE TABLE kept (n bigint)", "INSERT INTO kept VALUES (1)",
		"SET synchronous_commit = off", "INSERT INTO kept VALUES (2)"); n != 2 {
		t.Fatalf("%d rows before the crash", n)
	}
	s.Crash()
	s.Start()
	if n := count(); n != 1 {
		t.Errorf("%d rows after the crash; want only the one that was flushed", n)
	}
}
