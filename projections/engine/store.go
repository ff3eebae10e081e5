package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"latchkey/eventstore"
)

// Config configures a Store.
type Config struct {
	// Database is "sqlite" (the file projections.db in Dir), "sqlite:" and a
	// path, or a connection string of PostgreSQL.
	Database string
	Dir      string
	Logger   *slog.Logger // nil: none

	Events Events
	Models []*Projection
	// Followers are the names of the checkpoints of followers, which have no rows. They
	// are frozen.
	Followers []string
	// Migrations are the steps by which the tables got their form, in order.
	Migrations []Migration
}

// Store is the database of the read models. It is safe for concurrent use, also by
// several processes.
type Store struct {
	sqlite bool
	// queries is for reading. On SQLite, writes has the only connection that writes; on
	// PostgreSQL its commits do not wait for the disk, as what a crash loses is rebuilt
	// from the log, rows and checkpoint alike.
	queries *bun.DB
	writes  *bun.DB
	// Prepared statements of each.
	asked, written *statements
	logger         *slog.Logger
	file           string                // of SQLite
	damage         atomic.Pointer[error] // see noticed

	events    Events
	models    []*Projection
	followers []string
}

// Open opens the database and creates missing tables.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{logger: cfg.Logger, events: cfg.Events, models: cfg.Models, followers: cfg.Followers}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if err := s.prepare(ctx, cfg); err != nil {
		return nil, s.advised(err)
	}
	mixed, err := s.mixed(ctx)
	copied := false
	if err == nil {
		copied, err = s.copied(ctx)
	}
	switch {
	case err != nil:
	case mixed:
		s.logger.Warn("the read models' file and its write-ahead log are from different times; rebuilding the read models from the log")
		err = s.remake(ctx, cfg)
	case copied:
		s.logger.Warn("the read models' file is a copy, which may be of different times; rebuilding the read models from the log")
		err = s.remake(ctx, cfg)
	}
	if err == nil {
		err = s.addModels(ctx)
	}
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return nil, errors.Join(s.advised(fmt.Errorf("opening the read models: %w", err)), s.Close())
	}
	return s, nil
}

// prepare connects and creates missing tables.
func (s *Store) prepare(ctx context.Context, cfg Config) error {
	if err := s.connect(cfg); err != nil {
		return fmt.Errorf("opening the read models: %w", err)
	}
	s.asked, s.written = newStatements(s.queries.DB), newStatements(s.writes.DB)
	if err := s.migrate(ctx, cfg.Migrations); err != nil {
		return errors.Join(fmt.Errorf("preparing the read models: %w", err), s.Close())
	}
	return nil
}

// sqlitePath returns the file of the read models, if they are in one.
func (cfg Config) sqlitePath() (path string, ok bool) {
	if cfg.Database == "sqlite" {
		return filepath.Join(cfg.Dir, "projections.db"), true
	}
	return strings.CutPrefix(cfg.Database, "sqlite:")
}

func (s *Store) connect(cfg Config) (err error) {
	path, isPath := cfg.sqlitePath()
	switch {
	case isPath:
		s.sqlite, s.file = true, path
		if s.writes, err = OpenSQLite(path); err != nil {
			return err
		}
		s.writes.SetMaxOpenConns(1)
		s.queries, err = OpenSQLite(path)
		return err
	case strings.HasPrefix(cfg.Database, "postgres://"), strings.HasPrefix(cfg.Database, "postgresql://"):
		if s.queries, err = openPostgres(cfg.Database, 16, nil); err != nil {
			return err
		}
		s.writes, err = openPostgres(cfg.Database, 8, map[string]string{
			"synchronous_commit": "off",
		})
		return err
	}
	return errors.New(`the database must be "sqlite", "sqlite:" and a path, or begin with postgres://`) // may contain a password: not repeated
}

// busyTimeout is how long SQLite waits for another writing process.
const busyTimeout = 5 * time.Second

// idleFor is how long an unused connection is kept: it has megabytes of cache.
const idleFor = 10 * time.Second

// OpenSQLite opens a file with the read models' settings: a write-ahead log, foreign
// keys, and transactions that take the write lock at once unless they are read-only.
func OpenSQLite(path string) (*bun.DB, error) {
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)", "cache_size(-4096)",
	}}
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: pragmas.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	db.SetConnMaxIdleTime(idleFor)
	if err := db.Ping(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), db.Close())
	}
	return bun.NewDB(db, sqlitedialect.New()), nil
}

