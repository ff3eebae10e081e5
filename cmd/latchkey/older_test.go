package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// copied copies the data folder of a stopped service.
func copied(t *testing.T, from string) string {
	t.Helper()
	dir := shortDir(t)
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	chmod("vault.key", 0o600)(t, dir) // CopyFS has no modes
	return dir
}

// putVault puts the vault of one data folder into another.
func putVault(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"vault.db", "vault.db-wal", "vault.db-shm"} {
		remove(name)(t, to)
		data, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		write(name, string(data))(t, to)
	}
}

// twice runs a service in a new folder, and again, and returns copies of the
// folder after each.
func twice(t *testing.T, first, second func(s *service)) (older, newer string) {
	t.Helper()
	dir := shortDir(t)
	for i, do := range []func(*service){first, second} {
		s := serve(t, binary, dir)
		do(s)
		if code := s.stop(t); code != 0 {
			t.Fatalf("the service ended with status %d", code)
		}
		if i == 0 {
			older = copied(t, dir)
		}
	}
	return older, dir
}

func TestANewerVaultIsRefused(t *testing.T) {
	t.Parallel()
	older, newer := twice(t, func(s *service) { s.register(t, "olga") }, func(s *service) { s.register(t, "late") })
	putVault(t, newer, older)
	p := start(t, binary, "serve", "--data", older, "--http", freeAddr(t), "--rtsp", freeAddr(t), "--log-level", "error")
	select {
	case <-p.done:
	case <-time.After(startWithin):
		t.Fatalf("still there after %v", startWithin)
	}
	if said := p.said(); p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said, "the vault has seen position") || !strings.Contains(said, "latchkey recover") {
		t.Fatalf("status %d: %s", p.cmd.ProcessState.ExitCode(), said)
	}
	p = start(t, binary, "audit", "replay", "--data", older)
	p.wait(t)
	if said := p.said(); p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said, "the vault has seen position") {
		t.Fatalf("the history of a log without its end: status %d: %s", p.cmd.ProcessState.ExitCode(), said)
	}
}

// TestAnOlderVaultIsHealed puts the vault of before under a newer log: nobody may
// be locked out for ever, and a session that had ended must not be alive again.
func TestAnOlderVaultIsHealed(t *testing.T) {
	t.Parallel()
	var olga, ended *user
	older, newer := twice(t, func(s *service) {
		olga, ended = s.register(t, "olga"), s.login(t, "olga")
	}, func(s *service) {
		olga.api, ended.api = s.api, s.api
		late := s.register(t, "late")
		late.must("POST", "/devices", map[string]any{"name": "Door", "serial": "late-1", "rtsp_url": "rtsp://127.0.0.1:9/x"}, nil)
		late.streamKey()
		olga.must("POST", "/devices", map[string]any{"name": "Door", "serial": "olga-1", "rtsp_url": "rtsp://127.0.0.1:9/x"}, nil)
		ended.must("DELETE", "/sessions/current", nil, nil)
	})
	putVault(t, older, newer)
	s := serve(t, binary, newer)
	for name, u := range map[string]*user{"ended": ended, "not ended": olga} {
		u.api = s.api
		if err := u.call("GET", "/devices", nil, nil); !hasCode(err, "unauthenticated") {
			t.Errorf("the session that was %s, under the older vault: %v", name, err)
		}
	}
	eventually(t, "the service says what the vault lacks", func() bool {
		return strings.Contains(s.said(), "the vault is older than the log: 1 account has no password, 2 devices have no camera, 1 stream key has no secret")
	})
	s.register(t, "late")
	olga = s.login(t, "olga")
	olga.must("POST", "/devices", map[string]any{"name": "Door", "serial": "olga-1", "rtsp_url": "rtsp://127.0.0.1:9/y"}, nil)
}

// TestSessionsOutliveAnOlderVault: if no session had ended since, none ends.
func TestSessionsOutliveAnOlderVault(t *testing.T) {
	t.Parallel()
	var olga *user
	older, newer := twice(t, func(s *service) { olga = s.register(t, "olga") }, func(s *service) { s.register(t, "late") })
	putVault(t, older, newer)
	s := serve(t, binary, newer)
	olga.api = s.api
	olga.must("GET", "/devices", nil, nil)
}

// canLogIn reports whether olga's password is the given one.
func canLogIn(t *testing.T, s *service, password string) bool {
	t.Helper()
	err := (&user{t: t, api: s.api}).call("POST", "/sessions", map[string]any{"login": "olga@example.com", "password": password}, nil)
	if err != nil && !hasCode(err, "invalid_credentials") {
		t.Fatal(err)
	}
	return err == nil
}

func changePassword(u *user) {
	u.t.Helper()
	u.must("PUT", "/accounts/me/password", map[string]any{"current": userPassword, "new": otherPassword}, nil)
}

