package notes

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"latchkey/domain/ids"
)

// TestFolder: what is noted is there for the next process, and what is not whole is not.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "notes")
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	long := ids.Device("DS-2CD/..\\ 用" + string(make([]byte, 300)))
	for _, c := range []Channel{{"cam", 1}, {"cam", 11}, {"cam1", 1}, {long, 511}, {"cam", 1}} {
		if err := f.Note(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Drop(Channel{"cam", 11}); err != nil {
		t.Fatal(err)
	}
	if err := f.Drop(Channel{"none", 1}); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{"torn": `{"device":"ca`, "moved": `{"device":"cam","channel":1}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		list, err := again.All()
		if err != nil || len(list) != 3 || !slices.Contains(list, Channel{"cam", 1}) || !slices.Contains(list, Channel{"cam1", 1}) {
			t.Errorf("%v, %v", list, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