// serverTimeouts end, on PostgreSQL's side, the transactions of a process that was
// stopped in the middle of one, or whose machine was lost: otherwise its locks would
// stay. Times are in milliseconds, those of keepalives in seconds; the TCP settings have
// no effect on a Unix socket.
var serverTimeouts = map[string]string{
	"idle_in_transaction_session_timeout": "3000",
	"tcp_user_timeout":                    "10000",
	"tcp_keepalives_idle":                 "5",
	"tcp_keepalives_interval":             "2",
	"tcp_keepalives_count":                "3",
}

const (
	// connectTimeout limits how long connecting may take.
	connectTimeout = 5 * time.Second
	// silentFor is how long a server may leave what it was sent unacknowledged.
	silentFor = 10 * time.Second
)

// dialer makes connections that end when their server stops acknowledging, even without
// an error.
func dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control:         boundSilence,
	}
}

func openPostgres(dsn string, most int, params map[string]string) (*bun.DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("the connection string of PostgreSQL is not valid") // its error would quote it
	}
	for _, list := range []map[string]string{serverTimeouts, params} {
		for name, value := range list {
			cfg.RuntimeParams[name] = value
		}
	}
	cfg.DialFunc = dialer().DialContext
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return bun.NewDB(db, pgdialect.New()), nil
}

// DB returns the database, for other data in it. Its commits are on the disk.
func (s *Store) DB() *bun.DB { return s.queries }

// Ping checks whether the database responds.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.queries.PingContext(ctx); err != nil {
		return fmt.Errorf("pinging the read models' database: %w", err)
	}
	return nil
}

// Close closes every connection.
func (s *Store) Close() error {
	var errs []error
	for _, k := range []*statements{s.written, s.asked} {
		if k != nil {
			errs = append(errs, k.close())
		}
	}
	for _, db := range []*bun.DB{s.writes, s.queries} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Read runs queries of some read models in one state of them, in which each has seen the
// log up to a position, whichever process wrote it; otherwise it returns ErrBehind.
func (s *Store) Read(ctx context.Context, models []string, atLeast eventstore.Position, f func(ctx context.Context, tx bun.Tx) error) error {
	return s.ReadPage(ctx, models, Page{AtLeast: atLeast}, f)
}

// ReadPage is Read for a page, and sets what its read models have seen.
func (s *Store) ReadPage(ctx context.Context, models []string, p Page, f func(ctx context.Context, tx bun.Tx) error) error {
	err := s.queries.RunInTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.snapshot()}, func(ctx context.Context, tx bun.Tx) error {
		if err := s.pin(ctx, tx, models); err != nil {
			return err
		}
		if err := reached(ctx, tx, models, p); err != nil {
			return err
		}
		return f(ctx, tx)
	})
	return s.noticed(err)
}

// reached returns ErrBehind unless each read model has seen the position of a page, in the
// transaction's snapshot.
func reached(ctx context.Context, tx bun.Tx, models []string, p Page) error {
	if p.AtLeast == 0 && p.Seen == nil {
		return nil
	}
	seen, err := seenIn(ctx, tx, models)
	if err == nil {
		err = seen.behind(p.AtLeast)
	}
	if err == nil && p.Seen != nil {
		*p.Seen = seen
	}
	return err
}

// pin keeps a rebuild from swapping the tables before the transaction ends. It must be
// the transaction's first statement: PostgreSQL looks up tables by name at each
// statement, whatever snapshot the transaction has of their rows.
func (s *Store) pin(ctx context.Context, tx bun.Tx, models []string) error {
	if s.sqlite { // the snapshot covers the names, too
		return nil
	}
	names, err := s.tablesOf(models)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS SHARE MODE"); err != nil {
		return fmt.Errorf("pinning tables: %w", err)
	}
	return nil
}

// snapshot is the lowest isolation level at which all statements of a transaction see one
// state.
func (s *Store) snapshot() sql.IsolationLevel {
	if s.sqlite {
		return sql.LevelDefault
	}
	return sql.LevelRepeatableRead
}

// write runs f in one transaction that may write.
func (s *Store) write(ctx context.Context, f func(ctx context.Context, tx bun.Tx) error) error {
	err := s.writes.RunInTx(ctx, nil, f)
	if err == nil {
		s.written.prepareWanted(ctx)
	}
	return s.noticed(err)
}

func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
