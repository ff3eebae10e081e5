package vault_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"pgregory.net/rapid"

	"latchkey/internal/vault"
)

// field is the kind of field that most texts of the tests are for.
const field = "account name"

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func open(t *testing.T, path string, key vault.MasterKey, c *clock) (*vault.Vault, *bun.DB, error) {
	t.Helper()
	if err := vault.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	db, err := vault.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	v, err := vault.Open(context.Background(), db, key, c.now)
	return v, db, err
}

func fresh(t *testing.T) (*vault.Vault, *bun.DB, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	v, db, err := open(t, filepath.Join(t.TempDir(), "vault.db"), vault.NewMasterKey(), c)
	if err != nil {
		t.Fatal(err)
	}
	return v, db, c
}

func TestSealedTextIsDeterministicAndOpens(t *testing.T) {
	v, _, _ := fresh(t)
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.StringN(1, 200, -1).Draw(t, "text")
		a, err := v.Seal(ctx, "person-a", field, plain)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := v.Seal(ctx, "person-a", field, plain)
		other, _ := v.Seal(ctx, "person-b", field, plain)
		if a != again {
			t.Fatal("the same text of the same person is sealed in two ways")
		}
		if strings.TrimPrefix(a, "person-a") == strings.TrimPrefix(other, "person-b") {
			t.Fatal("two persons' texts look the same")
		}
		if got, err := v.Unseal(ctx, field, a); err != nil || got != plain {
			t.Fatalf("unsealed %q, %v; want %q", got, err, plain)
		}
	})
}

func TestForgettingAPersonIsFinal(t *testing.T) {
	v, _, _ := fresh(t)
	ctx := context.Background()
	sealed, err := v.Seal(ctx, "person", field, "anna@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Forget(ctx, "person"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Unseal(ctx, field, sealed); !errors.Is(err, vault.ErrForgotten) {
		t.Fatalf("unsealing a forgotten person's text: %v", err)
	}
	if _, err := v.Seal(ctx, "person", field, "again"); !errors.Is(err, vault.ErrForgotten) {
		t.Fatalf("sealing for a forgotten person: %v", err)
	}
}

func TestAnotherProcessStopsUsingAForgottenKeyInAMinute(t *testing.T) {
	path, key := filepath.Join(t.TempDir(), "vault.db"), vault.NewMasterKey()
	c := &clock{time.Now()}
	one, _, err := open(t, path, key, c)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := open(t, path, key, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	sealed, _ := one.Seal(ctx, "person", field, "text")
	if _, err := two.Unseal(ctx, field, sealed); err != nil {
		t.Fatal(err)
	}
	if err := one.Forget(ctx, "person"); err != nil {
		t.Fatal(err)
	}
	c.t = c.t.Add(61 * time.Second)
	if _, err := two.Unseal(ctx, field, sealed); !errors.Is(err, vault.ErrForgotten) {
		t.Fatalf("a minute later: %v", err)
	}
}

func TestDamagedAndMovedTextIsRefused(t *testing.T) {
	v, _, _ := fresh(t)
	ctx := context.Background()
	sealed, _ := v.Seal(ctx, "a", field, "text")
	if _, err := v.Seal(ctx, "b", field, "text"); err != nil {
		t.Fatal(err)
	}
	moved := "b" + strings.TrimPrefix(sealed, "a")
	for _, bad := range []string{moved, sealed + "AAAA", sealed[:len(sealed)-4], "a:", "a", "a:%%%", "nobody:" + sealed[2:]} {
		if got, err := v.Unseal(ctx, field, bad); err == nil {
			t.Errorf("unsealing %q gave %q", bad, got)
		}
	}
}

func TestTheWrongKeyIsToldAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	c := &clock{time.Now()}
	if _, _, err := open(t, path, vault.NewMasterKey(), c); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, path, vault.NewMasterKey(), c); !errors.Is(err, vault.ErrWrongKey) {
		t.Fatalf("opening with another key: %v", err)
	}
}

func TestLoginHashSurvivesARestartAndTellsKindsApart(t *testing.T) {
	path, key := filepath.Join(t.TempDir(), "vault.db"), vault.NewMasterKey()
	c := &clock{time.Now()}
	one, _, err := open(t, path, key, c)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := open(t, path, key, c)
	if err != nil {
		t.Fatal(err)
	}
	h := one.LoginHash("email", "anna@example.com")
	if h != two.LoginHash("email", "anna@example.com") {
		t.Fatal("the hash changed with a restart")
	}
	if len(h) != 32 || h == one.LoginHash("phone", "anna@example.com") || h == one.LoginHash("email", "bert@example.com") {
		t.Fatalf("hash %q", h)
	}
}

