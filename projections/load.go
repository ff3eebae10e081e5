package projections

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Loader takes what the read model of privileges holds. Numbers are the read
// model's own. The grants come first, as they are the most. Channel 0
// says that an account sees a device; it is left out where there is a privilege
// on one of the first eight channels. A key without an account was revoked.
type Loader struct {
	Grant   func(account, device uint32, channel uint16, mask uint8)
	Account func(no uint32, id string)
	Device  func(no uint32, id string, owner uint32, live bool)
	Domain  func(account, device uint32, id, domain string)
	Key     func(name, account, device string, expires time.Time)
}

// LoadPrivileges gives the loader the rows of the read model of privileges, as
// they are at the position in the log that it returns, with their mark. There may
// be tens of millions of them, so they are read past database/sql.
func (s *Store) LoadPrivileges(ctx context.Context, l Loader) (position uint64, mark eventstore.Mark, err error) {
	conn, err := s.queries.Conn(ctx)
	if err != nil {
		return 0, eventstore.Mark{}, fmt.Errorf("loading privileges: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	err = conn.RunInTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.snapshot()}, func(ctx context.Context, tx bun.Tx) error {
		if err := s.pin(ctx, tx, []*projection{privileges}); err != nil {
			return err
		}
		c := &checkpoint{Name: Privileges}
		if err := tx.NewSelect().Model(c).WherePK().Scan(ctx); err != nil {
			return err
		}
		position, mark = uint64(c.Position), c.mark()
		return conn.Raw(func(driverConn any) error { return load(ctx, driverConn, l) })
	})
	if err != nil {
		return 0, eventstore.Mark{}, fmt.Errorf("loading privileges: %w", err)
	}
	return position, mark, nil
}

// namesQuery reads what accounts call the devices that live; a dead one must not
// keep its name from another.
var namesQuery = fmt.Sprintf(`SELECT s.pair, d.device, s.domain FROM privilege_shares AS s
	JOIN privilege_devices AS d ON d.no = s.pair & %d AND d.live = 1 WHERE s.domain <> ''`, maxNumber)

// load reads every table, on the driver's own connection.
func load(ctx context.Context, conn any, l Loader) error {
	for _, t := range []struct {
		query string
		row   func(r *cells)
	}{
		{"SELECT entry, mask FROM privileges", func(r *cells) {
			entry := r.number(0)
			l.Grant(uint32(entry>>(deviceBits+channelBits)), uint32(entry>>channelBits&maxNumber), uint16(entry&(1<<channelBits-1)), uint8(r.number(1)))
		}},
		{"SELECT no, account FROM privilege_accounts", func(r *cells) { l.Account(uint32(r.number(0)), r.text(1)) }},
		{"SELECT no, device, owner, live FROM privilege_devices", func(r *cells) {
			l.Device(uint32(r.number(0)), r.text(1), uint32(r.number(2)), r.number(3) != 0)
		}},
		{namesQuery, func(r *cells) {
			l.Domain(uint32(r.number(0)>>deviceBits), uint32(r.number(0)&maxNumber), r.text(1), r.text(2))
		}},
		{"SELECT k.name, coalesce(a.account, ''), k.device, k.expires FROM privilege_keys AS k LEFT JOIN privilege_accounts AS a ON a.no = k.account", func(r *cells) {
			l.Key(r.text(0), r.text(1), r.text(2), fromMicros(r.number(3)))
		}},
	} {
		if err := scan(ctx, conn, t.query, t.row); err != nil {
			return fmt.Errorf("running %.50q: %w", t.query, err)
		}
	}
	return nil
}

// cells is a row as its driver has it.
type cells struct {
	values []driver.Value // of SQLite
	raw    [][]byte       // of PostgreSQL, in binary
	bad    bool           // a cell was not what it should be
}

func (c *cells) number(i int) int64 {
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

func (c *cells) text(i int) string {
	if c.raw != nil {
		return string(c.raw[i])
	}
	text, ok := c.values[i].(string)
	c.bad = c.bad || !ok
	return text
}

var errCells = errors.New("a row has another form than its table")

// scan reads rows. What a row gives is used before it is known to be bad; then
// there is an error at the end, and all of it must be thrown away.
func scan(ctx context.Context, conn any, query string, row func(*cells)) error {
	switch c := conn.(type) {
	case *stdlib.Conn:
		return scanPostgres(ctx, c.Conn(), query, row)
	case driver.QueryerContext:
		return scanSQLite(ctx, c, query, row)
	}
	return fmt.Errorf("a %T cannot be asked", conn)
}

func scanSQLite(ctx context.Context, c driver.QueryerContext, query string, row func(*cells)) (err error) {
	rows, err := c.QueryContext(ctx, query, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	r := cells{values: make([]driver.Value, len(rows.Columns()))}
	for {
		if err := rows.Next(r.values); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if row(&r); r.bad {
			return errCells
		}
	}
}

func scanPostgres(ctx context.Context, c *pgx.Conn, query string, row func(*cells)) error {
	rows, err := c.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := cells{raw: rows.RawValues()}
		if row(&r); r.bad {
			return errCells
		}
	}
	return rows.Err()
}
