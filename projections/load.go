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
)

// Loader takes what the read model of privileges holds. Numbers are the read
// model's own; an account or a device comes before what refers to it. Channel 0
// says that an account sees a device. Keys that were revoked are left out.
type Loader struct {
	Account func(no uint32, id string)
	Device  func(no uint32, id string, owner uint32, live bool)
	Grant   func(account, device uint32, channel uint16, mask uint8)
	Domain  func(account, device uint32, domain string)
	Key     func(name string, account uint32, device string, expires time.Time)
}

// LoadPrivileges gives the loader the rows of the read model of privileges, as
// they are at the position in the log that it answers.
func (s *Store) LoadPrivileges(ctx context.Context, l Loader) (position uint64, err error) {
	conn, err := s.queries.Conn(ctx)
	if err != nil {
		return 0, fmt.Errorf("loading privileges: %w", err)
	}
	defer conn.Close()
	err = conn.RunInTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.snapshot()}, func(ctx context.Context, tx bun.Tx) error {
		if err := s.pin(ctx, tx, privileges); err != nil {
			return err
		}
		c := &checkpoint{Name: Privileges}
		if err := tx.NewSelect().Model(c).WherePK().Scan(ctx); err != nil {
			return err
		}
		position = uint64(c.Position)
		if err := loadNumbers(ctx, tx, l); err != nil {
			return err
		}
		if err := conn.Raw(func(driverConn any) error { return loadGrants(ctx, driverConn, l) }); err != nil {
			return err
		}
		return loadNames(ctx, tx, l)
	})
	if err != nil {
		return 0, fmt.Errorf("loading privileges: %w", err)
	}
	return position, nil
}

// pin keeps a rebuild from swapping the tables before the transaction ends. It
// must be the transaction's first statement: PostgreSQL looks tables up by name
// at each statement, whatever state the transaction sees of their rows.
func (s *Store) pin(ctx context.Context, tx bun.Tx, p *projection) error {
	if s.sqlite { // what a transaction sees holds for the names too
		return nil
	}
	for _, t := range p.tables {
		if _, err := tx.ExecContext(ctx, "LOCK TABLE "+t.name+" IN ACCESS SHARE MODE"); err != nil {
			return fmt.Errorf("pinning the table %s: %w", t.name, err)
		}
	}
	return nil
}

func loadNumbers(ctx context.Context, tx bun.Tx, l Loader) error {
	err := scan(ctx, tx, "SELECT no, account FROM privilege_accounts", func(no int64, id string) { l.Account(uint32(no), id) })
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT no, device, owner, live FROM privilege_devices")
	if err != nil {
		return err
	}
	for rows.Next() {
		var no, owner, live int64
		var id string
		if err := rows.Scan(&no, &id, &owner, &live); err != nil {
			return errors.Join(err, rows.Close())
		}
		l.Device(uint32(no), id, uint32(owner), live != 0)
	}
	return errors.Join(rows.Err(), rows.Close())
}

// namesQuery reads what accounts call the devices that live; a dead one must not
// keep its name from another.
var namesQuery = fmt.Sprintf(`SELECT s.pair, s.domain FROM privilege_shares AS s
	JOIN privilege_devices AS d ON d.no = s.pair & %d AND d.live = 1 WHERE s.domain <> ''`, maxNumber)

func loadNames(ctx context.Context, tx bun.Tx, l Loader) error {
	err := scan(ctx, tx, namesQuery, func(pair int64, domain string) {
		l.Domain(uint32(pair>>deviceBits), uint32(pair&maxNumber), domain)
	})
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT name, account, device, expires FROM privilege_keys WHERE account <> 0")
	if err != nil {
		return err
	}
	for rows.Next() {
		var name, device string
		var account, expires int64
		if err := rows.Scan(&name, &account, &device, &expires); err != nil {
			return errors.Join(err, rows.Close())
		}
		l.Key(name, uint32(account), device, fromMicros(expires))
	}
	return errors.Join(rows.Err(), rows.Close())
}

// scan reads rows of a number and a text.
func scan(ctx context.Context, tx bun.Tx, q string, each func(int64, string)) error {
	rows, err := tx.QueryContext(ctx, q)
	if err != nil {
		return err
	}
	for rows.Next() {
		var n int64
		var text string
		if err := rows.Scan(&n, &text); err != nil {
			return errors.Join(err, rows.Close())
		}
		each(n, text)
	}
	return errors.Join(rows.Err(), rows.Close())
}

func (l Loader) grant(entry, mask int64) {
	l.Grant(uint32(entry>>(deviceBits+channelBits)), uint32(entry>>channelBits&maxNumber), uint16(entry&(1<<channelBits-1)), uint8(mask))
}

// loadGrants reads the one table that is large, of whose rows there may be tens
// of millions, past database/sql.
func loadGrants(ctx context.Context, conn any, l Loader) error {
	const q = "SELECT entry, mask FROM privileges"
	switch c := conn.(type) {
	case *stdlib.Conn:
		return loadPostgres(ctx, c.Conn(), q, l)
	case driver.QueryerContext:
		return loadSQLite(ctx, c, q, l)
	}
	return fmt.Errorf("scanning grants: %T cannot be asked", conn)
}

func loadSQLite(ctx context.Context, c driver.QueryerContext, q string, l Loader) error {
	rows, err := c.QueryContext(ctx, q, nil)
	if err != nil {
		return fmt.Errorf("scanning grants: %w", err)
	}
	defer rows.Close()
	values := make([]driver.Value, 2)
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("scanning grants: %w", err)
		}
		entry, ok := values[0].(int64)
		mask, ok2 := values[1].(int64)
		if !ok || !ok2 {
			return fmt.Errorf("scanning grants: a row of %T and %T", values[0], values[1])
		}
		l.grant(entry, mask)
	}
}

func loadPostgres(ctx context.Context, c *pgx.Conn, q string, l Loader) error {
	rows, err := c.Query(ctx, q)
	if err != nil {
		return fmt.Errorf("scanning grants: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		v := rows.RawValues() // in binary: 64 bits, the first byte first
		if len(v) != 2 || len(v[0]) != 8 || len(v[1]) != 8 {
			return errors.New("scanning grants: a row of another form")
		}
		l.grant(int64(binary.BigEndian.Uint64(v[0])), int64(binary.BigEndian.Uint64(v[1])))
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("scanning grants: %w", err)
	}
	return nil
}