// setPassword sets olga's password as the operator does, while no service runs.
func setPassword(t *testing.T, data string) {
	t.Helper()
	code, _, said := latchkey(strings.NewReader(otherPassword+"\n"), "account", "password", "--data", data, "--login", "olga@example.com")
	if code != 0 {
		t.Fatalf("exit status %d: %s", code, said)
	}
}

// TestAnOlderVaultRevivesNoPassword: somebody may have changed it because another person
// knew it.
func TestAnOlderVaultRevivesNoPassword(t *testing.T) {
	t.Parallel()
	older, newer := twice(t, func(s *service) { s.register(t, "olga"); s.register(t, "rita") }, func(s *service) { changePassword(s.login(t, "olga")) })
	putVault(t, older, newer)
	for range 2 {
		s := serve(t, binary, newer)
		if canLogIn(t, s, userPassword) || canLogIn(t, s, otherPassword) {
			t.Error("a password that was replaced, or that the vault never had, opens the account")
		}
		s.login(t, "rita")
		s.stop(t)
	}
	setPassword(t, newer)
	if s := serve(t, binary, newer); !canLogIn(t, s, otherPassword) || canLogIn(t, s, userPassword) {
		t.Error("the operator's password is not the account's")
	}
}

// TestABackupRevivesNoPassword: a password that was replaced after the backup is void, one
// that was replaced before it is not.
func TestABackupRevivesNoPassword(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	data, backups := filepath.Join(dir, "data"), filepath.Join(dir, "backups")
	s := serve(t, binary, data)
	changePassword(s.register(t, "olga"))
	s.stop(t)
	mustLatchkey(t, "backup", backups, "--data", data)
	s = serve(t, binary, data)
	late := &user{t: t, api: s.api, login: "olga@example.com"}
	var session struct{ Token string }
	late.must("POST", "/sessions", map[string]any{"login": late.login, "password": otherPassword}, &session)
	late.token = session.Token
	journal := filepath.Join(data, journalName)
	before := must[[]byte](t)(os.ReadFile(journal))
	late.must("PUT", "/accounts/me/password", map[string]any{"current": otherPassword, "new": userPassword}, nil)
	s.stop(t)

	write("before.journal", string(before))(t, dir)
	for name, c := range map[string]struct {
		journal string
		opens   bool
	}{"lost": {journal, false}, "kept": {filepath.Join(dir, "before.journal"), true}} {
		restored := filepath.Join(dir, name)
		mustLatchkey(t, "restore", onlyFile(t, backups), "--data", restored, "--journal", c.journal)
		s := serve(t, binary, restored)
		if got := canLogIn(t, s, otherPassword); got != c.opens {
			t.Errorf("%s: the password of the backup opens the account: %v", name, got)
		}
		if canLogIn(t, s, userPassword) {
			t.Errorf("%s: a password that the vault of the backup does not have opens the account", name)
		}
		s.stop(t)
	}
}

// TestACopyRevivesNoCode: a code that was revoked after the copy of the vault, alone or in a
// backup, is of no use, nor is an invitation to register.
func TestACopyRevivesNoCode(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	data, backups := filepath.Join(dir, "data"), filepath.Join(dir, "backups")
	s := serve(t, binary, data)
	olga := s.register(t, "olga")
	device := olga.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	type code struct{ ID, Code, Token string }
	var offer, toRegister code
	olga.must("POST", "/invitation-codes", map[string]any{"devices": []any{invitation(device, "live_view")}}, &offer)
	olga.must("POST", "/accounts/me/invitations", nil, &toRegister)
	s.stop(t)
	mustLatchkey(t, "backup", backups, "--data", data)
	older := copied(t, data)
	s = serve(t, binary, data)
	olga = s.login(t, "olga")
	olga.must("DELETE", "/invitation-codes/"+offer.ID, nil, nil)
	olga.must("DELETE", "/accounts/me/invitations/"+toRegister.ID, nil, nil)
	s.stop(t)
	restored := filepath.Join(dir, "restored")
	mustLatchkey(t, "restore", onlyFile(t, backups), "--data", restored, "--journal", filepath.Join(data, journalName))
	putVault(t, older, data)
	for name, folder := range map[string]string{"restored": restored, "with the older vault": data} {
		s := serve(t, binary, folder, "--registration", "invited")
		if err := s.api.do(t.Context(), "POST", "/accounts", "", map[string]any{"email": "late@example.com", "password": userPassword, "name": "Late", "invitation": toRegister.Token}, nil); !hasCode(err, "invitation_required") {
			t.Errorf("%s: an invitation to register that was revoked: %v", name, err)
		}
		s.stop(t)
		s = serve(t, binary, folder)
		if err := s.register(t, "rita").call("POST", "/invitation-codes/redeem", map[string]any{"code": offer.Code}, nil); !hasCode(err, "code_invalid") {
			t.Errorf("%s: a code that was revoked: %v", name, err)
		}
		s.stop(t)
	}
}
