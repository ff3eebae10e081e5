package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// openToRead opens existing data for a tool that only reads. In a data folder that cannot
// be written to, such as a copy on a read-only disk, the log is opened read-only, and the
// vault is first copied to its own folder, as SQLite must write to read. The caller calls
// close when it is done.
func (s storage) openToRead(ctx context.Context, logger *slog.Logger) (_ *opened, close func() error, err error) {
	if s.Eventstore != "embedded" || s.Database != "sqlite" || !unwritable(s.Data) {
		p, err := s.open(ctx, logger)
		if err != nil {
			return nil, nil, err
		}
		return p, p.close, nil
	}
	scratch, err := os.MkdirTemp("", "latchkey") // mode 0700
	if err != nil {
		return nil, nil, fmt.Errorf("creating a folder for a copy of the vault: %w", err)
	}
	reader, err := startReader(filepath.Join(s.Data, "log"), filepath.Join(scratch, "eventstore.sock"), logger)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(scratch))
	}
	end := func() error { return errors.Join(reader.close(), os.RemoveAll(scratch)) }
	for _, name := range []string{"vault.db", "vault.db-wal", "vault.key"} {
		if err := copyFile(filepath.Join(s.Data, name), filepath.Join(scratch, name)); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("copying the vault: %w", err), end())
		}
	}
	s.Data = scratch
	p, err := s.open(ctx, logger) // it joins the node through its socket
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return p, func() error { return errors.Join(p.close(), end()) }, nil
}

// unwritable reports whether a folder is not writable.
func unwritable(dir string) bool {
	const mayWrite = 2
	err := syscall.Access(dir, mayWrite)
	return errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES)
}

// copyFile copies a file, if it exists, for this user only.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
