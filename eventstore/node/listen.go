package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxSocketPath is the kernel's limit, minus the name of the socket while it is being
// created.
const maxSocketPath = 100

// Listen opens a unix socket that only this user may connect to, from the first instant:
// it is created in its own folder and then moved to its place. A socket left by a dead
// process is replaced; if a process is listening on it, Listen fails.
func Listen(path string) (net.Listener, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening the socket %s: %w", path, err)
	}
	if len(abs) > maxSocketPath {
		return nil, fmt.Errorf("opening the socket %s: the path has %d bytes, the limit is %d: choose a shorter folder path", abs, len(abs), maxSocketPath)
	}
	if err := removeStale(abs); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(abs), ".s") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("opening the socket %s: %w", abs, err)
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("opening the socket %s: %w", abs, err)
	}
	l.SetUnlinkOnClose(false) // its name changes
	if err := errors.Join(os.Chmod(tmp, 0o600), os.Rename(tmp, abs)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the socket %s: %w", abs, err), l.Close())
	}
	return &socket{UnixListener: l, path: abs}, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the socket %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("opening the socket %s: a file that is not a socket exists there", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("opening the socket %s: another process is listening on it", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("opening the socket %s: %w", path, err)
	}
	return nil // the rename replaces it
}

// socket removes its name when it is closed.
type socket struct {
	*net.UnixListener
	path string
}

func (s *socket) Close() error {
	err := os.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.UnixListener.Close())
}
