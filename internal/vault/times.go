package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// ErrMixed: the file of the vault is of another time than its write-ahead log.
var ErrMixed = errors.New("the file and its write-ahead log are of different times")

// times is the row of vault_state that has the token of the file.
const times = 2

// sameTime returns ErrMixed where an older file lies under the write-ahead log of
// a later process: SQLite would put them together, and what was taken away might
// be back. For that each process that opens the file writes a token to it, in a
// table that nothing else writes, and beside the vault's state: the first is in the
// file before the log starts again, the second in every log in which something was
// taken away, or the mark was moved on.
func (v *Vault) sameTime(ctx context.Context) error {
	if !v.sqlite {
		return nil
	}
	if _, err := v.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS file_times (id INTEGER PRIMARY KEY, token TEXT NOT NULL)"); err != nil {
		return fmt.Errorf("making the table of the file's time: %w", err)
	}
	var file, log string
	err := v.db.NewRaw("SELECT f.token, s.event FROM file_times AS f JOIN vault_state AS s ON s.id = ? WHERE f.id = 1", times).Scan(ctx, &file, &log)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("reading the time of the file: %w", err)
	}
	if err == nil && file != log {
		return fmt.Errorf("opening the vault: %w", ErrMixed)
	}
	token := uuid.NewString()
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.Tx.ExecContext(ctx, "INSERT INTO file_times (id, token) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET token = excluded.token", token)
		if err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(&state{ID: times, Event: token}).On("CONFLICT (id) DO UPDATE").Set("event = EXCLUDED.event").Exec(ctx)
		return err
	})
	if err == nil {
		err = cutLog(ctx, v.db) // it starts again
	}
	if errors.Is(err, errInTheWay) {
		v.scrub.remains.Store(true)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("noting the time of the file: %w", err)
	}
	return nil
}
