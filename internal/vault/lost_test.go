package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"latchkey/internal/position"
	"latchkey/internal/testdb"
	"latchkey/internal/vault"
)

// databases runs a test on an empty database of each kind.
func databases(t *testing.T, test func(t *testing.T, db *bun.DB)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "vault.db")
		if err := vault.CreateFile(path); err != nil {
			t.Fatal(err)
		}
		db, err := vault.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		test(t, db)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		cfg, err := pgx.ParseConfig(testdb.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		db := bun.NewDB(stdlib.OpenDB(*cfg), pgdialect.New())
		t.Cleanup(func() { db.Close() })
		test(t, db)
	})
}

func opened(t *testing.T, db *bun.DB, key vault.MasterKey) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), db, key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sealed(t *testing.T, v *vault.Vault, person, plain string) string {
	t.Helper()
	s, err := v.Seal(t.Context(), person, field, plain)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// copyFile puts a closed vault's file in another place.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestTextOfALostKeyIsUnreadableUntilItIsBack(t *testing.T) {
	dir, key := t.TempDir(), vault.NewMasterKey()
	at := func(name string) string { return filepath.Join(dir, name) }
	c := &clock{time.Now()}
	_, db, err := open(t, at("vault.db"), key, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, at("vault.db"), at("older.db"))
	var v *vault.Vault
	if v, db, err = open(t, at("vault.db"), key, c); err != nil {
		t.Fatal(err)
	}
	before := sealed(t, v, "pete", "pete@example.com")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	older, _, err := open(t, at("older.db"), key, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := older.Unseal(t.Context(), field, before); !errors.Is(err, vault.ErrUnreadable) || errors.Is(err, vault.ErrForgotten) {
		t.Fatalf("text whose key is lost: %v", err)
	}
	after := sealed(t, older, "pete", "pete@example.com")
	if after == before {
		t.Fatal("two keys sealed one text in the same way")
	}
	if got, err := older.Unseal(t.Context(), field, after); err != nil || got != "pete@example.com" {
		t.Fatalf("text of the new key: %q, %v", got, err)
	}
	if _, err := older.Unseal(t.Context(), field, before); !errors.Is(err, vault.ErrUnreadable) {
		t.Fatalf("text of the lost key, once there is another: %v", err)
	}

	back, _, err := open(t, at("vault.db"), key, c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := back.Unseal(t.Context(), field, before); err != nil || got != "pete@example.com" {
		t.Fatalf("the right vault is back: %q, %v", got, err)
	}
	if _, err := back.Unseal(t.Context(), field, after); !errors.Is(err, vault.ErrUnreadable) {
		t.Fatalf("text of the key that was made meanwhile: %v", err)
	}
}

func TestSeveralKeysOfOnePerson(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx, key := t.Context(), vault.NewMasterKey()
		v := opened(t, db, key)
		first := sealed(t, v, "pete", "one")
		if _, err := db.ExecContext(ctx, "UPDATE vault_subjects SET subject = 'away'"); err != nil {
			t.Fatal(err)
		}
		v = opened(t, db, key) // it remembers no keys
		second := sealed(t, v, "pete", "one")
		if _, err := db.ExecContext(ctx, "UPDATE vault_subjects SET subject = 'pete' WHERE subject = 'away'"); err != nil {
			t.Fatal(err)
		}
		v = opened(t, db, key)
		for _, s := range []string{first, second} {
			if got, err := v.Unseal(ctx, field, s); err != nil || got != "one" {
				t.Errorf("unsealing %s: %q, %v", s, got, err)
			}
		}
		if again := sealed(t, v, "pete", "one"); again != sealed(t, opened(t, db, key), "pete", "one") {
			t.Error("which of the keys seals is not always the same")
		}
		if err := v.Forget(ctx, "pete"); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{first, second} {
			if _, err := v.Unseal(ctx, field, s); !errors.Is(err, vault.ErrForgotten) {
				t.Errorf("after the person was forgotten: %v", err)
			}
		}
		if _, err := v.Seal(ctx, "pete", field, "more"); !errors.Is(err, vault.ErrForgotten) {
			t.Errorf("sealing for a forgotten person: %v", err)
		}
	})
}

func TestADamagedKeyIsReplacedForNewText(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		key := vault.NewMasterKey()
		before := sealed(t, opened(t, db, key), "pete", "text")
		if _, err := db.NewUpdate().Table("vault_subjects").Set("key = ?", []byte("damaged")).Where("1 = 1").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := opened(t, db, key)
		if _, err := v.Unseal(t.Context(), field, before); !errors.Is(err, vault.ErrUnreadable) {
			t.Fatalf("text of a damaged key: %v", err)
		}
		if got, err := v.Unseal(t.Context(), field, sealed(t, v, "pete", "text")); err != nil || got != "text" {
			t.Fatalf("new text: %q, %v", got, err)
		}
	})
}

