package engine

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Checkpoint is the position of a read model's rows, and its counts.
type Checkpoint struct {
	Position eventstore.Position
	Mark     eventstore.Mark
	Counts   Counts
}

// Scan reads a whole read model.
type Scan struct {
	// Begin is called before the rows. It may refuse them.
	Begin func(Checkpoint) error
	// Rows runs the queries, by Each. ErrDamaged: the read model is rebuilt from the log.
	Rows func(q *Scanner) error
	// Again is called when what was read must be discarded because it was damaged.
	Again func()
}

// ScanAll reads all rows of a read model in one state of it, bypassing database/sql:
// there may be tens of millions. If one of them is damaged, the read model is emptied, to
// be rebuilt from the log, and read as empty.
func (s *Store) ScanAll(ctx context.Context, name string, scan Scan) (Checkpoint, error) {
	c := &checkpoint{Name: name}
	err := s.scanAll(ctx, c, scan)
	if errors.Is(err, ErrDamaged) {
		scan.Again()
		if err = s.heal(ctx, name, c.Generation, err); err == nil {
			err = s.scanAll(ctx, c, scan)
		}
	}
	if err != nil {
		return Checkpoint{}, s.advised(s.noticed(err))
	}
	return c.public(), nil
}

func (s *Store) scanAll(ctx context.Context, c *checkpoint, scan Scan) (err error) {
	conn, err := s.queries.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.RunInTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.snapshot()}, func(ctx context.Context, tx bun.Tx) error {
		if err := s.pin(ctx, tx, []string{c.Name}); err != nil {
			return err
		}
		if err := tx.NewSelect().Model(c).WherePK().Scan(ctx); err != nil {
			return err
		}
		if err := c.sound(); err != nil {
			return err
		}
		if scan.Begin != nil {
			if err := scan.Begin(c.public()); err != nil {
				return err
			}
		}
		return conn.Raw(func(driverConn any) error { return scan.Rows(&Scanner{ctx, driverConn, c.public()}) })
	})
}

// Scanner runs queries on the driver's own connection.
type Scanner struct {
	ctx        context.Context
	conn       any
	Checkpoint Checkpoint // of the rows
}

// Each calls row for each row of a query. Rows are used before damage may be detected;
// then Each returns an error at the end, and everything must be discarded.
func (q *Scanner) Each(query string, row func(*Cells)) error {
	err := fmt.Errorf("a %T cannot be queried", q.conn)
	switch c := q.conn.(type) {
	case *stdlib.Conn:
		err = scanPostgres(q.ctx, c.Conn(), query, row)
	case driver.QueryerContext:
		err = scanSQLite(q.ctx, c, query, row)
	}
	return wrapped(fmt.Sprintf("running %.50q", query), err)
}

// Cells is a row in its driver's form.
type Cells struct {
	values []driver.Value // of SQLite
	raw    [][]byte       // of PostgreSQL, in binary
	bad    bool           // a cell was invalid
}

// Check reports whether the row matches its sum; if not, it must not be used.
func (c *Cells) Check(ok bool) bool {
	c.bad = c.bad || !ok
	return !c.bad
}

// Number returns the integer in a column.
func (c *Cells) Number(i int) int64 {
	if c.raw != nil {
		if len(c.raw[i]) != 8 {
			c.bad = true
			return 0
		}
		return int64(binary.BigEndian.Uint64(c.raw[i]))
	}
	n, ok := c.values[i].(int64)
	c.bad = c.bad || !ok
	return n
}

// Text returns the text in a column.
func (c *Cells) Text(i int) string {
	if c.raw != nil {
		return string(c.raw[i])
	}
	text, ok := c.values[i].(string)
	c.bad = c.bad || !ok
	return text
}

func scanSQLite(ctx context.Context, c driver.QueryerContext, query string, row func(*Cells)) (err error) {
	rows, err := c.QueryContext(ctx, query, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	r := Cells{values: make([]driver.Value, len(rows.Columns()))}
	for {
		if err := rows.Next(r.values); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if row(&r); r.bad {
			return ErrDamaged
		}
	}
}

func scanPostgres(ctx context.Context, c *pgx.Conn, query string, row func(*Cells)) error {
	rows, err := c.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := Cells{raw: rows.RawValues()}
		if row(&r); r.bad {
			return ErrDamaged
		}
	}
	return rows.Err()
}
