package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"

	"latchkey/internal/sum"
	"latchkey/projections"
	"latchkey/projections/access"
)

// benchLoad measures how long the index takes to load from the privileges read model,
// compared with a scan of the same tables that ignores the rows.
func benchLoad(b *bench) error {
	list := grants(b.scaled(10_000_000))
	pg, err := startPostgres(b)
	if err != nil {
		return err
	}
	defer pg.stop()
	for _, d := range []struct{ name, dsn string }{
		{"SQLite", "sqlite:" + filepath.Join(b.dir, "load.db")},
		{"PostgreSQL", pg.dsn},
	} {
		if err := b.loadGrants(d.name, d.dsn, list); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

func (b *bench) loadGrants(name, dsn string, list []grant) error {
	s, err := projections.Open(b.ctx, projections.OpenConfig{Database: dsn})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := fillPrivileges(b.ctx, s.DB(), list); err != nil {
		return fmt.Errorf("filling: %w", err)
	}
	var bare, ours time.Duration
	for range 3 { // the best of each: the first scan finds a cold cache
		scanned, err := bareScan(b.ctx, s.DB())
		if err != nil {
			return fmt.Errorf("scanning: %w", err)
		}
		loaded, err := loadIndex(b.ctx, s)
		if err != nil {
			return fmt.Errorf("loading: %w", err)
		}
		bare, ours = least(bare, scanned), least(ours, loaded)
	}
	b.add(fmt.Sprintf("load %d grants, %s", len(list), name), ours.Round(time.Millisecond).String(), "bare scan "+bare.Round(time.Millisecond).String(), ours.Seconds()/bare.Seconds(), "at most 1.3")
	return nil
}

func least(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

func loadIndex(ctx context.Context, s *projections.Store) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x, err := access.New(access.Config{Source: s, Log: &feed{}, MaxStaleness: time.Hour})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	err = untilLive(ctx, x)
	return time.Since(began), err
}

// bareScan reads the tables as fast as their driver can.
func bareScan(ctx context.Context, db *bun.DB) (time.Duration, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	for _, q := range []string{"SELECT no, account, sum FROM privilege_accounts", "SELECT no, device, owner, live, sum FROM privilege_devices", "SELECT entry, mask FROM privileges"} {
		if err := conn.Raw(func(c any) error { return scanAll(ctx, c, q) }); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

func scanAll(ctx context.Context, conn any, q string) error {
	if c, ok := conn.(*stdlib.Conn); ok {
		rows, err := c.Conn().Query(ctx, q)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		return rows.Err()
	}
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, q, nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	values := make([]driver.Value, len(rows.Columns()))
	for err == nil {
		err = rows.Next(values)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// fillPrivileges writes the rows that the read model has for these grants.
func fillPrivileges(ctx context.Context, db *bun.DB, list []grant) error {
	accounts, devices := uint32(0), uint32(0)
	for _, g := range list {
		accounts, devices = max(accounts, g.account+1), max(devices, g.device+1)
	}
	owner := int64(accounts + 1)
	for _, t := range []struct {
		name    string
		columns []string
		n       int
		row     func(i int) []any
	}{
		{"privilege_accounts", []string{"no", "account", "sum"}, int(owner), func(i int) []any { return sum.Row(int64(i+1), string(accountID(uint32(i)))) }},
		{"privilege_devices", []string{"no", "device", "owner", "live", "sum"}, int(devices), func(i int) []any {
			return sum.Row(int64(i+1), string(deviceID(uint32(i))), owner, int64(1))
		}},
		{"privileges", []string{"entry", "mask"}, len(list), func(i int) []any {
			g := list[i]
			entry := int64(g.account+1)<<33 | int64(g.device+1)<<9 | int64(g.channel)
			return []any{entry, sum.Mask(entry, g.mask)}
		}},
	} {
		if err := fillTable(ctx, db, t.name, t.columns, t.n, t.row); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	_, err := db.NewRaw("UPDATE projection_checkpoints SET accounts = ?, devices = ?, sum = 0 WHERE name = 'privileges'", owner, int64(devices)).Exec(ctx)
	if err != nil {
		return err
	}
	if db.Dialect().Name().String() == "pg" {
		_, err := db.ExecContext(ctx, "VACUUM ANALYZE privileges") // as it has after a while
		return err
	}
	return nil
}

func fillTable(ctx context.Context, db *bun.DB, name string, columns []string, n int, row func(i int) []any) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if db.Dialect().Name().String() == "pg" {
		return conn.Raw(func(c any) error {
			_, err := c.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{name}, columns, pgx.CopyFromSlice(n, func(i int) ([]any, error) { return row(i), nil }))
			return err
		})
	}
	return conn.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		stmt, err := tx.Tx.PrepareContext(ctx, "INSERT INTO "+name+" ("+strings.Join(columns, ", ")+") VALUES (?"+strings.Repeat(", ?", len(columns)-1)+")")
		if err != nil {
			return err
		}
		defer stmt.Close()
		for i := range n {
			if _, err := stmt.ExecContext(ctx, row(i)...); err != nil {
				return err
			}
		}
		return nil
	})
}
