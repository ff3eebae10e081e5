package vault_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"latchkey/internal/vault"
)

// at is a vault with a clock of its own.
func at(t *testing.T, db *bun.DB) (*vault.Vault, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	v, err := vault.Open(t.Context(), db, vault.NewMasterKey(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return v, c
}

func TestLimits(t *testing.T) { databases(t, testLimits) }

func testLimits(t *testing.T, db *bun.DB) {
	v, c := at(t, db)
	ctx := context.Background()
	take := func(name string, want time.Duration) {
		t.Helper()
		if wait, err := v.Take(ctx, name, 10*time.Second, 3); err != nil || wait != want {
			t.Errorf("%s waits %v, %v; want %v", name, wait, err, want)
		}
	}
	for range 3 {
		take("alice", 0)
	}
	take("alice", 10*time.Second)
	take("alice", 10*time.Second) // a refusal uses up nothing
	take("bob", 0)
	c.t = c.t.Add(4 * time.Second)
	take("alice", 6*time.Second)
	c.t = c.t.Add(6 * time.Second)
	take("alice", 0)
	take("alice", 10*time.Second)
	if err := v.Forgive(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		take("alice", 0)
	}
	var names []string
	if err := db.NewSelect().Table("vault_limits").Column("name").Scan(ctx, &names); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if len(name) != 32 {
			t.Errorf("the vault holds the name %q", name)
		}
	}
	c.t = c.t.Add(time.Hour)
	if err := v.DropSpentLimits(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := db.NewSelect().Table("vault_limits").Count(ctx); err != nil || n != 0 {
		t.Errorf("%d limits are kept, %v", n, err)
	}
}

// TestLimitsAreSharedByProcesses: of many attempts at once through several
// processes on one database exactly the burst is allowed.
func TestLimitsAreSharedByProcesses(t *testing.T) { databases(t, testLimitsAreShared) }

func testLimitsAreShared(t *testing.T, db *bun.DB) {
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	key := vault.NewMasterKey()
	var allowed atomic.Int64
	var attempts sync.WaitGroup
	for range 3 {
		v, err := vault.Open(t.Context(), db, key, c.now)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			attempts.Go(func() {
				wait, err := v.Take(context.Background(), "alice", time.Second, 10)
				if err != nil {
					t.Error(err)
				}
				if wait == 0 {
					allowed.Add(1)
				}
			})
		}
	}
	attempts.Wait()
	if n := allowed.Load(); n != 10 {
		t.Errorf("%d attempts were allowed, want 10", n)
	}
}

func TestNetworks(t *testing.T) { databases(t, testNetworks) }

func testNetworks(t *testing.T, db *bun.DB) {
	v, c := at(t, db)
	ctx := context.Background()
	known := func(login, from string, want bool) {
		t.Helper()
		if got, err := v.KnownNetwork(ctx, login, from); err != nil || got != want {
			t.Errorf("%s from %s: known %v, %v; want %v", login, from, got, err, want)
		}
	}
	remember := func(login, from string) {
		t.Helper()
		if err := v.RememberNetwork(ctx, login, from); err != nil {
			t.Fatal(err)
		}
	}
	remember("alice", "192.0.2.1")
	known("alice", "192.0.2.1", true)
	known("alice", "192.0.2.2", false)
	known("bob", "192.0.2.1", false)
	for i := range 20 {
		c.t = c.t.Add(time.Hour)
		remember("alice", fmt.Sprint("198.51.100.", i))
	}
	known("alice", "192.0.2.1", false)
	known("alice", "198.51.100.3", false)
	known("alice", "198.51.100.4", true)
	known("alice", "198.51.100.19", true)
	if n, err := db.NewSelect().Table("vault_networks").Count(ctx); err != nil || n != 16 {
		t.Errorf("%d networks are kept, %v", n, err)
	}
	c.t = c.t.Add(181 * 24 * time.Hour)
	known("alice", "198.51.100.19", false)
	if err := v.DropSpentLimits(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := db.NewSelect().Table("vault_networks").Count(ctx); err != nil || n != 0 {
		t.Errorf("%d networks are kept, %v", n, err)
	}
}
