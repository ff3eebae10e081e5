// Package testdb gives tests a PostgreSQL of their own. It belongs to tests only
// and knows nothing of what they keep in it.
package testdb

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Env names a connection string of a superuser, on a server that is the tests'
// own. Where it is unset the tests start a server themselves.
const Env = "LATCHKEY_TEST_POSTGRES"

// Postgres answers the connection string of an empty database that is dropped
// when the test ends. Without a server and without PostgreSQL's programs the
// test fails.
func Postgres(tb testing.TB) string {
	tb.Helper()
	admin := os.Getenv(Env)
	if admin == "" {
		var err error
		if admin, err = server.acquire(); err != nil {
			tb.Fatalf("starting PostgreSQL for the tests (or set %s): %v", Env, err)
		}
		tb.Cleanup(server.release)
	}
	name := "t" + strings.ToLower(rand.Text())
	if err := run(admin, "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("making a database for the test: %v", err)
	}
	tb.Cleanup(func() {
		if err := run(admin, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("dropping the test's database: %v", err)
		}
	})
	u, err := url.Parse(admin)
	if err != nil {
		tb.Fatalf("%s is no URL: %v", Env, err)
	}
	u.Path = "/" + name
	return u.String()
}

func run(dsn, statement string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, statement)
	return errors.Join(err, c.Close(ctx))
}

// server is the process's own PostgreSQL: it runs while a test uses it.
var server private

type private struct {
	mu    sync.Mutex
	users int
	dir   string
	bin   string
}

// acquire starts the server for its first user.
func (p *private) acquire() (dsn string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == 0 {
		if err := p.start(); err != nil {
			return "", errors.Join(err, os.RemoveAll(p.dir))
		}
	}
	p.users++
	return "postgres://postgres@/postgres?host=" + url.QueryEscape(p.dir), nil
}

// release stops it after its last one.
func (p *private) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	if err := p.command("pg_ctl", "stop", "--mode=immediate", "--wait", "--pgdata", filepath.Join(p.dir, "data")); err != nil {
		fmt.Fprintln(os.Stderr, "testdb: stopping PostgreSQL:", err)
	}
	if err := os.RemoveAll(p.dir); err != nil {
		fmt.Fprintln(os.Stderr, "testdb: removing the folder of PostgreSQL:", err)
	}
}

func (p *private) start() error {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return errors.New("there is no /usr/lib/postgresql/*/bin: install PostgreSQL")
	}
	p.bin = slices.Max(bins)
	// A short name: the path of a Unix socket has 107 bytes at most.
	if p.dir, err = os.MkdirTemp("/tmp", "lkpg"); err != nil {
		return err
	}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		if out, err := exec.Command("chown", "postgres", p.dir).CombinedOutput(); err != nil {
			return fmt.Errorf("giving the folder to the user postgres: %w: %s", err, out)
		}
	}
	data := filepath.Join(p.dir, "data")
	if err := p.command("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--pgdata", data); err != nil {
		return err
	}
	options := fmt.Sprintf("-c listen_addresses='' -c unix_socket_directories=%s -c fsync=off -c max_connections=200 -c shared_buffers=64MB", p.dir)
	return p.command("pg_ctl", "start", "--wait", "--silent", "--timeout=60", "--pgdata", data, "--log", filepath.Join(p.dir, "log"), "--options", options)
}

// command runs one of PostgreSQL's programs. Its output goes to a file, as the
// server that pg_ctl leaves behind would keep a pipe open.
func (p *private) command(name string, args ...string) error {
	args = append([]string{filepath.Join(p.bin, name)}, args...)
	if os.Getuid() == 0 {
		args = append([]string{"runuser", "-u", "postgres", "--"}, args...)
	}
	out, err := os.CreateTemp("", "lkpg-out")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(said))
	}
	return nil
}
