package vault_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"latchkey/internal/vault"
)

// TestAnOlderFileUnderANewerLog: a file of the vault that is put back under the
// write-ahead log of a later process is refused.
func TestAnOlderFileUnderANewerLog(t *testing.T) {
	path, key, ctx := filepath.Join(t.TempDir(), "vault.db"), vault.NewMasterKey(), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		must(err)
		return b
	}
	open := func(path string) (*vault.Vault, func() error, error) {
		t.Helper()
		db, err := vault.OpenFile(path)
		must(err)
		v, err := vault.Open(ctx, db, key, time.Now)
		return v, db.Close, err
	}
	must(vault.CreateFile(path))
	v, closeVault, err := open(path)
	must(err)
	token, err := v.NewSession(ctx, "olga", vault.NewSession{TTL: time.Hour})
	must(err)
	must(closeVault())
	older := read(path)

	v, closeVault, err = open(path)
	must(err)
	must(v.EndSession(ctx, token))
	must(closeVault())
	v, closeVault, err = open(path)
	must(err)
	must(v.SetMark(ctx, vault.Mark{Log: "log", Epoch: 1, Position: 7, Event: "event"}))
	file, log := read(path), read(path+"-wal")
	must(closeVault())
	if len(log) == 0 {
		t.Fatal("there is no write-ahead log")
	}

	for _, c := range []struct {
		name string
		file []byte
		want error
	}{{"older", older, vault.ErrMixed}, {"of the same time", file, nil}} {
		put := filepath.Join(t.TempDir(), "vault.db")
		must(os.WriteFile(put, c.file, 0o600))
		must(os.WriteFile(put+"-wal", log, 0o600))
		v, closeVault, err := open(put)
		if !errors.Is(err, c.want) {
			t.Errorf("a file that is %s: %v, want %v", c.name, err, c.want)
		}
		if err == nil {
			if _, err := v.Session(ctx, token); !errors.Is(err, vault.ErrNoSession) {
				t.Errorf("a file that is %s: the session that was ended: %v", c.name, err)
			}
		}
		must(closeVault())
	}
}
