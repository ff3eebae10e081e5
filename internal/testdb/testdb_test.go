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
