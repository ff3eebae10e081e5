package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WriteFile creates a file in a folder, and the folder if missing. The file has a
// temporary name until write has returned, everything is synced, and reading it back has
// returned what was written; then name returns its name. It returns the path and the
// SHA-256 of the file.
func WriteFile(dir string, write func(io.Writer) (name string, err error)) (path string, sum []byte, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("creating the backup's folder: %w", err)
	}
	f, err := os.CreateTemp(dir, ".latchkey-backup-*") // mode 0600
	if err != nil {
		return "", nil, fmt.Errorf("creating the backup's file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	kept := false
	defer func() {
		if !kept {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	hash := sha256.New()
	name, err := write(io.MultiWriter(f, hash))
	if err != nil {
		return "", nil, err
	}
	sum = hash.Sum(nil)
	if err := f.Sync(); err != nil {
		return "", nil, fmt.Errorf("syncing the backup: %w", err)
	}
	if err := readBack(f, sum); err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, name)
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename, it never replaces a file
		return "", nil, fmt.Errorf("naming the backup: %w", err)
	}
	kept = true
	if err := errors.Join(os.Remove(f.Name()), SyncDir(dir)); err != nil {
		return "", nil, fmt.Errorf("naming the backup: %w", err)
	}
	return path, sum, nil
}

// readBack compares the content on the disk with what was written.
func readBack(f *os.File, sum []byte) error {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // from the disk, where the kernel obeys
	hash := sha256.New()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the backup back: %w", err)
	}
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("reading the backup back: %w", err)
	}
	if !bytes.Equal(hash.Sum(nil), sum) {
		return errors.New("reading the backup back: the disk returned different data than was written; use another disk")
	}
	return nil
}

// SyncDir makes the names in a folder durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
