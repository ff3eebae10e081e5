package testdb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a PostgreSQL for one test only, which that test may crash.
type Server struct {
	// DSN is the connection string of its superuser.
	DSN string

	t        testing.TB
	c        *cluster
	settings string
}

// NewServer starts a server with further settings, such as "wal_writer_delay=10s". It is
// removed when the test ends.
func NewServer(t testing.TB, settings ...string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("PostgreSQL is left to the whole suite")
	}
	c, err := newCluster()
	if err != nil {
		t.Fatalf("making a PostgreSQL for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.alive.Close(), c.watchdog.Wait()); err != nil {
			t.Errorf("removing the test's PostgreSQL: %v", err)
		}
	})
	s := &Server{t: t, c: c, DSN: c.dsn()}
	for _, setting := range settings {
		s.settings += " -c " + setting
	}
	s.Start()
	return s
}

// Start starts the server again after a Crash, and returns when it accepts connections.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.c.start(s.settings); err != nil {
		s.t.Fatalf("starting the test's PostgreSQL: %v", err)
	}
}

// Crash kills the server and all its processes at once. Data not yet handed to the kernel
// is lost, possibly including a transaction that was committed with synchronous_commit
// off.
func (s *Server) Crash() {
	s.t.Helper()
	file, err := os.ReadFile(filepath.Join(s.c.data(), "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(file), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		s.t.Fatal(err)
	}
	// A stopped one starts no more children, and sees none of them die.
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil {
		s.t.Fatalf("stopping the postmaster: %v", err)
	}
	killed := append(children(s.t, postmaster), postmaster)
	for _, pid := range killed {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Fatalf("killing a process of PostgreSQL: %v", err)
		}
	}
	for deadline := time.Now().Add(time.Minute); len(killed) > 0; {
		if state, _ := stat(killed[0]); state == "" || state == "Z" {
			killed = killed[1:]
			continue
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the processes %v of PostgreSQL do not end", killed)
		}
		time.Sleep(time.Millisecond)
	}
	// They would keep a server from starting for as long as nobody has reaped the
	// postmaster, which is not a child of this process.
	for _, lock := range []string{filepath.Join(s.c.data(), "postmaster.pid"), filepath.Join(s.c.dir, ".s.PGSQL.5432.lock")} {
		if err := os.Remove(lock); err != nil {
			s.t.Fatal(err)
		}
	}
}

// children returns the processes whose parent is a process.
func children(t testing.TB, parent int) (list []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if _, of := stat(pid); of == parent {
			list = append(list, pid)
		}
	}
	return list
}

// stat returns the state and the parent of a process, "" if there is none.
func stat(pid int) (state string, parent int) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	rest := raw[bytes.LastIndexByte(raw, ')')+1:] // a name may hold anything
	if _, err := fmt.Sscan(string(rest), &state, &parent); err != nil {
		return "", 0
	}
	return state, parent
}
