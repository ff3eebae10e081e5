package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrMixed is returned if the vault's file and its write-ahead log are from different
// times.
var ErrMixed = errors.New("the file and its write-ahead log are from different times")

// times is the row of vault_state that has the token of the file.
const times = 2

// sameTime returns ErrMixed if an older file is combined with the write-ahead log of a
// later process: SQLite would merge them, and revoked data might be back. To detect this,
// each process that opens the file writes a token to it, in a table that nothing else
// writes, and with the vault's state: the first is in the file before the log restarts,
// the second in every log in which something was revoked, or the mark was advanced.
// Whoever truncates the log later first writes another token.
func (v *Vault) sameTime(ctx context.Context) error {
	if !v.sqlite {
		return nil
	}
	if _, err := v.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS file_times (id INTEGER PRIMARY KEY, token TEXT NOT NULL)"); err != nil {
		return fmt.Errorf("creating the table of the file's time: %w", err)
	}
	var file, log string
	err := v.db.NewRaw("SELECT f.token, s.event FROM file_times AS f JOIN vault_state AS s ON s.id = ? WHERE f.id = 1", times).Scan(ctx, &file, &log)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("reading the time of the file: %w", err)
	}
	if err == nil && file != log {
		return fmt.Errorf("opening the vault: %w", ErrMixed)
	}
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error { return noteTime(ctx, tx.Tx) })
	if err == nil {
		err = cutLog(ctx, v.db) // it restarts
	}
	if errors.Is(err, errInTheWay) || full(err) { // the previous token holds
		v.scrub.remains.Store(true)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("recording the time of the file: %w", err)
	}
	return nil
}

// noteTime writes a new token to the file, in both places.
func noteTime(ctx context.Context, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}) error {
	token := uuid.NewString()
	_, err := db.ExecContext(ctx, "INSERT INTO file_times (id, token) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET token = excluded.token", token)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "INSERT INTO vault_state (id, log, epoch, position, event, taken) VALUES (?, '', 0, 0, ?, 0) ON CONFLICT (id) DO UPDATE SET event = excluded.event", times, token)
	return err
}

// full reports whether the disk of a file is full.
func full(err error) bool {
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_FULL
}

// Damaged reports whether err means that the vault's file, or its content, is not as a
// vault left it. Other errors may be transient, or are for the operator to fix: a full
// disk, a file that may not be written.
func Damaged(err error) bool {
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return true
	}
	switch lite.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN:
		return false
	}
	return true
}