func TestPasswords(t *testing.T) {
	v, _, _ := fresh(t)
	ctx := context.Background()
	if err := v.SetPassword(ctx, "anna", "first password"); err != nil {
		t.Fatal(err)
	}
	if err := v.SetPassword(ctx, "anna", "second password"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		account, plain string
		want           bool
	}{
		{"anna", "second password", true},
		{"anna", "first password", false},
		{"anna", "", false},
		{"nobody", "second password", false},
		{"", "no password has this hash", false},
		{"nobody", "no password has this hash", false},
	} {
		got, err := v.VerifyPassword(ctx, c.account, c.plain)
		if err != nil || got != c.want {
			t.Errorf("VerifyPassword(%q, %q) = %v, %v; want %v", c.account, c.plain, got, err, c.want)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	v, db, c := fresh(t)
	ctx := context.Background()
	token, err := v.NewSession(ctx, "anna", vault.NewSession{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if account, err := v.Session(ctx, token); err != nil || account != "anna" {
		t.Fatalf("Session = %q, %v", account, err)
	}
	other, _ := v.NewSession(ctx, "anna", vault.NewSession{TTL: time.Hour})
	if err := v.EndSession(ctx, other); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{other, "", token + "x"} {
		if _, err := v.Session(ctx, bad); !errors.Is(err, vault.ErrNoSession) {
			t.Errorf("Session(%q): %v", bad, err)
		}
	}
	c.t = c.t.Add(time.Hour)
	if _, err := v.Session(ctx, token); !errors.Is(err, vault.ErrNoSession) {
		t.Fatalf("an expired session: %v", err)
	}
	if err := v.DropExpiredSessions(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := db.NewSelect().Table("vault_sessions").Count(ctx); err != nil || n != 0 {
		t.Fatalf("%d expired sessions are left, %v", n, err)
	}
}

// A log-in that is one too many ends the session that would end first.
func TestSessionsAreBounded(t *testing.T) {
	v, _, c := fresh(t)
	ctx := context.Background()
	session := func(account string, most int) string {
		t.Helper()
		c.t = c.t.Add(time.Second)
		token, err := v.NewSession(ctx, account, vault.NewSession{TTL: time.Hour, Most: most})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	others := session("berta", 0)
	var tokens []string
	for range 5 {
		tokens = append(tokens, session("anna", 3))
	}
	for i, token := range append(tokens, others) {
		_, err := v.Session(ctx, token)
		if want := i >= 2; want != (err == nil) {
			t.Errorf("session %d of 5 and another account's: %v, want it to live: %v", i, err, want)
		}
	}
	if n, err := v.Sessions(ctx, "anna"); err != nil || n != 3 {
		t.Errorf("%d sessions are counted, %v, want 3", n, err)
	}
}

func TestCamerasAndStreamSecrets(t *testing.T) {
	v, db, _ := fresh(t)
	ctx := context.Background()
	cam := vault.Camera{Username: "admin", Password: "camera-password", Channels: []vault.CameraChannel{{Channel: 1, MainURL: "rtsp://10.1.2.3/main"}}}
	if err := v.SetCamera(ctx, "cam-1", cam); err != nil {
		t.Fatal(err)
	}
	got, err := v.Camera(ctx, "cam-1")
	if err != nil || got.Password != cam.Password || got.Channels[0] != cam.Channels[0] {
		t.Fatalf("Camera = %+v, %v", got, err)
	}
	if err := v.SetStreamSecret(ctx, "k1", "stream-secret"); err != nil {
		t.Fatal(err)
	}
	if s, err := v.StreamSecret(ctx, "k1"); err != nil || s != "stream-secret" {
		t.Fatalf("StreamSecret = %q, %v", s, err)
	}
	if _, err := v.StreamSecret(ctx, "cam-1"); !errors.Is(err, vault.ErrNotFound) {
		t.Fatalf("the camera of a device as a stream secret: %v", err)
	}
	// A value in another's place does not open.
	if _, err := db.ExecContext(ctx, "UPDATE vault_secrets SET id = 'cam-2' WHERE id = 'cam-1'"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Camera(ctx, "cam-2"); err == nil || errors.Is(err, vault.ErrNotFound) {
		t.Fatalf("a moved secret opened: %v", err)
	}
	if err := v.ForgetStreamSecret(ctx, "k1"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.StreamSecret(ctx, "k1"); !errors.Is(err, vault.ErrNotFound) {
		t.Fatalf("a forgotten secret: %v", err)
	}
}

func TestNothingReadableIsOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Now()}
	v, db, err := open(t, filepath.Join(dir, "vault.db"), vault.NewMasterKey(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	needles := []string{"needle-password", "needle-camera", "needle-stream", "needle-text"}
	token, err := v.NewSession(ctx, "anna", vault.NewSession{TTL: time.Hour})
	if err = errors.Join(err,
		v.SetPassword(ctx, "anna", needles[0]),
		v.SetCamera(ctx, "cam", vault.Camera{Password: needles[1], Channels: []vault.CameraChannel{{Channel: 1, MainURL: "rtsp://needle-camera"}}}),
		v.SetStreamSecret(ctx, "k", needles[2])); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Seal(ctx, "anna", field, needles[3]); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "vault.db"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "vault_secrets") {
		t.Fatal("the file read is not the vault's")
	}
	for _, n := range append(needles, token) {
		if strings.Contains(string(raw), n) {
			t.Errorf("%q stands readable in the vault's file", n)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.key")
	k, err := vault.ReadOrCreateMasterKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := vault.ReadOrCreateMasterKey(path); err != nil || again != k {
		t.Fatalf("the second reading: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.ReadMasterKey(path); err == nil {
		t.Fatal("a key file that others may read was taken")
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.ReadOrCreateMasterKey(path); err == nil {
		t.Fatal("a damaged key file was taken or replaced")
	}
}
