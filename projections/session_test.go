package projections_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

	mixed := filepath.Join(t.TempDir(), "projections.db")
	must(t, os.WriteFile(mixed, older, 0o600))
	must(t, os.WriteFile(mixed+"-wal", log, 0o600))
	var said bytes.Buffer
	again, err := projections.Open(context.Background(), projections.OpenConfig{Database: "sqlite:" + mixed, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	must(t, err)
	defer again.Close()
	if !strings.Contains(said.String(), "from different times") {
		t.Errorf("said %q", said.String())
	}
	list, err := again.Status(context.Background())
	must(t, err)
	for _, p := range list {
		if p.Position != 0 || p.Rows != 0 {
			t.Errorf("%s is at position %d and has %d rows", p.Projection, p.Position, p.Rows)
		}
	}

	whole := filepath.Join(t.TempDir(), "projections.db") // as after a loss of power
	must(t, os.WriteFile(whole, read(t, path), 0o600))
	must(t, os.WriteFile(whole+"-wal", log, 0o600))
	said.Reset()
	again, err = projections.Open(context.Background(), projections.OpenConfig{Database: "sqlite:" + whole, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	must(t, err)
	defer again.Close()
	if said.Len() > 0 {
		t.Errorf("of one time, and yet %q", said.String())
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}
