package projections_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/eventstore"
	"latchkey/projections"
)

// TestAnOlderFileUnderANewerLog: a file of the read models that is put back under
// the write-ahead log of a later process is noticed, and everything is made anew.
func TestAnOlderFileUnderANewerLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "projections.db")
	h := newHouse(t, "sqlite:"+path)
	session := func(from int) {
		t.Helper()
		s := h.open()
		r, stop := h.run(s)
		wait(t, r, h.traffic(from, 1))
		stop()
		must(t, s.Close())
	}
	must(t, h.store.Close())
	session(0)
	older := read(t, path)
	session(1)

	s := h.open()
	r, stop := h.run(s)
	wait(t, r, h.traffic(2, 3))
	log := read(t, path+"-wal")
	if len(log) == 0 {
		t.Fatal("there is no write-ahead log")
	}
	stop()
	must(t, s.Close())

	// In place, as a copy is found otherwise.
	again, said := openMixture(t, path, older, log)
	if !strings.Contains(said, "from different times") {
		t.Errorf("said %q", said)
	}
	wantEmpty(t, again)
}

// TestAFileAndItsLogOfOneTime is what a killed process or a loss of power leaves.
func TestAFileAndItsLogOfOneTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "projections.db")
	h := newHouse(t, "sqlite:"+path)
	r, stop := h.run(h.store)
	at := h.traffic(0, 3)
	wait(t, r, at)
	file, log := read(t, path), read(t, path+"-wal")
	stop()
	must(t, h.store.Close())
	again, said := openMixture(t, path, file, log)
	if said != "" {
		t.Errorf("of one time, and yet %q", said)
	}
	list, err := again.Status(context.Background())
	must(t, err)
	for _, p := range list {
		if p.Position < at {
			t.Errorf("%s is at position %d", p.Projection, p.Position)
		}
	}
}

// TestACopyOfARunningFile: a file and a write-ahead log that were copied at different
// times of one process are not trusted, whichever is older; and neither is one whose log
// lacks what the copy has seen.
func TestACopyOfARunningFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "projections.db")
	h := newHouse(t, "sqlite:"+path)
	r, _ := h.run(h.store)
	var at eventstore.Position
	moment := func(from int) (file, log []byte) {
		t.Helper()
		at = h.traffic(from, 3)
		wait(t, r, at)
		return read(t, path), read(t, path+"-wal")
	}
	file1, log1 := moment(0)
	_, err := h.store.DB().Exec("PRAGMA wal_checkpoint(TRUNCATE)") // SQLite does it in time by itself
	must(t, err)
	file2, log2 := moment(3)
	want := dump(t, h.store)
	for name, c := range map[string]struct{ file, log []byte }{
		"an older file, a newer log": {file1, log2},
		"a newer file, an older log": {file2, log1},
		"a file without its log":     {file1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "projections.db")
			again, said := openMixture(t, copied, c.file, c.log)
			if !strings.Contains(said, "is a copy") {
				t.Errorf("said %q", said)
			}
			wantEmpty(t, again)
			must(t, again.Check(within(t), h.client))
			r, stop := h.run(again)
			wait(t, r, at)
			stop()
			if got := dump(t, again); got != want {
				t.Errorf("the copy became\n%s\nnot\n%s", got, want)
			}
			must(t, again.Close())

			moved := copied + ".moved" // is the same file
			must(t, os.Rename(copied, moved))
			if _, said := openMixture(t, moved, nil, nil); said != "" {
				t.Errorf("a file that was moved: %q", said)
			}
		})
	}
	t.Run("of a newer log", func(t *testing.T) {
		again, _ := openMixture(t, filepath.Join(t.TempDir(), "projections.db"), file2, log2)
		if err := again.Check(within(t), newLog(t)); err == nil {
			t.Error("another log is taken for the one that the copy was made from")
		}
	})
}

// openMixture opens a file with a log, nil for what is there, and returns what was said.
func openMixture(t *testing.T, path string, file, log []byte) (s *projections.Store, said string) {
	t.Helper()
	for name, content := range map[string][]byte{path: file, path + "-wal": log} {
		if content != nil {
			must(t, os.WriteFile(name, content, 0o600))
		}
	}
	var out bytes.Buffer
	s, err := projections.Open(context.Background(), projections.OpenConfig{Database: "sqlite:" + path, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s, out.String()
}

func wantEmpty(t *testing.T, s *projections.Store) {
	t.Helper()
	list, err := s.Status(context.Background())
	must(t, err)
	for _, p := range list {
		if p.Position != 0 || p.Rows != 0 {
			t.Errorf("%s is at position %d and has %d rows", p.Projection, p.Position, p.Rows)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}