// TestAVaultOfTheVersionBefore opens the tables as they were before the keys of
// persons had tags.
func TestAVaultOfTheVersionBefore(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx, key := t.Context(), vault.NewMasterKey()
		v := opened(t, db, key)
		if err := v.SetPassword(ctx, "olga", "a long password"); err != nil {
			t.Fatal(err)
		}
		old := vault.SealAsBefore(t, v, "olga", "olga@example.com")
		blob := map[bool]string{true: "BLOB", false: "BYTEA"}[strings.Contains(fmt.Sprint(db.Dialect().Name()), "sqlite")]
		for _, s := range []string{
			"DROP TABLE vault_state",
			"CREATE TABLE before (subject VARCHAR NOT NULL, key " + blob + " NOT NULL, PRIMARY KEY (subject))",
			"INSERT INTO before SELECT subject, key FROM vault_subjects WHERE tag = ''",
			"DROP TABLE vault_subjects",
			"CREATE TABLE vault_subjects (subject VARCHAR NOT NULL, key " + blob + " NOT NULL, PRIMARY KEY (subject))",
			"INSERT INTO vault_subjects SELECT subject, key FROM before",
		} {
			if _, err := db.ExecContext(ctx, s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
		id := v.ID()
		for range 2 {
			v = opened(t, db, key)
			if got, err := v.Unseal(ctx, field, old); err != nil || got != "olga@example.com" {
				t.Fatalf("text of before: %q, %v", got, err)
			}
			again := sealed(t, v, "olga", "olga@example.com")
			if !strings.HasPrefix(again, "olga:2.") { // the key has no tag
				t.Fatalf("the key of before no longer seals: %s", again)
			}
			if got, err := v.Unseal(ctx, field, again); err != nil || got != "olga@example.com" {
				t.Fatalf("text of now: %q, %v", got, err)
			}
			if m, err := v.Mark(ctx); err != nil || m != (vault.Mark{}) {
				t.Fatalf("mark %+v, %v", m, err)
			}
			if v.ID() != id {
				t.Fatal("the vault has another id")
			}
		}
	})
}

