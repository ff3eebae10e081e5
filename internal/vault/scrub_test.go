package vault_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"latchkey/internal/vault"
)

// window is how many bytes of something that was forgotten must be nowhere.
const window = 8

// remains counts the values of which some bytes are in any file of the folder.
func remains(t *testing.T, dir string, values [][]byte) (n int) {
	t.Helper()
	seen := map[[window]byte]bool{}
	for _, data := range contents(t, dir) {
		for i := range len(data) - window + 1 {
			seen[[window]byte(data[i:i+window])] = true
		}
	}
	for _, v := range values {
		for i := 0; i+window <= len(v); i += window {
			if seen[[window]byte(v[i:i+window])] {
				n++
				break
			}
		}
	}
	return n
}

// contents are those of every file of a folder, by name.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// stored returns what the only row that matches has in a column.
func stored(t *testing.T, db bun.IDB, column, table, where string, args ...any) []byte {
	t.Helper()
	var value []byte
	if err := db.NewRaw("SELECT "+column+" FROM "+table+" WHERE "+where, args...).Scan(t.Context(), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// integrity is what SQLite finds wrong with a file, or "ok".
func integrity(t *testing.T, db bun.IDB) string {
	t.Helper()
	var found string
	if err := db.NewRaw("PRAGMA integrity_check").Scan(t.Context(), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// cameraOf is one whose sealed form takes from one tenth of a page to three pages.
func cameraOf(rng *rand.Rand) vault.Camera {
	long := 1500
	if rng.IntN(20) == 0 {
		long = 12_000
	}
	return vault.Camera{Username: "admin", Password: "hunter2", ISAPIURL: strings.Repeat("x", rng.IntN(long))}
}

// forgetMuch adds and forgets cameras, stream keys, persons, passwords and
// sessions by chance, some of them for others to come. It returns what is stored of
// those that were forgotten.
func forgetMuch(t *testing.T, v *vault.Vault, db bun.IDB, rng *rand.Rand, steps int) (gone [][]byte) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var live []string
	note := func(column, table, where string, args ...any) {
		gone = append(gone, stored(t, db, column, table, where, args...))
	}
	for range steps {
		if rng.IntN(100) < 55 || len(live) == 0 {
			id := fmt.Sprintf("%016x", rng.Uint64())
			must(v.SetCamera(ctx, id, cameraOf(rng)))
			must(v.SetStreamSecret(ctx, id, fmt.Sprint("secret", id)))
			_, err := v.Seal(ctx, id, field, "text")
			must(err)
			live = append(live, id)
			continue
		}
		i := rng.IntN(len(live))
		id := live[i]
		note("value", "vault_secrets", "kind = 'camera' AND id = ?", id)
		if rng.IntN(3) == 0 {
			must(v.SetCamera(ctx, id, cameraOf(rng)))
			continue
		}
		note("value", "vault_secrets", "kind = 'stream key' AND id = ?", id)
		note("\"key\"", "vault_subjects", "subject = ?", id)
		must(v.ForgetCamera(ctx, id))
		must(v.ForgetStreamSecret(ctx, id))
		must(v.Forget(ctx, id))
		live[i] = live[len(live)-1]
		live = live[:len(live)-1]
	}
	token, err := v.NewSession(ctx, "anna", vault.NewSession{TTL: time.Hour})
	must(err)
	note("token", "vault_sessions", "account = 'anna'")
	must(v.EndSession(ctx, token))
	must(v.SetPassword(ctx, "anna", "a long password"))
	hash := stored(t, db, "hash", "vault_passwords", "account = 'anna'")
	gone = append(gone, hash[len(hash)-43:]) // without its parameters
	must(v.SetPassword(ctx, "anna", "another long password"))
	return gone
}

// TestForgottenIsInNoFile: what was forgotten is in no file of the folder once it
// was scrubbed, whether the vault is open or closed.
func TestForgottenIsInNoFile(t *testing.T) {
	for seed := range uint64(2) {
		dir := t.TempDir()
		c := &clock{time.Now()}
		v, db, err := open(t, filepath.Join(dir, "vault.db"), vault.NewMasterKey(), c)
		if err != nil {
			t.Fatal(err)
		}
		gone := forgetMuch(t, v, db, rand.New(rand.NewPCG(seed, 1)), 400)
		if n := remains(t, dir, gone); n < len(gone)/10 {
			t.Errorf("%d of %d are found before they are scrubbed: the search does not work", n, len(gone))
		}
		c.t = c.t.Add(time.Hour) // the file was packed when it was opened
		if err := v.Scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := remains(t, dir, gone); n > 0 {
			t.Errorf("%d of %d that were forgotten are in the files of the running vault", n, len(gone))
		}
		if wal := contents(t, dir)["vault.db-wal"]; strings.Trim(string(wal), "\x00") != "" {
			t.Error("the write-ahead log has something in it")
		}
		gone = append(gone, forgetMuch(t, v, db, rand.New(rand.NewPCG(seed, 2)), 50)...)
		if err := integrity(t, db); err != "ok" {
			t.Errorf("after the log was cut the file is %s", err)
		}
		if err := v.ScrubNow(t.Context()); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if n := remains(t, dir, gone); n > 0 {
			t.Errorf("%d of %d that were forgotten are in the files of the closed vault", n, len(gone))
		}
	}
}

// TestForgottenIsGoneAfterAKill: the next start takes it out of the files.
func TestForgottenIsGoneAfterAKill(t *testing.T) {
	dir, later, key := t.TempDir(), t.TempDir(), vault.NewMasterKey()
	c := &clock{time.Now()}
	v, db, err := open(t, filepath.Join(dir, "vault.db"), key, c)
	if err != nil {
		t.Fatal(err)
	}
	gone := forgetMuch(t, v, db, rand.New(rand.NewPCG(1, 1)), 200)
	if err := v.ScrubNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone = append(gone, forgetMuch(t, v, db, rand.New(rand.NewPCG(1, 2)), 50)...) // in a log that was cut
	for name, data := range contents(t, dir) {                                    // as they are at a kill
		if err := os.WriteFile(filepath.Join(later, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if remains(t, later, gone) == 0 {
		t.Fatal("nothing remained at the kill")
	}
	v, db, err = open(t, filepath.Join(later, "vault.db"), key, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := integrity(t, db); err != "ok" {
		t.Errorf("the file is %s", err)
	}
	if n := remains(t, later, gone); n > 0 {
		t.Errorf("%d of %d that were forgotten are in the files", n, len(gone))
	}
	if ok, err := v.VerifyPassword(t.Context(), "anna", "another long password"); err != nil || !ok {
		t.Errorf("what was not forgotten: %v, %v", ok, err)
	}
}

// TestFilesOfEarlierVersionsAreScrubbed: they deleted without overwriting.
func TestFilesOfEarlierVersionsAreScrubbed(t *testing.T) {
	dir, key := t.TempDir(), vault.NewMasterKey()
	path := filepath.Join(dir, "vault.db")
	v, db, err := open(t, path, key, &clock{time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 200 {
		if err := v.SetCamera(t.Context(), fmt.Sprint("dev-", i), cameraOf(rng)); err != nil {
			t.Fatal(err)
		}
	}
	var gone [][]byte
	for i := range 100 {
		gone = append(gone, stored(t, db, "value", "vault_secrets", "id = ?", fmt.Sprint("dev-", 2*i)))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := sql.Open("sqlite", "file:"+path+"?_pragma=secure_delete(0)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := before.ExecContext(t.Context(), "DELETE FROM vault_secrets WHERE id = ?", fmt.Sprint("dev-", 2*i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := before.ExecContext(t.Context(), "PRAGMA user_version = 0"); err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if n := remains(t, dir, gone); n < 50 {
		t.Fatalf("only %d remained", n)
	}
	v, _, err = open(t, path, key, &clock{time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if n := remains(t, dir, gone); n > 0 {
		t.Errorf("%d of %d that were forgotten are in the files", n, len(gone))
	}
	if list, err := v.Cameras(t.Context()); err != nil || len(list) != 100 {
		t.Errorf("%d cameras are left, %v", len(list), err)
	}
}

// TestForgottenIsInNoTableFile: on PostgreSQL the tables are written again, at
// most once a minute, and not while somebody sees what was forgotten.
func TestForgottenIsInNoTableFile(t *testing.T) {
	v, db, c := onPostgres(t)
	gone := forgetMuch(t, v, db, rand.New(rand.NewPCG(1, 1)), 200)
	var folder, database string
	if err := db.NewRaw("SELECT current_setting('data_directory'), oid::text FROM pg_database WHERE datname = current_database()").Scan(t.Context(), &folder, &database); err != nil {
		t.Fatal(err)
	}
	if remaining(t, db, folder, database, gone) == 0 {
		t.Fatal("nothing is found before the scrub: the search does not work")
	}
	gone = append(gone, forgetAnalysed(t, v, db)...)
	reading, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	_ = stored(t, reading, "value", "vault_settings", "1 = 1")
	gone = append(gone, forgetMuch(t, v, db, rand.New(rand.NewPCG(3, 3)), 20)...)
	if err := v.Scrub(t.Context()); err == nil {
		t.Error("scrubbed under a reader")
	}
	if err := reading.Rollback(); err != nil {
		t.Fatal(err)
	}
	c.t = c.t.Add(2 * time.Second)
	if err := v.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := remaining(t, db, folder, database, gone); n > 0 {
		t.Errorf("%d of %d that were forgotten are in the files of the tables", n, len(gone))
	}
	gone = forgetMuch(t, v, db, rand.New(rand.NewPCG(2, 2)), 20)
	c.t = c.t.Add(30 * time.Second)
	if err := v.Scrub(t.Context()); err != nil || remaining(t, db, folder, database, gone) == 0 {
		t.Errorf("within the minute the tables were written again: %v", err)
	}
	c.t = c.t.Add(time.Hour)
	if err := v.Scrub(t.Context()); err != nil || remaining(t, db, folder, database, gone) > 0 {
		t.Errorf("an hour later: %v", err)
	}
}

// remaining counts what is left in the files of a database.
// forgetAnalysed forgets cameras of which the server has taken samples.
func forgetAnalysed(t *testing.T, v *vault.Vault, db bun.IDB) (gone [][]byte) {
	t.Helper()
	id := func(i int) string { return fmt.Sprint("analysed", i) }
	for i := range 40 {
		if err := v.SetCamera(t.Context(), id(i), vault.Camera{Password: "hunter2"}); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, stored(t, db, "value", "vault_secrets", "id = ?", id(i)))
	}
	if _, err := db.ExecContext(t.Context(), "ANALYZE"); err != nil { // as the server does by itself
		t.Fatal(err)
	}
	for i := range 40 {
		if err := v.ForgetCamera(t.Context(), id(i)); err != nil {
			t.Fatal(err)
		}
	}
	return gone
}

func remaining(t *testing.T, db bun.IDB, folder, database string, gone [][]byte) int {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), "CHECKPOINT"); err != nil { // which also removes the files of old tables
		t.Fatal(err)
	}
	return remains(t, filepath.Join(folder, "base", database), gone)
}

// TestScrubWaitsForItsTime: for a reader that needs the old log, and for its share
// of the time; it is done in the end.
func TestScrubWaitsForItsTime(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Now()}
	v, db, err := open(t, filepath.Join(dir, "vault.db"), vault.NewMasterKey(), c)
	if err != nil {
		t.Fatal(err)
	}
	forget := func(device string) []byte {
		t.Helper()
		if err := v.SetCamera(t.Context(), device, vault.Camera{Password: "hunter2"}); err != nil {
			t.Fatal(err)
		}
		sealed := stored(t, db, "value", "vault_secrets", "id = ?", device)
		if err := v.ForgetCamera(t.Context(), device); err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	version := func() (n int) {
		t.Helper()
		if err := db.NewRaw("PRAGMA user_version").Scan(t.Context(), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if version() != 1 {
		t.Error("a new vault counts as one with remains")
	}
	one := forget("one")
	if version() != 0 {
		t.Error("after a kill nobody would know that something was forgotten")
	}
	reading, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = stored(t, reading, "value", "vault_settings", "1 = 1")
	began := time.Now()
	if err := v.Scrub(t.Context()); err == nil {
		t.Error("scrubbed under a reader")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("others were held up for %v", took)
	}
	if err := reading.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := v.Scrub(t.Context()); err != nil || remains(t, dir, [][]byte{one}) == 0 {
		t.Errorf("it was tried again at once: %v", err)
	}
	c.t = c.t.Add(time.Minute)
	if err := v.Scrub(t.Context()); err != nil || remains(t, dir, [][]byte{one}) > 0 {
		t.Errorf("it was not done later: %v", err)
	}
	two := forget("two") // within the share of the time
	if err := v.Scrub(t.Context()); err != nil || version() != 0 || remains(t, dir, [][]byte{two}) > 0 {
		t.Errorf("the log is to be cut, and the file packed later: %v, version %d", err, version())
	}
	c.t = c.t.Add(time.Hour)
	if err := v.Scrub(t.Context()); err != nil || version() != 1 {
		t.Errorf("the file is not packed: %v", err)
	}
}
