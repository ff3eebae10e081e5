package projections_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/projections"
)

// TestMalformedFile: a damaged file of SQLite is refused with what to do about it,
// or noticed when a page is read, and told by the health from then on.
func TestMalformedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	h := newHouse(t, "sqlite:"+path)
	r, stop := h.run(h.store)
	at := h.traffic(0, 300)
	wait(t, r, at)
	stop()
	must(t, h.store.Close())
	whole, err := os.ReadFile(path)
	must(t, err)

	must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 8192), 0o600))
	if _, err := projections.Open(t.Context(), projections.OpenConfig{Database: h.dsn}); err == nil || !strings.Contains(err.Error(), "move "+path+" away") {
		t.Errorf("a file that is no database: %v", err)
	}

	const page = 4096
	for at := len(whole)/page/2*page + page; at < len(whole); at += page { // the second half
		copy(whole[at:at+page], bytes.Repeat([]byte{0xa5}, page))
	}
	must(t, os.WriteFile(path, whole, 0o600))
	s, err := projections.Open(t.Context(), projections.OpenConfig{Database: h.dsn})
	must(t, err)
	defer s.Close()
	r, _ = h.run(s)
	for _, read := range []func() error{
		func() error { _, _, err := s.SentShares(t.Context(), olga, projections.Page{Limit: 1000}); return err },
		func() error { _, _, err := s.Devices(t.Context(), olga, projections.Page{Limit: 1000}); return err },
	} {
		if err := read(); err != nil && !strings.Contains(err.Error(), "malformed") {
			t.Error(err)
		}
	}
	if health := r.Health(); health.Ready || !strings.Contains(health.Reason, "move "+path+" away") {
		t.Errorf("after a damaged page was read: %+v", health)
	}
}
