package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/vault"
)

// startWithin bounds a start that fails.
const startWithin = 20 * time.Second

// TestServeEndsWhenItCannotStart breaks one thing of a data folder at a time.
// Each start must end with status 1 and one line that says what is wrong, and
// must leave nothing behind that was not there.
func TestServeEndsWhenItCannotStart(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	s := serve(t, binary, base)
	s.register(t, "olga")
	if code := s.stop(t); code != 0 {
		t.Fatalf("the service ended with status %d", code)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		args   []string
		want   string // a part of the line
	}{
		{"the key is missing", remove("vault.key"), nil, "vault.key is missing"},
		{"the key is another one", write("vault.key", otherKey()), nil, "sealed with another key"},
		{"others may read the key", chmod("vault.key", 0o644), nil, "make it 0600"},
		{"the key is empty", write("vault.key", ""), nil, "vault.key"},
		{"--vault-key names no file", nil, []string{"--vault-key", "no-such-folder/no-such-key"}, "no-such-key"},
		{"the vault is damaged", overwrite("vault.db", 100, 3000), nil, "vault.db"},
		{"the vault is missing", remove("vault.db"), nil, "vault.db is missing: put it back"},
		{"the vault and its key are missing", both(remove("vault.db"), remove("vault.key")), nil, "vault.db is missing: put it back"},
		{"the vault is empty", write("vault.db", ""), nil, "vault.db is empty (0 bytes)"},
		{"the vault is a new one", newVault, nil, "the vault has none"},
		{"the vault is a folder", folderInstead("vault.db"), nil, "vault.db"},
		{"the database of the read models is a folder", folderInstead("projections.db"), nil, "projections.db"},
		{"the log is missing", emptied("log", false), nil, "log is missing"},
		{"the log's disk is not mounted", emptied("log", true), nil, "log is missing"},
		{"the log is a file", fileInstead("log"), nil, "log"},
		{"the address of the API is taken", nil, []string{"--http", taken.Addr().String()}, "opening the REST API"},
		{"the address of the metrics is taken", nil, []string{"--metrics", taken.Addr().String()}, "opening the metrics address"},
		{"the address of the door is taken", nil, []string{"--rtsp", taken.Addr().String()}, "listening for RTSP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := shortDir(t)
			if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
				t.Fatal(err)
			}
			chmod("vault.key", 0o600)(t, dir) // CopyFS has no modes
			if c.damage != nil {
				c.damage(t, dir)
			}
			before := names(t, dir)
			p := start(t, binary, append([]string{"serve", "--data", dir, "--http", freeAddr(t), "--rtsp", freeAddr(t), "--log-level", "error"}, c.args...)...)
			select {
			case <-p.done:
			case <-time.After(startWithin):
				t.Fatalf("still there after %v", startWithin)
			}
			if code := p.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("status %d, want 1", code)
			}
			said := strings.TrimSpace(p.said())
			if strings.Contains(said, "\n") || !strings.Contains(said, c.want) {
				t.Errorf("said %q, want one line with %q", said, c.want)
			}
			if after := names(t, dir); !slices.Equal(before, after) {
				t.Errorf("files before: %v, after: %v", before, after)
			}
		})
	}
}

// TestSIGTERMEndsAStart stops a service that waits for a log which never
// answers.
func TestSIGTERMEndsAStart(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p := start(t, binary, "serve", "--data", t.TempDir(), "--http", freeAddr(t), "--rtsp", freeAddr(t),
		"--database", "postgres://nobody@"+silent.Addr().String()+"/none?sslmode=disable")
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(startWithin):
		t.Fatalf("still there %v after SIGTERM", startWithin)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("status %d, want 0", code)
	}
}

// shortDir is a folder whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func otherKey() string {
	k := make([]byte, 32)
	_, _ = rand.Read(k)
	return base64.StdEncoding.EncodeToString(k) + "\n"
}

