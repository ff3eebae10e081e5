package engine

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"latchkey/eventstore"
)

// Statement writes one row.
type Statement struct {
	Query string
	Args  []any
}

// Recording is a Player into an SQLite file that writes down what it writes.
type Recording struct {
	*Player
	store *Store
	log   *[]Statement
}

// NewRecording begins at the start of the log. The store is that of the file.
func NewRecording(ctx context.Context, s *Store, path, name string) (*Recording, error) {
	log := &[]Statement{}
	sqlite := s.writes.DB
	s.writes = bun.NewDB(sql.OpenDB(recordingConnector{sqlite.Driver(), path, log}), sqlitedialect.New())
	s.writes.SetMaxOpenConns(1)
	if err := sqlite.Close(); err != nil {
		return nil, err
	}
	s.written = newStatements(sqlite) // it is closed, and so nothing is kept prepared: what is written passes the connector
	p, err := NewPlayer(ctx, s, name)
	return &Recording{p, s, log}, err
}

// Written returns what was written since the last call, a statement for each row.
func (r *Recording) Written() []Statement {
	var out []Statement
	for _, s := range *r.log {
		out = append(out, single(s)...)
	}
	*r.log = nil
	return out
}

// Backlog is the store's.
func (r *Recording) Backlog() int { return r.store.backlog() }

// Close closes the file.
func (r *Recording) Close() error { return r.store.Close() }

// single makes a statement of many rows many statements.
func single(s Statement) []Statement {
	at := strings.Index(s.Query, "VALUES (")
	if at < 0 {
		return []Statement{s}
	}
	at += len("VALUES ")
	one := s.Query[at : at+strings.Index(s.Query[at:], ")")+1]
	columns := strings.Count(one, "?")
	rows := len(s.Args) / columns
	q := strings.Replace(s.Query, strings.Repeat(", "+one, rows-1), "", 1)
	out := make([]Statement, rows)
	for i := range out {
		out[i] = Statement{q, s.Args[i*columns : (i+1)*columns]}
	}
	return out
}

type recordingConnector struct {
	driver driver.Driver
	path   string
	log    *[]Statement
}

func (c recordingConnector) Driver() driver.Driver { return c.driver }

func (c recordingConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open("file:" + c.path + "?_txlock=immediate")
	return recordingConn{conn, c.log}, err
}

type recordingConn struct {
	driver.Conn
	log *[]Statement
}

func (c recordingConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (c recordingConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, q, args)
}

func (c recordingConn) ExecContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, q, args)
}

func (c recordingConn) PrepareContext(ctx context.Context, q string) (driver.Stmt, error) {
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, q)
	return recordingStmt{stmt, q, c.log}, err
}

type recordingStmt struct {
	driver.Stmt
	query string
	log   *[]Statement
}

func (s recordingStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a.Value
	}
	*s.log = append(*s.log, Statement{s.query, values})
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

// TimeFold measures how long it takes to fold decoded events in memory, for a read
// model that reads no row; else it is 0.
func TimeFold(s *Store, name string, events []eventstore.Recorded) (time.Duration, error) {
	p := s.find(name)
	f, ok := p.newReducer().(folding)
	if !ok {
		return 0, nil
	}
	list, err := s.events.decode(events, p.reads)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	f.fold(list)
	return time.Since(began), nil
}

// CopyRows measures how long it takes to copy the rows of a read model, which
// are in memory, into empty tables, and to index these.
func CopyRows(ctx context.Context, s *Store, dsn, name string) (took time.Duration, err error) {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	for _, t := range s.find(name).Tables {
		one, err := copyTable(ctx, c, t)
		if err != nil {
			return 0, fmt.Errorf("copying %s: %w", t.Name, err)
		}
		took += one
	}
	return took, nil
}

func copyTable(ctx context.Context, c *pgx.Conn, t *Table) (time.Duration, error) {
	found, err := c.Query(ctx, "TABLE "+t.Name)
	if err != nil {
		return 0, err
	}
	rows, err := pgx.CollectRows(found, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if err != nil {
		return 0, err
	}
	name := t.Name + "_copied"
	if _, err := c.Exec(ctx, "CREATE TABLE "+name+" (LIKE "+t.Name+")"); err != nil {
		return 0, err
	}
	var columns []string
	for _, c := range t.Columns {
		columns = append(columns, c.Name)
	}
	began := time.Now()
	tx, err := c.Begin(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{name}, columns, pgx.CopyFromRows(rows)); err != nil {
		return 0, err
	}
	for _, q := range append(t.createIndexes(name, 99), "ALTER TABLE "+name+" ADD PRIMARY KEY ("+strings.Join(columns[:t.Keys], ", ")+")") {
		if _, err := tx.Exec(ctx, q); err != nil {
			return 0, err
		}
	}
	return time.Since(began), tx.Commit(ctx)
}
