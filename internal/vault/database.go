package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"latchkey/internal/regular"
)

// busyTimeout is how long SQLite waits for another process that writes.
const busyTimeout = 5 * time.Second

// OpenFile opens the SQLite file of a vault, which must exist. Every commit is on the
// disk when it returns, unlike those of the read models: the vault cannot be rebuilt from
// the log. Deleted data is overwritten.
func OpenFile(path string) (*bun.DB, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("opening the vault: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("opening the vault %s: %w", path, regular.ErrNot)
	}
	query := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "secure_delete(1)",
	}}
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening the vault %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	db.SetConnMaxIdleTime(10 * time.Second) // each holds a cache
	if err := db.Ping(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the vault %s: %w", path, err), db.Close())
	}
	return bun.NewDB(db, sqlitedialect.New()), nil
}

// CreateFile creates an empty file for a vault, readable by its owner only, and syncs its
// name. An existing file is kept.
func CreateFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("creating the vault: %w", err)
	}
	if err := errors.Join(f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("creating the vault: %w", err)
	}
	return nil
}

func isSQLite(db interface{ Dialect() schema.Dialect }) bool {
	return db.Dialect().Name() == dialect.SQLite
}

// prepare creates the missing tables, and upgrades those of earlier versions. Several
// processes may do so at once.
func prepare(ctx context.Context, db *bun.DB) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if !isSQLite(db) {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", int64(0x6c6b7661756c74)); err != nil { // "lkvault"
				return fmt.Errorf("waiting for other processes: %w", err)
			}
		}
		for _, t := range tables {
			if _, err := tx.NewCreateTable().Model(t).IfNotExists().Exec(ctx); err != nil {
				return err
			}
		}
		if err := addTags(ctx, tx, isSQLite(db)); err != nil {
			return fmt.Errorf("adding tags to the persons' keys: %w", err)
		}
		for _, table := range []string{"vault_passwords", "vault_sessions"} {
			if err := addMACs(ctx, tx, table, isSQLite(db)); err != nil {
				return fmt.Errorf("adding MACs to the rows of %s: %w", table, err)
			}
		}
		if err := addColumns(ctx, tx, "vault_sessions", isSQLite(db), "created BIGINT NOT NULL DEFAULT 0", "used BIGINT NOT NULL DEFAULT 0", "network VARCHAR NOT NULL DEFAULT ''"); err != nil {
			return fmt.Errorf("adding times to the sessions: %w", err)
		}
		if err := addColumns(ctx, tx, "vault_invitations", isSQLite(db), "attempt VARCHAR NOT NULL DEFAULT ''", "claimed BIGINT NOT NULL DEFAULT 0"); err != nil {
			return fmt.Errorf("adding claims to the invitations: %w", err)
		}
		if err := addColumns(ctx, tx, "vault_requests", isSQLite(db), "answers VARCHAR NOT NULL DEFAULT ''"); err != nil {
			return fmt.Errorf("adding answers to the requests: %w", err)
		}
		for _, index := range []string{"vault_sessions_of_account ON vault_sessions (account, expires)", "vault_applications_of_account ON vault_applications (account)", "vault_notices_due ON vault_notices (channel, state, due)", "vault_notices_target ON vault_notices (target, channel, state)",
			"vault_alarms_seq ON vault_alarms (seq)", "vault_alarms_device ON vault_alarms (device, seq)", "vault_alarms_raised ON vault_alarms (raised)", "vault_alarm_copies_seq ON vault_alarm_copies (seq)", "vault_alarm_receivers_key ON vault_alarm_receivers (key)", "vault_pushes_account ON vault_pushes (account)"} {
			if _, err := tx.ExecContext(ctx, "CREATE INDEX IF NOT EXISTS "+index); err != nil {
				return err
			}
		}
		if isSQLite(db) {
			return nil
		}
		if err := takeNoSamples(ctx, tx); err != nil {
			return fmt.Errorf("keeping sealed values out of the server's statistics: %w", err)
		}
		return nil
	})
}