// newVault puts a new vault with a new key in the place of the one that is there.
func newVault(t *testing.T, dir string) {
	t.Helper()
	both(remove("vault.db"), write("vault.key", otherKey()))(t, dir)
	path := filepath.Join(dir, "vault.db")
	key, err := vault.ReadMasterKey(filepath.Join(dir, "vault.key"))
	if err := errors.Join(err, vault.CreateFile(path)); err != nil {
		t.Fatal(err)
	}
	db, err := vault.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = vault.Open(t.Context(), db, key, time.Now)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func both(a, b func(*testing.T, string)) func(*testing.T, string) {
	return func(t *testing.T, dir string) { t.Helper(); a(t, dir); b(t, dir) }
}

// The functions that follow break a file of a data folder.

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func chmod(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func overwrite(name string, at, n int) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		garbage := make([]byte, n)
		_, _ = rand.Read(garbage)
		if _, err := f.WriteAt(garbage, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}

func folderInstead(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		remove(name)(t, dir)
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func fileInstead(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		remove(name)(t, dir)
		write(name, "")(t, dir)
	}
}

// names lists what is in the data folder itself.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = e.Name()
	}
	return list
}

// emptied removes a folder, or only what is in it.
func emptied(name string, stays bool) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		err := os.RemoveAll(filepath.Join(dir, name))
		if err == nil && stays {
			err = os.Mkdir(filepath.Join(dir, name), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestToolsRefuseWhatServeRefuses: a tool makes no log where one was, and no backup
// of parts that do not belong together.
func TestToolsRefuseWhatServeRefuses(t *testing.T) {
	t.Parallel()
	older, newer, foreign := t.TempDir(), t.TempDir(), t.TempDir()
	s := serve(t, binary, newer)
	s.register(t, "olga")
	s.stop(t)
	copyFolder(t, newer, older)
	s = serve(t, binary, newer)
	s.login(t, "olga").must("POST", "/stream-keys", map[string]any{"label": "later"}, nil)
	s.stop(t)
	s = serve(t, binary, foreign)
	s.register(t, "fritz")
	s.stop(t)

	put := func(from string, names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				copyFolder(t, from, dir, name)
			}
		}
	}
	for _, c := range []struct {
		name   string
		damage func(*testing.T, string)
		tools  [][]string
	}{
		{"the log is missing", emptied("log", false), [][]string{{"backup", "-"}, {"audit", "replay"}, {"projections", "status"}, {"projections", "rebuild", "privileges"}}},
		{"the vault is another's", put(foreign, "vault.db", "vault.key"), [][]string{{"backup", "-"}}},
		{"the log is older", put(older, "log"), [][]string{{"backup", "-"}, {"audit", "replay"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := shortDir(t)
			copyFolder(t, newer, dir)
			c.damage(t, dir)
			before := names(t, dir)
			for _, tool := range c.tools {
				out, err := exec.Command(binary, append(tool, "--data", dir)...).CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 1 {
					t.Errorf("%v: %v\n%.300s", tool, err, out)
				}
			}
			if after := names(t, dir); c.name == "the log is missing" && !slices.Equal(before, after) {
				t.Errorf("before %v, after %v", before, after)
			}
		})
	}
}

// TestRecoverReadsTheWholeLog: a log with its end that cannot be read is not one
// that lacks nothing.
func TestRecoverReadsTheWholeLog(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	s := serve(t, binary, dir)
	olga := s.register(t, "olga")
	for i := range 15 {
		olga.must("POST", "/stream-keys", map[string]any{"label": strings.Repeat("o", i+1)}, nil)
	}
	s.stop(t)
	s = serve(t, binary, dir) // which makes a table of what is in the write-ahead log
	s.stop(t)
	tables, err := filepath.Glob(filepath.Join(dir, "log", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	overwrite(filepath.Join("log", filepath.Base(tables[0])), 100, 200)(t, dir)
	out, err := exec.Command(binary, "recover", "--data", dir).CombinedOutput()
	if err == nil || strings.Contains(string(out), "nothing is lost") {
		t.Errorf("%v: %s", err, out)
	}
}

// copyFolder copies a data folder, or some of what is in it.
func copyFolder(t *testing.T, from, to string, only ...string) {
	t.Helper()
	args := []string{"-a"}
	if only == nil {
		only = []string{"."}
	}
	for _, name := range only {
		args = append(args, filepath.Join(from, name)+map[bool]string{true: "/.", false: ""}[name == "."])
	}
	if out, err := exec.Command("cp", append(args, to)...).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}
