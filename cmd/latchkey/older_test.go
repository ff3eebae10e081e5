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
	var olga *user
	older, newer := twice(t, func(s *service) { olga = s.register(t, "olga") }, func(s *service) { s.register(t, "late") })
	putVault(t, older, newer)
	s := serve(t, binary, newer)
	olga.api = s.api
	olga.must("GET", "/devices", nil, nil)
}
