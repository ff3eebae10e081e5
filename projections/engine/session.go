package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// SQLite applies a write-ahead log to whatever database file is next to it. An older file
// with a newer log is a mixture of two times, in which a revoked privilege may be back,
// and nothing reveals it. So each process that opens the file writes a token to it, in a
// table that nothing else writes and in the row of every checkpoint: the first is in the
// file before the log restarts, the second in every log, as every commit writes a
// checkpoint. If they differ, file and log do not belong together.
//
// A copy that is taken while the process runs may be such a mixture within the life of
// that process, and the file alone may be: its pages are copied at different times. So the
// process also writes which file it is, and a copy is not trusted at all.

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

// copied reports whether the file is a copy of the one that a process wrote.
func (s *Store) copied(ctx context.Context) (bool, error) {
	if !s.sqlite {
		return false, nil
	}
	is, err := identityOfFile(s.file)
	if err != nil {
		return false, err
	}
	var known int
	var was string
	err = s.writes.NewRaw("SELECT count(*) FROM sqlite_master WHERE name = 'projection_file'").Scan(ctx, &known)
	if err == nil && known > 0 { // else an earlier version wrote it
		err = s.writes.NewRaw("SELECT coalesce((SELECT file FROM projection_file WHERE id = 1), '')").Scan(ctx, &was)
	}
	return was != "" && is != "" && is != was, wrapped("finding out whether the file of the read models is a copy", err)
}

// begin writes a new token to the file, and which file it is.
func (s *Store) begin(ctx context.Context) error {
	if !s.sqlite {
		return nil
	}
	file, err := identityOfFile(s.file)
	if err != nil {
		return err
	}
	token := uuid.NewString()
	err = s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, q := range []struct {
			text string
			args []any
		}{
			{"INSERT INTO projection_session (id, token) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET token = excluded.token", []any{token}},
			{"UPDATE projection_checkpoints SET session = ?", []any{token}},
			{"CREATE TABLE IF NOT EXISTS projection_file (id INTEGER PRIMARY KEY, file TEXT NOT NULL)", nil},
			{"INSERT INTO projection_file (id, file) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET file = excluded.file", []any{file}},
		} {
			if _, err := tx.Tx.ExecContext(ctx, q.text, q.args...); err != nil {
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
// comes from the log again. The marks stay: a log that lacks what the file had seen is
// still refused. So do the positions of followers, as what they did is done.
func (s *Store) remake(ctx context.Context, cfg Config) error {
	var list []*checkpoint
	if err := s.queries.NewSelect().Model(&list).Scan(ctx); err != nil {
		list = nil // it cannot even be read
	}
	if err := s.Close(); err != nil {
		return err
	}
	path, _ := cfg.sqlitePath()
	for _, name := range []string{path + "-wal", path + "-shm", path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing read models that cannot be trusted: %w", err)
		}
	}
	if err := s.prepare(ctx, cfg); err != nil {
		return err
	}
	for _, old := range list {
		if old.sound() == nil && old.mark().Log != uuid.Nil {
			if err := s.remember(ctx, old); err != nil {
				return err
			}
		}
	}
	return nil
}

// remember sets what remains of a checkpoint whose rows are gone.
func (s *Store) remember(ctx context.Context, old *checkpoint) error {
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		c, err := s.lock(ctx, tx, old.Name)
		if errors.Is(err, sql.ErrNoRows) { // this build has none
			return nil
		}
		if err == nil {
			c.setMark(old.mark())
			if slices.Contains(s.followers, old.Name) {
				c.Position = old.Position
			}
			err = s.save(ctx, tx, c)
		}
		return wrapped("keeping the mark of "+old.Name, err)
	})
}
