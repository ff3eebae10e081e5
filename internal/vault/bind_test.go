package vault_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"latchkey/internal/vault"
)

func TestRowsOfOthersMakeNobody(t *testing.T) { databases(t, testRowsOfOthersMakeNobody) }

// testRowsOfOthersMakeNobody: whoever writes to the tables, and has not the key, is
// nobody by that.
func testRowsOfOthersMakeNobody(t *testing.T, db *bun.DB) {
	ctx := t.Context()
	v, c := at(t, db)
	for _, who := range []string{"anna", "mallory"} {
		if err := v.SetPassword(ctx, who, plain+" of "+who); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := db.NewRaw(statement, args...).Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
	nobody := func(what, token string) {
		t.Helper()
		if account, err := v.Session(ctx, token); !errors.Is(err, vault.ErrNoSession) {
			t.Errorf("%s: a session of %q, %v", what, account, err)
		}
	}
	expires := c.now().Add(time.Hour).Unix()

	token := rand.Text()
	hash := sha256.Sum256([]byte(token))
	for _, kept := range []string{token, hex.EncodeToString(hash[:])} {
		exec("INSERT INTO vault_sessions (token, account, expires, mac) VALUES (?, 'anna', ?, '')", kept, expires)
		nobody("a row with a token of one's own", token)
	}

	mine, err := v.NewSession(ctx, "mallory", vault.NewSession{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if account, err := v.Session(ctx, mine); account != "mallory" || err != nil {
		t.Fatalf("the session is %q's, %v", account, err)
	}
	exec("UPDATE vault_sessions SET account = 'anna' WHERE account = 'mallory'")
	nobody("a session that was given to somebody else", mine)
	exec("UPDATE vault_sessions SET account = 'mallory', expires = ? WHERE account = 'anna' AND mac <> ''", expires)
	nobody("a session that was made longer", mine)

	exec("UPDATE vault_passwords SET hash = (SELECT hash FROM vault_passwords WHERE account = 'mallory'), mac = (SELECT mac FROM vault_passwords WHERE account = 'mallory') WHERE account = 'anna'")
	if right, err := v.VerifyPassword(ctx, "anna", plain+" of mallory"); right || !errors.Is(err, vault.ErrBadHash) {
		t.Errorf("the password of somebody else in the place of one's own: %v, %v", right, err)
	}
	if right, err := v.VerifyPassword(ctx, "mallory", plain+" of mallory"); !right || err != nil {
		t.Errorf("one's own password: %v, %v", right, err)
	}
}

func TestRowsOfBefore(t *testing.T) { databases(t, testRowsOfBefore) }

// testRowsOfBefore: the passwords and sessions of a vault that an earlier version
// wrote hold, and are bound, once.
func testRowsOfBefore(t *testing.T, db *bun.DB) {
	ctx := t.Context()
	key, c := vault.NewMasterKey(), &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	v, err := vault.Open(ctx, db, key, c.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.SetPassword(ctx, "anna", plain); err != nil {
		t.Fatal(err)
	}
	name := v.LoginHash("email", "anna@example.com")
	token := rand.Text()
	before := func() {
		t.Helper()
		hash := sha256.Sum256([]byte(token))
		for _, statement := range []string{
			"UPDATE vault_passwords SET mac = ''", "DELETE FROM vault_sessions",
			"INSERT INTO vault_sessions (token, account, expires) VALUES ('" + hex.EncodeToString(hash[:]) + "', 'anna', 2000000000)",
		} {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	before()
	vault.Unbind(t, v)
	for range 2 { // the second time there is nothing to do
		if v, err = vault.Open(ctx, db, key, c.now); err != nil {
			t.Fatal(err)
		}
		verify(t, v, plain, true)
		if account, err := v.Session(ctx, token); account != "anna" || err != nil {
			t.Errorf("the session is %q's, %v", account, err)
		}
		if v.LoginHash("email", "anna@example.com") != name {
			t.Error("addresses have other names")
		}
	}
	before() // from now on only rows that are bound are taken
	if v, err = vault.Open(ctx, db, key, c.now); err != nil {
		t.Fatal(err)
	}
	if right, err := v.VerifyPassword(ctx, "anna", plain); right || !errors.Is(err, vault.ErrBadHash) {
		t.Errorf("a password that is not bound: %v, %v", right, err)
	}
	if account, err := v.Session(ctx, token); !errors.Is(err, vault.ErrNoSession) {
		t.Errorf("a session that is not bound is %q's, %v", account, err)
	}
	if _, err := vault.Open(ctx, db, vault.NewMasterKey(), c.now); !errors.Is(err, vault.ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
}