// takeNoSamples keeps PostgreSQL from copying sealed values to its statistics: they would
// remain there when the tables are written again without them.
func takeNoSamples(ctx context.Context, tx bun.Tx) error {
	var columns []struct{ Tab, Col string }
	err := tx.NewRaw("SELECT c.relname AS tab, a.attname AS col FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"+
		" WHERE c.relnamespace = current_schema()::regnamespace AND c.relname IN (?) AND a.atttypid = 'bytea'::regtype AND a.attnum > 0"+
		" AND NOT a.attisdropped AND a.attstattarget IS DISTINCT FROM 0", bun.List(remainIn)).Scan(ctx, &columns)
	if err != nil {
		return err
	}
	for _, c := range columns {
		if _, err := tx.ExecContext(ctx, "ALTER TABLE ? ALTER COLUMN ? SET STATISTICS 0", bun.Ident(c.Tab), bun.Ident(c.Col)); err != nil {
			return err
		}
	}
	return nil
}

// addMACs adds the column mac to a table. See bindRows for its content.
func addMACs(ctx context.Context, tx bun.Tx, table string, sqlite bool) error {
	has, err := hasColumn(ctx, tx, table, "mac", sqlite)
	if err != nil || has {
		return err
	}
	_, err = tx.ExecContext(ctx, "ALTER TABLE "+table+" ADD COLUMN mac VARCHAR NOT NULL DEFAULT ''")
	return err
}

// addColumns adds the columns that an earlier version did not have to a table.
func addColumns(ctx context.Context, tx bun.Tx, table string, sqlite bool, columns ...string) error {
	for _, column := range columns {
		name, _, _ := strings.Cut(column, " ")
		has, err := hasColumn(ctx, tx, table, name, sqlite)
		if err == nil && !has {
			_, err = tx.ExecContext(ctx, "ALTER TABLE "+table+" ADD COLUMN "+column)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func hasColumn(ctx context.Context, tx bun.Tx, table, column string, sqlite bool) (bool, error) {
	query := "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = ? AND column_name = ?"
	if sqlite {
		query = "SELECT count(*) FROM pragma_table_info(?) WHERE name = ?"
	}
	var n int
	if err := tx.NewRaw(query, table, column).Scan(ctx, &n); err != nil {
		return false, fmt.Errorf("inspecting the columns of %s: %w", table, err)
	}
	return n > 0, nil
}

// addTags adds the column tag to the table of personal keys. Before, a person had one key
// forever; that key has no tag.
func addTags(ctx context.Context, tx bun.Tx, sqlite bool) error {
	has, err := hasColumn(ctx, tx, "vault_subjects", "tag", sqlite)
	if err != nil || has {
		return err
	}
	statements := []string{
		"ALTER TABLE vault_subjects ADD COLUMN tag VARCHAR NOT NULL DEFAULT ''",
		"ALTER TABLE vault_subjects DROP CONSTRAINT vault_subjects_pkey",
		"ALTER TABLE vault_subjects ADD PRIMARY KEY (subject, tag)",
	}
	if sqlite {
		statements = []string{
			"CREATE TABLE vault_subjects_tagged (subject VARCHAR NOT NULL, tag VARCHAR NOT NULL, \"key\" BLOB NOT NULL, PRIMARY KEY (subject, tag))",
			"INSERT INTO vault_subjects_tagged SELECT subject, '', \"key\" FROM vault_subjects",
			"DROP TABLE vault_subjects",
			"ALTER TABLE vault_subjects_tagged RENAME TO vault_subjects",
		}
	}
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Exists reports whether there is a vault in the database. It changes nothing.
func Exists(ctx context.Context, db *bun.DB) (bool, error) {
	there, err := hasTable(ctx, db, "vault_settings")
	if err != nil || !there {
		return false, err
	}
	exists, err := db.NewSelect().Model((*setting)(nil)).Where("name = ?", settingNaming).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking up the vault: %w", err)
	}
	return exists, nil
}

func hasTable(ctx context.Context, db *bun.DB, name string) (bool, error) {
	query := "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ?"
	if isSQLite(db) {
		query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	}
	var n int
	if err := db.NewRaw(query, name).Scan(ctx, &n); err != nil {
		return false, fmt.Errorf("looking up the vault: %w", err)
	}
	return n > 0, nil
}
