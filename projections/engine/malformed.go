package engine

import (
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// malformed reports whether SQLite found a damaged file, or one in another format.
func malformed(err error) bool {
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return false
	}
	switch lite.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	case sqlite3.SQLITE_ERROR: // a missing table or column has no code of its own
		return strings.Contains(lite.Error(), "no such table") || strings.Contains(lite.Error(), "no such column")
	}
	return false
}

// full reports whether the disk of a file is full.
func full(err error) bool {
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_FULL
}

// noticed keeps an error that means that the file is damaged: it stays damaged, even if
// many other rows can be read.
func (s *Store) noticed(err error) error {
	if malformed(err) && s.damage.CompareAndSwap(nil, &err) {
		s.logger.Error("the read models' file is damaged; stop, move it away and start again: they are rebuilt from the log", "file", s.file, "error", err)
	}
	return err
}

// damaged returns the noticed error, or nil.
func (s *Store) damaged() error {
	if err := s.damage.Load(); err != nil {
		return *err
	}
	return nil
}

// advised adds advice to an error of a damaged file.
func (s *Store) advised(err error) error {
	if !malformed(err) && !(s.sqlite && errors.Is(err, errNoCheckpoint)) {
		return err
	}
	return fmt.Errorf("%w; move %s away and start again: the read models are then rebuilt from the log", err, s.file)
}
