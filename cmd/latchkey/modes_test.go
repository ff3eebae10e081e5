package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDataFolderIsClosedToOthers opens a folder to everybody, as a copy may
// be, and looks at what the service makes of it, and of what it makes itself.
func TestTheDataFolderIsClosedToOthers(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	s := serve(t, binary, dir)
	s.register(t, "olga")
	checkClosed(t, dir)
	if code := s.stop(t); code != 0 {
		t.Fatalf("the service ended with status %d", code)
	}
	for name, mode := range map[string]os.FileMode{"": 0o755, "vault.db": 0o644, "projections.db": 0o664} {
		chmod(name, mode)(t, dir)
	}
	s = serve(t, binary, dir)
	checkClosed(t, dir)
	for _, name := range []string{"vault.db", "projections.db"} {
		if !strings.Contains(s.said(), filepath.Join(dir, name)) {
			t.Errorf("it is not said that %s was closed", name)
		}
	}
}

func checkClosed(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is gone
		}
		if info, err := e.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
