package vault_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/uptrace/bun"

	"latchkey/internal/hashing"
	"latchkey/internal/heavy"
	"latchkey/internal/vault"
)

const plain = "correct horse battery"

// hashOf is the hash of anna's password in the database.
func hashOf(t *testing.T, db *bun.DB) (hash string) {
	t.Helper()
	if err := db.NewSelect().Table("vault_passwords").Column("hash").Where("account = ?", "anna").Scan(t.Context(), &hash); err != nil {
		t.Fatal(err)
	}
	return hash
}

// store puts another hash in its place, bound as the vault would.
func store(t *testing.T, v *vault.Vault, db *bun.DB, hash string) {
	t.Helper()
	if _, err := db.NewRaw("UPDATE vault_passwords SET hash = ?, mac = ? WHERE account = ?", hash, v.MACOfPassword("anna", hash), "anna").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func hashed(t *testing.T, p argon2id.Params) string {
	t.Helper()
	hash, err := argon2id.CreateHash(plain, &p)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func verify(t *testing.T, v *vault.Vault, plain string, want bool) {
	t.Helper()
	if got, err := v.VerifyPassword(t.Context(), "anna", plain); err != nil || got != want {
		t.Errorf("VerifyPassword(%q) = %v, %v; want %v", plain, got, err, want)
	}
}

func weaker(memory, iterations, salt, key uint32) argon2id.Params {
	return argon2id.Params{Memory: memory, Iterations: iterations, Parallelism: 1, SaltLength: salt, KeyLength: key}
}

func TestHashesAreBroughtUpToDate(t *testing.T) { databases(t, testHashesAreBroughtUpToDate) }

// testHashesAreBroughtUpToDate: the right password replaces a hash with other
// parameters, a wrong one does not, and a hash of today stays as it is.
func testHashesAreBroughtUpToDate(t *testing.T, db *bun.DB) {
	v, _ := at(t, db)
	if err := v.SetPassword(t.Context(), "anna", plain); err != nil {
		t.Fatal(err)
	}
	today := hashOf(t, db)
	verify(t, v, plain, true)
	if hashOf(t, db) != today {
		t.Error("a hash with today's parameters was replaced")
	}
	for _, p := range []argon2id.Params{weaker(1024, 1, 16, 32), weaker(19*1024, 1, 16, 32), weaker(7*1024, 5, 16, 32), weaker(19*1024, 2, 8, 16), weaker(4096, 3, 16, 64)} {
		old := hashed(t, p)
		store(t, v, db, old)
		verify(t, v, "a wrong password", false)
		if hashOf(t, db) != old {
			t.Errorf("%+v: a wrong password replaced the hash", p)
		}
		verify(t, v, plain, true)
		renewed := hashOf(t, db)
		if !strings.HasPrefix(renewed, "$argon2id$v=19$m=19456,t=2,p=1$") || renewed == today {
			t.Errorf("%+v: after a log-in the hash is %.40s", p, renewed)
		}
		verify(t, v, plain, true)
		verify(t, v, "a wrong password", false)
		if hashOf(t, db) != renewed {
			t.Errorf("%+v: the hash was replaced twice", p)
		}
	}
}

// TestALogInDoesNotNeedTheNewHash: a log-in succeeds although the database takes
// no writes, and the hash is replaced at a later one.
func TestALogInDoesNotNeedTheNewHash(t *testing.T) {
	v, db, _ := fresh(t)
	if err := v.SetPassword(t.Context(), "anna", plain); err != nil {
		t.Fatal(err)
	}
	old := hashed(t, weaker(1024, 1, 16, 32))
	store(t, v, db, old)
	if _, err := db.ExecContext(t.Context(), "CREATE TRIGGER full BEFORE UPDATE ON vault_passwords BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"); err != nil {
		t.Fatal(err)
	}
	verify(t, v, plain, true)
	if hashOf(t, db) != old {
		t.Error("the hash was replaced")
	}
	if _, err := db.ExecContext(t.Context(), "DROP TRIGGER full"); err != nil {
		t.Fatal(err)
	}
	verify(t, v, plain, true)
	if hashOf(t, db) == old {
		t.Error("the hash was not replaced")
	}
}

// TestAbsurdHashesAreNotComputed: a row that asks for more than today's hash, or
// for nothing that proves anything, is refused, and takes less than a tenth of
// the memory of a hash.
func TestAbsurdHashesAreNotComputed(t *testing.T) {
	v, db, _ := fresh(t)
	if err := v.SetPassword(t.Context(), "anna", plain); err != nil {
		t.Fatal(err)
	}
	tail := strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43) // 16 bytes of salt, 32 of key
	for _, hash := range []string{
		"$argon2id$v=19$m=4194304,t=2,p=1$" + tail, // 4 GiB
		"$argon2id$v=19$m=4294967295,t=4294967295,p=255$" + tail,
		"$argon2id$v=19$m=19457,t=1,p=1$" + tail,
		"$argon2id$v=19$m=19456,t=3,p=1$" + tail,
		"$argon2id$v=19$m=19456,t=4294967295,p=1$" + tail,
		"$argon2id$v=19$m=1024,t=39,p=1$" + tail,
		"$argon2id$v=19$m=1023,t=2,p=1$" + tail,
		"$argon2id$v=19$m=19456,t=0,p=1$" + tail,
		"$argon2id$v=19$m=19456,t=2,p=0$" + tail,
		"$argon2id$v=19$m=19456,t=2,p=2$" + tail, // takes two cores
		"$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 22) + "$",
		"$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 22) + "$AAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$$" + strings.Repeat("A", 43),
		"$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 1<<20) + "$" + strings.Repeat("A", 43),
		"$argon2id$v=16$m=19456,t=2,p=1$" + tail,
		"$argon2i$v=19$m=19456,t=2,p=1$" + tail,
		"$2b$12$abcdefghijklmnopqrstuv", "", "correct horse battery",
	} {
		store(t, v, db, hash)
		took := allocated(func() {
			if right, err := v.VerifyPassword(t.Context(), "anna", plain); right || !errors.Is(err, vault.ErrBadHash) {
				t.Errorf("%.60s: %v, %v; want ErrBadHash", hash, right, err)
			}
		})
		if limit := uint64(1900<<10 + 8*len(hash)); took > limit {
			t.Errorf("%.60s: %d bytes were allocated, want at most %d", hash, took, limit)
		}
		if hashOf(t, db) != hash {
			t.Errorf("%.60s was replaced", hash)
		}
	}
	if err := v.SetPassword(t.Context(), "anna", plain); err != nil {
		t.Fatal(err)
	}
	verify(t, v, plain, true)
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestOldHashesCostTheSame: what is hashed for a wrong password takes the work of
// today's hash, to a thousandth, and never more memory.
func TestOldHashesCostTheSame(t *testing.T) {
	today := vault.Todays()
	work := func(p argon2id.Params) int { return int(p.Memory) * int(p.Iterations) }
	for _, p := range []argon2id.Params{weaker(1024, 1, 16, 32), weaker(1024, 37, 16, 32), weaker(9*1024, 4, 16, 32), weaker(19*1024, 1, 16, 32), weaker(19*1024, 2, 8, 32), weaker(12345, 3, 16, 32)} {
		rest, ok := vault.RestOf(p)
		total := work(p)
		if ok {
			total += work(rest)
		}
		if missing := work(today) - total; missing < 0 || missing > work(today)/1000 || rest.Memory > today.Memory || rest.Parallelism != 1 {
			t.Errorf("%+v and then %+v take %d, want %d", p, rest, total, work(today))
		}
	}
}

// TestEverythingThatHashesQueues: while all slots and places are taken, setting a
// password is refused at once, and so is checking one, whether the account exists
// or not; the right one from a known network takes the place of another.
func TestEverythingThatHashesQueues(t *testing.T) {
	v, _, _ := fresh(t)
	if err := v.SetPassword(t.Context(), "anna", plain); err != nil {
		t.Fatal(err)
	}
	c := crowd(v.Hashing())
	unknown := hashing.For(t.Context(), hashing.Caller{Network: "late"})
	took := allocated(func() {
		for _, account := range []string{"anna", "nobody", ""} {
			if _, err := v.VerifyPassword(unknown, account, plain); !errors.Is(err, hashing.ErrBusy) {
				t.Errorf("checking a password of %q: %v, want ErrBusy", account, err)
			}
		}
		if err := v.SetPassword(unknown, "bert", plain); !errors.Is(err, hashing.ErrBusy) {
			t.Errorf("setting a password: %v, want ErrBusy", err)
		}
	})
	if took > 1900<<10 {
		t.Errorf("refusals allocated %d bytes: something was hashed", took)
	}
	if has, err := v.HasPassword(t.Context(), "bert"); has || err != nil {
		t.Errorf("a refused password was set: %v, %v", has, err)
	}
	known := hashing.For(t.Context(), hashing.Caller{Network: "home", Known: true})
	right := make(chan error, 1)
	go func() {
		ok, err := v.VerifyPassword(known, "anna", plain)
		if err == nil && !ok {
			err = errors.New("the right password is wrong")
		}
		right <- err
	}()
	if err := <-c.left; !errors.Is(err, hashing.ErrBusy) {
		t.Errorf("the one that was displaced got %v, want ErrBusy", err)
	}
	close(c.release)
	if err := <-right; err != nil {
		t.Errorf("the right password of a known network: %v", err)
	}
}

// crowded is a queue whose slots and places are all taken, until release is
// closed.
type crowded struct {
	release chan struct{}
	left    chan error // of each caller that has left the queue
}

func crowd(q *hashing.Queue) crowded {
	slots := heavy.Cores(runtime.GOMAXPROCS(0))
	all := slots * (1 + hashing.PlacesPerSlot)
	c := crowded{release: make(chan struct{}), left: make(chan error, all)}
	var running atomic.Int64
	for i := range all {
		ctx := hashing.For(context.Background(), hashing.Caller{Network: fmt.Sprint(i)})
		go func() { c.left <- q.Do(ctx, func() { running.Add(1); <-c.release }) }()
	}
	for int(running.Load()) < slots || q.Waiting() < slots*hashing.PlacesPerSlot {
		runtime.Gosched()
	}
	return c
}

// TestPasswordsInBothForms: an umlaut is one character or two, by the keyboard.
func TestPasswordsInBothForms(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		v := opened(t, db, vault.MasterKey{1})
		composed, decomposed := "gr\u00fc\u00dfe aus k\u00f6ln", "gru\u0308\u00dfe aus ko\u0308ln"
		right := func(plain string) bool {
			ok, err := v.VerifyPassword(t.Context(), "anna", plain)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		for _, set := range []string{composed, decomposed} {
			if err := v.SetPassword(t.Context(), "anna", set); err != nil {
				t.Fatal(err)
			}
			if !right(composed) || !right(decomposed) || right("grusse aus koln") {
				t.Errorf("set as %+q", set)
			}
		}
		raw, err := argon2id.CreateHash(decomposed, &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32})
		if err != nil {
			t.Fatal(err)
		}
		store(t, v, db, raw)
		if !right(decomposed) || right("gru\u0308\u00dfe") {
			t.Error("a hash of an earlier version")
		}
	})
}
