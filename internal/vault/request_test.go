package vault_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"latchkey/internal/testdb"
	"latchkey/internal/vault"
)

func TestRequests(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		v, db, c := fresh(t)
		requests(t, v, db, c)
	})
	t.Run("postgres", func(t *testing.T) {
		v, db, c := onPostgres(t)
		requests(t, v, db, c)
	})
}

func onPostgres(t *testing.T) (*vault.Vault, *bun.DB, *clock) {
	t.Helper()
	sqldb, err := sql.Open("pgx", testdb.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	db := bun.NewDB(sqldb, pgdialect.New())
	t.Cleanup(func() { db.Close() })
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	v, err := vault.Open(t.Context(), db, vault.NewMasterKey(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return v, db, c
}

func requests(t *testing.T, v *vault.Vault, db *bun.DB, c *clock) {
	ctx := context.Background()
	claim := func(fingerprint, token string) vault.Request {
		return vault.Request{
			Key: "key", Fingerprint: fingerprint, Token: token, Stream: "share-1",
			Until: c.t.Add(time.Second), Expires: c.t.Add(24 * time.Hour),
		}
	}
	want := func(name string, r vault.Request, mine bool, token string) {
		t.Helper()
		there, is, err := v.ClaimRequest(ctx, r, c.t)
		if err != nil || is != mine || !mine && there.Token != token {
			t.Errorf("%s: %+v, mine %v, %v", name, there, is, err)
		}
	}
	want("the first", claim("put", "a"), true, "")
	want("the same meanwhile", claim("put", "b"), false, "a")
	want("another meanwhile", claim("delete", "c"), false, "a")
	c.t = c.t.Add(time.Second)
	want("another after the lease", claim("delete", "c"), false, "a")
	want("the same after the lease", claim("put", "b"), true, "")

	late := claim("put", "a")
	late.Done = true
	if err := v.FinishRequest(ctx, late); err != nil {
		t.Fatal(err)
	}
	if err := v.ReleaseRequest(ctx, late); err != nil {
		t.Fatal(err)
	}
	want("who lost the claim changes nothing", claim("delete", "c"), false, "b")

	done := claim("put", "b")
	done.Done, done.Revision, done.Position = true, -1, 1<<62
	if err := v.FinishRequest(ctx, done); err != nil {
		t.Fatal(err)
	}
	c.t = c.t.Add(23 * time.Hour)
	there, mine, err := v.ClaimRequest(ctx, claim("put", "d"), c.t)
	if err != nil || mine || !there.Done || there.Revision != -1 || there.Position != 1<<62 || there.Stream != "share-1" || there.Fingerprint != "put" {
		t.Errorf("a day later: %+v, %v, %v", there, mine, err)
	}
	c.t = c.t.Add(time.Hour)
	want("after it expired", claim("delete", "e"), true, "")
	if err := v.ReleaseRequest(ctx, claim("delete", "e")); err != nil {
		t.Fatal(err)
	}
	want("after it was given back", claim("put", "f"), true, "")

	c.t = c.t.Add(48 * time.Hour)
	r := claim("put", "g")
	r.Key = "another"
	want("another key", r, true, "")
	if n, err := db.NewSelect().Table("vault_requests").Count(ctx); err != nil || n != 1 {
		t.Errorf("%d rows are left, %v; want that of the last claim", n, err)
	}
}

// TestOneClaims: of many who claim a key at once, one has it.
func TestOneClaims(t *testing.T) {
	v, _, c := fresh(t)
	var mine atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := vault.Request{Key: "key", Fingerprint: "put", Token: fmt.Sprint(i), Until: c.t.Add(time.Minute), Expires: c.t.Add(time.Hour)}
			_, is, err := v.ClaimRequest(t.Context(), r, c.t)
			if err != nil {
				t.Error(err)
			}
			if is {
				mine.Add(1)
			}
		})
	}
	wg.Wait()
	if n := mine.Load(); n != 1 {
		t.Errorf("%d have the key", n)
	}
}
