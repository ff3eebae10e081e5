package regular_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"latchkey/internal/regular"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(in("file"), []byte("text"), 0o600))
	must(os.Symlink("file", in("link")))
	must(syscall.Mkfifo(in("pipe"), 0o600))
	must(os.Symlink("pipe", in("link to pipe")))
	must(os.Mkdir(in("folder"), 0o700))
	l, err := net.Listen("unix", in("socket"))
	must(err)
	defer l.Close()
	for _, name := range []string{"file", "link"} {
		f, err := regular.Open(in(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text, err := io.ReadAll(f); err != nil || string(text) != "text" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		must(f.Close())
	}
	for _, path := range []string{in("pipe"), in("link to pipe"), in("folder"), in("socket"), "/dev/null"} {
		if _, err := regular.Open(path); !errors.Is(err, regular.ErrNot) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := regular.Open(in("nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}
