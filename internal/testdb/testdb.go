// Package testdb gives tests a real PostgreSQL: one server per test process, a fresh
// database per call. It is for tests only.
package testdb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// variable names a running server to use instead of starting one: its value is the
// connection string of a superuser.
const variable = "LATCHKEY_TEST_POSTGRES"

// shared is this process's server, started by the first test that needs one.
var shared struct {
	once sync.Once
	dsn  string
	err  error
}

// Postgres returns the connection string of an empty database, which is dropped when the
// test ends. It fails the test if PostgreSQL is missing: a suite that skips one of its
// databases proves nothing about it. Only `go test -short`, which is not the suite, skips
// PostgreSQL.
func Postgres(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("PostgreSQL is left to the whole suite")
	}
	shared.once.Do(func() {
		if shared.dsn = os.Getenv(variable); shared.dsn == "" {
			shared.dsn, shared.err = start()
		}
	})
	if shared.err != nil {
		t.Fatalf("starting PostgreSQL for tests (or name one with %s): %v", variable, shared.err)
	}
	name := "test_" + strings.ToLower(rand.Text()[:16])
	if err := admin("CREATE DATABASE " + name); err != nil {
		t.Fatalf("making a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	dsn, err := url.Parse(shared.dsn)
	if err != nil {
		t.Fatalf("%s is not a URL", variable) // its error would quote it
	}
	dsn.Path = "/" + name
	return dsn.String()
}

// admin runs a statement in the server's own database.
func admin(statement string) (err error) {
	db, err := sql.Open("pgx", shared.dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(context.Background(), statement)
	return err
}

// start creates the server shared by all tests of this process.
func start() (dsn string, err error) {
	c, err := newCluster()
	if err != nil {
		return "", err
	}
	sharedCluster = c
	return c.dsn(), c.start("-c full_page_writes=off -c max_connections=200")
}

// sharedCluster is kept, so that its watchdog waits as long as this process lives.
var sharedCluster *cluster //nolint:unused // kept only

// cluster is a cluster in a temporary folder, served on a Unix socket there. A watchdog
// stops the server and removes the folder when this process is gone, for whatever reason.
type cluster struct {
	bin, dir string
	alive    *os.File  // the watchdog waits until it is closed
	watchdog *exec.Cmd // nil: none
}

func newCluster() (*cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "latchkey-pg-") // short: a socket's path has at most 107 bytes
	if err != nil {
		return nil, err
	}
	c := &cluster{bin: bin, dir: dir}
	if err := c.watch(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := allow(dir); err != nil {
		return nil, err
	}
	return c, run(bin, "initdb", "-D", c.data(), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) dsn() string {
	return "postgres://postgres@/postgres?" + url.Values{"host": {c.dir}}.Encode()
}

// start starts the server, and returns when it accepts connections.
func (c *cluster) start(settings string) error {
	settings = "-k " + c.dir + " -c listen_addresses= -c fsync=off " + settings
	err := run(c.bin, "pg_ctl", "-D", c.data(), "-l", filepath.Join(c.dir, "log"), "-w", "-t", "60", "-o", settings, "start")
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(c.dir, "log")) // the first error says enough
		return fmt.Errorf("%w\n%s", err, log)
	}
	return nil
}

// binaries returns the folder of the newest installed PostgreSQL.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	newest, dir := -1, ""
	for _, path := range found {
		bin := filepath.Dir(path)
		if version, err := strconv.Atoi(filepath.Base(filepath.Dir(bin))); err == nil && version > newest {
			newest, dir = version, bin
		}
	}
	if dir != "" {
		return dir, nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no initdb in /usr/lib/postgresql/*/bin, nor in PATH (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(path), nil
}

// allow gives the folder to the user that the server runs as.
func allow(dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	out, err := exec.Command("chown", "postgres:", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("giving the folder to postgres: %w: %s", err, out)
	}
	return nil
}

// command runs a PostgreSQL program, which refuses to run as root.
func command(bin, program string, args ...string) []string {
	line := append([]string{filepath.Join(bin, program)}, args...)
	if os.Getuid() == 0 {
		line = append([]string{"runuser", "-u", "postgres", "--"}, line...)
	}
	return line
}

func run(bin, program string, args ...string) error {
	line := command(bin, program, args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = os.TempDir() // postgres need not see the folder of the test
	// pg_ctl leaves its output open to the server: a pipe would never end.
	file, err := os.CreateTemp("", "latchkey-pg-output-")
	if err != nil {
		return err
	}
	defer func() { file.Close(); os.Remove(file.Name()) }()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(file.Name()) // the first error says enough
		return fmt.Errorf("running %s: %w\n%s", program, err, said)
	}
	return nil
}

// watch starts a shell that waits for its input to end, which is when this
// process ends or closes the other end, and cleans up.
func (c *cluster) watch() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	stop := strings.Join(quoted(command(c.bin, "pg_ctl", "-D", c.data(), "-m", "immediate", "-w", "stop")), " ")
	script := "read ignored; " + stop + "; rm -rf " + quoted([]string{c.dir})[0]
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = os.TempDir()
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt from the terminal is for the tests only
	if err := cmd.Start(); err != nil {
		return errors.Join(err, read.Close(), write.Close())
	}
	c.alive, c.watchdog = write, cmd
	return read.Close()
}

// quoted quotes words for a shell.
func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return out
}