func TestMarkAndWhatWasTaken(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		v := opened(t, db, vault.NewMasterKey())
		expect := func(want vault.Mark) {
			t.Helper()
			if got, err := v.Mark(ctx); err != nil || got != want {
				t.Fatalf("mark %+v, %v; want %+v", got, err, want)
			}
		}
		expect(vault.Mark{})
		at := func(epoch uint64, position position.Position) vault.Mark {
			return vault.Mark{Log: "log", Epoch: epoch, Position: position, Event: fmt.Sprint("event ", position)}
		}
		set := func(f func(context.Context, vault.Mark) error, m vault.Mark) {
			t.Helper()
			if err := f(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		set(v.SetMark, at(1, 10))
		set(v.AdvanceMark, at(1, 20))
		expect(at(1, 20))
		set(v.AdvanceMark, at(1, 15)) // never back
		set(v.AdvanceMark, at(2, 30)) // nor into another epoch
		expect(at(1, 20))
		set(v.SetMark, at(2, 5))
		expect(at(2, 5))

		taken := func(want uint64) {
			t.Helper()
			if got, err := v.Taken(ctx); err != nil || got != want {
				t.Fatalf("taken %d, %v; want %d", got, err, want)
			}
		}
		taken(0)
		token, err := v.NewSession(ctx, "olga", vault.NewSession{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(v.EndSession(ctx, token), v.EndSession(ctx, token), v.EndSession(ctx, "none")); err != nil {
			t.Fatal(err)
		}
		taken(1)
		if err := v.SetPassword(ctx, "olga", "a long password"); err != nil {
			t.Fatal(err)
		}
		taken(1)
		if err := v.SetPassword(ctx, "olga", "another password"); err != nil {
			t.Fatal(err)
		}
		taken(2)
		if err := v.Forget(ctx, "pete"); err != nil {
			t.Fatal(err)
		}
		taken(3)
		if token, err = v.NewSession(ctx, "olga", vault.NewSession{TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if err := v.EndAllSessions(ctx, 70); err != nil {
			t.Fatal(err)
		}
		taken(70)
		if _, err := v.Session(ctx, token); !errors.Is(err, vault.ErrNoSession) {
			t.Fatalf("a session that was ended with all others: %v", err)
		}
		expect(at(2, 5))
	})
}

func TestStagedCameras(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		v := opened(t, db, vault.NewMasterKey())
		camera := func(user string) vault.Camera { return vault.Camera{Username: user} }
		if err := errors.Join(v.StageCamera(ctx, "cam", "one", camera("winner")), v.StageCamera(ctx, "cam", "two", camera("loser"))); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Camera(ctx, "cam"); !errors.Is(err, vault.ErrNotFound) {
			t.Fatalf("a staged camera is the device's: %v", err)
		}
		if list, err := v.StagedCameras(ctx); err != nil || len(list) != 2 || list[0].Device != "cam" || list[0].At.IsZero() {
			t.Fatalf("staged: %+v, %v", list, err)
		}
		if err := errors.Join(v.ConfirmCamera(ctx, "cam", "one"), v.DropStaged(ctx, "cam", "two")); err != nil {
			t.Fatal(err)
		}
		if c, err := v.Camera(ctx, "cam"); err != nil || c.Username != "winner" {
			t.Fatalf("camera %+v, %v", c, err)
		}
		if err := v.ConfirmCamera(ctx, "cam", "two"); !errors.Is(err, vault.ErrNotFound) {
			t.Fatalf("confirming what was dropped: %v", err)
		}
		if list, err := v.StagedCameras(ctx); err != nil || len(list) != 0 {
			t.Fatalf("staged: %+v, %v", list, err)
		}
		has, err := v.HasCamera(ctx, "cam")
		no, err2 := v.HasCamera(ctx, "other")
		if !has || no || err != nil || err2 != nil {
			t.Fatalf("HasCamera: %v, %v; %v, %v", has, err, no, err2)
		}
	})
}

// TestEveryCommitIsSynced looks at what SQLite is told on each connection, after
// writes of both kinds at once.
func TestEveryCommitIsSynced(t *testing.T) {
	v, db, _ := fresh(t)
	ctx := t.Context()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if err := v.SetStreamSecret(ctx, fmt.Sprint(i), "secret"); err != nil {
				t.Error(err)
			}
			if err := v.AdvanceMark(ctx, vault.Mark{Position: position.Position(i)}); err != nil { // lazily
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := v.AdvanceMark(ctx, vault.Mark{Position: 100}); err != nil {
		t.Fatal(err)
	}
	if keys, err := v.StreamKeys(ctx); err != nil || len(keys) != 40 {
		t.Errorf("%d stream keys, %v", len(keys), err)
	}
	var conns []bun.Conn // held together, so that they are all that there are
	for range 4 {
		c, err := db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for _, c := range conns {
		var synchronous int
		if err := c.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
			t.Errorf("PRAGMA synchronous is %d, %v; want 2 (FULL)", synchronous, err)
		}
	}
}

// TestOneFaultFailsOneWrite has many write at once, one of them what cannot be
// written.
func TestOneFaultFailsOneWrite(t *testing.T) {
	v, db, _ := fresh(t)
	ctx := t.Context()
	if _, err := db.ExecContext(ctx, "CREATE TRIGGER no BEFORE INSERT ON vault_secrets WHEN NEW.id = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			id := fmt.Sprint(i)
			if i == 25 {
				id = "bad"
			}
			if err := v.SetStreamSecret(ctx, id, "secret"); (err != nil) != (id == "bad") {
				t.Errorf("writing %s: %v", id, err)
			}
		})
	}
	all.Wait()
	if keys, err := v.StreamKeys(ctx); err != nil || len(keys) != 49 {
		t.Errorf("%d secrets were written, %v; want 49", len(keys), err)
	}
}

// A database that takes no writes is not well until it takes them again.
func TestPingNoticesThatNothingIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	if err := vault.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	db, err := vault.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	v, err := vault.Open(t.Context(), db, vault.NewMasterKey(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1) // the setting below is of a connection
	readOnly := func(on int) {
		t.Helper()
		if _, err := db.Exec("PRAGMA query_only = ?", on); err != nil {
			t.Fatal(err)
		}
	}
	readOnly(1)
	if err := v.SetStreamSecret(t.Context(), "key", "secret"); err == nil {
		t.Fatal("written to a database that takes no writes")
	}
	for range 2 {
		if err := v.Ping(t.Context()); err == nil {
			t.Error("Ping of a database that takes no writes returned nil")
		}
	}
	readOnly(0)
	if err := v.Ping(t.Context()); err == nil {
		t.Error("Ping right after a change was not taken returned nil")
	}
	if err := v.SetStreamSecret(t.Context(), "key", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := v.Ping(t.Context()); err != nil {
		t.Errorf("Ping of a database that has taken a change again: %v", err)
	}
}

// TestWhoLeavesAWriteShareNothingWithIt: the race detector would say so.
func TestWhoLeavesAWriteShareNothingWithIt(t *testing.T) {
	v, _, _ := fresh(t)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			ctx, leave := context.WithCancel(t.Context())
			go leave()
			has, err := v.Lease(ctx, fmt.Sprint("lease ", n%7), fmt.Sprint("holder ", n), time.Minute)
			if err != nil && has {
				t.Error("who has left has the lease")
			}
		})
	}
	all.Wait()
}
