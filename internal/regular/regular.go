// Package regular opens files that must be regular ones, such as configurations and keys.
package regular

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// ErrNot is returned for whatever is there instead of a regular file.
var ErrNot = errors.New("it is not a regular file")

// Open opens a regular file, or one that a link leads to, for reading. It does not wait
// for whoever writes to a pipe. The error is an *fs.PathError and wraps ErrNot for a pipe,
// a folder, a device or a socket.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket, or a device that is not there
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNot}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNot}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
