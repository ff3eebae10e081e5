package projections

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
	"latchkey/internal/sum"
	"latchkey/projections/access"
)

// LoadPrivileges gives the loader the rows of the read model of privileges, as
// they are at the position in the log that it returns, with their mark. There may
// be tens of millions of them, so they are read past database/sql. If one of them
// is damaged, the read model is made empty, to come from the log again.
func (s *Store) LoadPrivileges(ctx context.Context, l access.Loader) (position uint64, mark eventstore.Mark, err error) {
	c := &checkpoint{Name: Privileges}
	err = s.loadPrivileges(ctx, c, l)
	if errors.Is(err, errDamaged) {
		l.Again()
		if err = s.heal(ctx, Privileges, c.Generation, err); err == nil {
			err = s.loadPrivileges(ctx, c, l)
		}
	}
	if err != nil {
		return 0, eventstore.Mark{}, fmt.Errorf("loading privileges: %w", s.advised(s.noticed(err)))
	}
	return uint64(c.Position), c.mark(), nil
}

func (s *Store) loadPrivileges(ctx context.Context, c *checkpoint, l access.Loader) (err error) {
	conn, err := s.queries.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.RunInTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.snapshot()}, func(ctx context.Context, tx bun.Tx) error {
		if err := s.pin(ctx, tx, []*projection{privileges}); err != nil {
			return err
		}
		if err := tx.NewSelect().Model(c).WherePK().Scan(ctx); err != nil {
			return err
		}
		if err := c.sound(); err != nil {
			return err
		}
		if l.Begin != nil {
			if err := l.Begin(uint64(c.Position), c.Lacks != 0); err != nil {
				return err
			}
		}
		return conn.Raw(func(driverConn any) error {
			return load(ctx, driverConn, l, numbers{accounts: c.Accounts, devices: c.Devices})
		})
	})
}

// namesQuery reads what accounts call the devices that live; a dead one must not
// keep its name from another.
var namesQuery = fmt.Sprintf(`SELECT s.pair, d.device, s.domain FROM privilege_shares AS s
	JOIN privilege_devices AS d ON d.no = s.pair & %d AND d.live = 1 WHERE s.domain <> ''`, maxNumber)

// load reads every table, on the driver's own connection. Every account and device
// that has a number must be there.
func load(ctx context.Context, conn any, l access.Loader, want numbers) error {
	var seen numbers
	for _, t := range []struct {
		query string
		row   func(r *cells)
	}{
		{"SELECT entry, mask FROM privileges", func(r *cells) {
			entry := r.number(0)
			mask, ok := sum.MaskOf(entry, r.number(1))
			if r.check(ok) {
				l.Grant(uint32(entry>>(deviceBits+channelBits)), uint32(entry>>channelBits&maxNumber), uint16(entry&(1<<channelBits-1)), mask)
			}
		}},
		{"SELECT no, account, sum FROM privilege_accounts", func(r *cells) {
			no, id := r.number(0), r.text(1)
			if r.check(r.number(2) == sum.Of(no, id)) {
				seen.accounts++
				l.Account(uint32(no), id)
			}
		}},
		{"SELECT no, device, owner, live, sum FROM privilege_devices", func(r *cells) {
			no, id, owner, live := r.number(0), r.text(1), r.number(2), r.number(3)
			if r.check(r.number(4) == sum.Of(no, id, owner, live)) {
				seen.devices++
				l.Device(uint32(no), id, uint32(owner), live != 0)
			}
		}},
		{namesQuery, func(r *cells) {
			l.Domain(uint32(r.number(0)>>deviceBits), uint32(r.number(0)&maxNumber), r.text(1), r.text(2))
		}},
		{"SELECT k.name, k.account, k.device, k.expires, k.sum, coalesce(a.account, '') FROM privilege_keys AS k LEFT JOIN privilege_accounts AS a ON a.no = k.account", func(r *cells) {
			name, account, device, expires := r.text(0), r.number(1), r.text(2), r.number(3)
			if r.check(r.number(4) == sum.Of(name, account, device, expires)) {
				l.Key(name, r.text(5), device, fromMicros(expires))
			}
		}},
	} {
		if err := scan(ctx, conn, t.query, t.row); err != nil {
			return fmt.Errorf("running %.50q: %w", t.query, err)
		}
	}
	if seen != want {
		return fmt.Errorf("%w: there are %d accounts and %d devices, and %d and %d have a number", errDamaged, seen.accounts, seen.devices, want.accounts, want.devices)
	}
	return nil
}

// cells is a row as its driver has it.
type cells struct {
	values []driver.Value // of SQLite
	raw    [][]byte       // of PostgreSQL, in binary
	bad    bool           // a cell was not what it should be
}

// check notes whether the row fits its sum; false: it must not be used.
func (c *cells) check(ok bool) bool {
	c.bad = c.bad || !ok
	return !c.bad
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
			return errDamaged
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
			return errDamaged
		}
	}
	return rows.Err()
}
