package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/uptrace/bun"
)

// statements keeps the statements of every event prepared: SQLite's parser takes longer
// than most of their execution. PostgreSQL's driver does the same by itself.
type statements struct {
	db *sql.DB

	mu     sync.Mutex
	kept   map[string]*sql.Stmt
	wanted map[string]struct{} // by transactions, which keep no statement themselves
}

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, kept: map[string]*sql.Stmt{}, wanted: map[string]struct{}{}}
}

// get prepares a statement, once. It is not for transactions: those on the only
// connection would wait for themselves.
func (k *statements) get(ctx context.Context, q string) (*sql.Stmt, error) {
	k.mu.Lock()
	stmt, ok := k.kept[q]
	k.mu.Unlock()
	if ok {
		return stmt, nil
	}
	stmt, err := k.db.PrepareContext(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("preparing %.60q: %w", q, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if other, ok := k.kept[q]; ok { // another caller was faster
		return other, stmt.Close() //nolint:sqlclosecheck // the other one is kept
	}
	k.kept[q] = stmt
	return stmt, nil
}

// find returns a prepared statement, and records that it is wanted if it is not prepared.
func (k *statements) find(q string) (*sql.Stmt, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	stmt, ok := k.kept[q]
	if !ok {
		k.wanted[q] = struct{}{}
	}
	return stmt, ok
}

// prepareWanted prepares what transactions wanted. What cannot be prepared now is
// recorded again.
func (k *statements) prepareWanted(ctx context.Context) {
	k.mu.Lock()
	wanted := slices.Collect(maps.Keys(k.wanted))
	clear(k.wanted)
	k.mu.Unlock()
	for _, q := range wanted {
		_, _ = k.get(ctx, q) //nolint:sqlclosecheck // it is kept
	}
}

func (k *statements) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for _, stmt := range k.kept {
		errs = append(errs, stmt.Close())
	}
	clear(k.kept)
	return errors.Join(errs...)
}

// placed writes the parameters of a statement, $1 and so on, in the database's form.
func (s *Store) placed(q string) string {
	if s.sqlite {
		return strings.ReplaceAll(q, "$", "?")
	}
	return q
}

// Prepared returns a statement with parameters $1 and so on, for use outside of
// transactions. It stays prepared until the store is closed: callers do not close it.
func (s *Store) Prepared(ctx context.Context, q string) (*sql.Stmt, error) {
	return s.asked.get(ctx, s.placed(q))
}

// Ask runs a query for one value, outside transactions, and reports whether there is one.
func (s *Store) Ask(ctx context.Context, into any, q string, args ...any) (found bool, err error) {
	stmt, err := s.Prepared(ctx, q) //nolint:sqlclosecheck // it is kept
	if err != nil {
		return false, err
	}
	err = stmt.QueryRowContext(ctx, args...).Scan(into)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// within returns the transaction's own copy of a prepared statement, nil if there is none
// yet.
func (s *Store) within(ctx context.Context, tx bun.Tx, q string) *sql.Stmt {
	if !s.sqlite {
		return nil
	}
	stmt, ok := s.written.find(q)
	if !ok {
		return nil
	}
	return tx.Tx.StmtContext(ctx, stmt) //nolint:sqlclosecheck // it is closed with the transaction
}

func (s *Store) execIn(ctx context.Context, tx bun.Tx, q string, args ...any) error {
	var err error
	if stmt := s.within(ctx, tx, q); stmt != nil { //nolint:sqlclosecheck // it is closed with the transaction
		_, err = stmt.ExecContext(ctx, args...)
	} else {
		_, err = tx.Tx.ExecContext(ctx, q, args...)
	}
	if err != nil {
		return fmt.Errorf("running %.60q: %w", q, err)
	}
	return nil
}

func (s *Store) queryIn(ctx context.Context, tx bun.Tx, q string, args ...any) (rows *sql.Rows, err error) {
	if stmt := s.within(ctx, tx, q); stmt != nil { //nolint:sqlclosecheck // it is closed with the transaction
		rows, err = stmt.QueryContext(ctx, args...)
	} else {
		rows, err = tx.Tx.QueryContext(ctx, q, args...)
	}
	if err != nil {
		return nil, fmt.Errorf("running %.60q: %w", q, err)
	}
	return rows, nil
}
