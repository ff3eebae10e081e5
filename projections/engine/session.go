package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// SQLite applies a write-ahead log to whatever database file is next to it. An older file
// with a newer log is a mixture of two times, in which a revoked privilege may be back,
// and nothing reveals it. So each process that opens the file writes a token to it, in a
// table that nothing else writes and in the row of every checkpoint: the first is in the
// file before the log restarts, the second in every log, as every commit writes a
// checkpoint. If they differ, file and log do not belong together.

// addSession adds the token.
func (s *Store) addSession(ctx context.Context) error {
	if !s.sqlite {
		return nil
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		there := 0
		if err := tx.NewRaw("SELECT count(*) FROM pragma_table_info('projection_checkpoints') WHERE name = 'session'").Scan(ctx, &there); err != nil {
			return fmt.Errorf("inspecting the checkpoints table: %w", err)
		}
		if there == 0 {
			if _, err := tx.ExecContext(ctx, "ALTER TABLE projection_checkpoints ADD COLUMN session TEXT NOT NULL DEFAULT ''"); err != nil {
				return fmt.Errorf("adding sessions to the checkpoints table: %w", err)
			}
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS projection_session (id INTEGER PRIMARY KEY, token TEXT NOT NULL)"); err != nil {
			return fmt.Errorf("creating the session table: %w", err)
		}
		return nil
	})
}

// mixed reports whether the file and its write-ahead log are from different times.
func (s *Store) mixed(ctx context.Context) (bool, error) {
	if !s.sqlite {
		return false, nil
	}
	var others int
	err := s.writes.NewRaw("SELECT count(*) FROM projection_checkpoints WHERE session <> coalesce((SELECT token FROM projection_session WHERE id = 1), '')").Scan(ctx, &others)
	return others > 0, wrapped("comparing the checkpoints with the session", err)
}

// begin writes a new token to the file.
func (s *Store) begin(ctx context.Context) error {
	if !s.sqlite {
		return nil
	}
	token := uuid.NewString()
	err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, q := range []string{
			"INSERT INTO projection_session (id, token) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET token = excluded.token",
			"UPDATE projection_checkpoints SET session = ?",
		} {
			if _, err := tx.Tx.ExecContext(ctx, q, token); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		_, err = s.writes.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)") // the log restarts
	}
	if full(err) { // the previous token holds
		return nil
	}
	return wrapped("beginning a session of the read models", err)
}

// joinSession sets the token of the file in a checkpoint that is new in it.
func (s *Store) joinSession(ctx context.Context, tx bun.Tx, name string) error {
	if !s.sqlite {
		return nil
	}
	_, err := tx.Tx.ExecContext(ctx, "UPDATE projection_checkpoints SET session = coalesce((SELECT token FROM projection_session WHERE id = 1), '') WHERE name = ?", name)
	return wrapped("giving a checkpoint its session", err)
}

// remake creates an empty file in place of one that cannot be trusted. All its content
// comes from the log again.
func (s *Store) remake(ctx context.Context, cfg Config) error {
	if err := s.Close(); err != nil {
		return err
	}
	path, _ := cfg.sqlitePath()
	for _, name := range []string{path + "-wal", path + "-shm", path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing read models that cannot be trusted: %w", err)
		}
	}
	return s.prepare(ctx, cfg)
}
