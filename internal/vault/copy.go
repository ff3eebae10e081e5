package vault

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// Row is a row of one of the vault's tables, the same for every database. A
// value is nil, a bool, an int64, a float64, a string or []byte.
type Row struct {
	Table  string
	Values map[string]any // by column
}

// Passing are the tables of what opens something for a while: sessions, codes,
// invitations, and the keys of devices for their alarms. An older copy of the vault revives those that were used or revoked since.
var Passing = []string{"vault_sessions", "vault_codes", "vault_share_codes", "vault_invitations", "vault_alarm_receivers"}

// openKeyTable is the master key's own table; it is copied as a key.
const openKeyTable = "vault_open_key"

// Snapshot runs f in a transaction that sees one state of the vault, without blocking
// writers.
func Snapshot(ctx context.Context, db *bun.DB, f func(ctx context.Context, tx bun.Tx) error) error {
	o := &sql.TxOptions{ReadOnly: true}
	if db.Dialect().Name() != dialect.SQLite { // a transaction there sees one state anyway
		o.Isolation = sql.LevelRepeatableRead
	}
	return db.RunInTx(ctx, o, f)
}

// inNoBackup are the tables of what is of the moment: messages and notices, since a backup
// that is put back must not send again what was sent; alarms; browsers, which end with
// their sessions; and which process does what.
var inNoBackup = []string{"vault_outbox", "vault_notices", "vault_alarms", "vault_alarm_copies", "vault_alarm_count", "vault_pushes", "vault_leases"}

// Dump gives every row of the vault's tables to each, without the master key and
// what is in no backup.
func Dump(ctx context.Context, db bun.IDB, each func(Row) error) error {
	tables, err := tablesIn(ctx, db)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if table == openKeyTable || slices.Contains(inNoBackup, table) {
			continue
		}
		if err := dumpTable(ctx, db, table, each); err != nil {
			return fmt.Errorf("reading %s: %w", table, err)
		}
	}
	return nil
}

// tablesIn returns the names of the vault's tables in a database, in order.
func tablesIn(ctx context.Context, db bun.IDB) (names []string, err error) {
	query := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if db.Dialect().Name() != dialect.SQLite {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
	}
	if err := db.NewRaw(query).Scan(ctx, &names); err != nil {
		return nil, fmt.Errorf("listing the vault's tables: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "vault_") })
	slices.Sort(names)
	return names, nil
}

func dumpTable(ctx context.Context, db bun.IDB, table string, each func(Row) error) (err error) {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		r := Row{Table: table, Values: make(map[string]any, len(columns))}
		for i, name := range columns {
			if b, ok := values[i].([]byte); ok && b == nil { // empty; SQLite's driver returns nil
				values[i] = []byte{}
			}
			r.Values[name] = values[i]
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Empty reports whether a database has no vault, or one that was never used.
func Empty(ctx context.Context, db bun.IDB) (bool, error) {
	tables, err := tablesIn(ctx, db)
	if err != nil {
		return false, err
	}
	for _, table := range tables {
		n, err := db.NewSelect().TableExpr(table).Limit(1).Count(ctx)
		if err != nil || n > 0 {
			return false, err
		}
	}
	return true, nil
}

// Load writes the rows that next returns, until it returns false, to a database without a
// vault, all or none. A key that is not nil is stored in the database, as by
// MasterKeyInDatabase.
func Load(ctx context.Context, db *bun.DB, key *MasterKey, next func() (Row, bool, error)) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := createTables(ctx, tx); err != nil {
			return err
		}
		empty, err := Empty(ctx, tx)
		if err != nil {
			return err
		}
		if !empty {
			return errors.New("the database already holds a vault")
		}
		known, err := tablesIn(ctx, tx)
		if err != nil {
			return err
		}
		for {
			r, more, err := next()
			if err != nil {
				return err
			}
			if !more {
				break
			}
			if !slices.Contains(known, r.Table) || r.Table == openKeyTable {
				return fmt.Errorf("%q is not a table of the vault that this version of latchkey knows", r.Table)
			}
			if _, err := tx.NewInsert().Model(&r.Values).TableExpr(r.Table).Exec(ctx); err != nil {
				return fmt.Errorf("writing a row of %s: %w", r.Table, err)
			}
		}
		if isSQLite(db) { // nothing was ever deleted in the file
			if _, err := tx.ExecContext(ctx, setPacked); err != nil {
				return err
			}
		}
		if key == nil {
			return nil
		}
		return keepKey(ctx, tx, *key)
	})
}

// CamerasIn returns the devices whose camera is in a database's vault.
func CamerasIn(ctx context.Context, db bun.IDB) (map[string]bool, error) {
	var ids []string
	err := db.NewSelect().Model((*secret)(nil)).Column("id").Where("kind LIKE ?", "%"+kindCamera).Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("listing the cameras in the vault: %w", err)
	}
	known := make(map[string]bool, len(ids))
	for _, id := range ids { // the id of a camera being added is followed by a word
		device, _, _ := strings.Cut(id, " ")
		known[device] = true
	}
	return known, nil
}

// createTables creates the missing tables.
func createTables(ctx context.Context, db bun.IDB) error {
	for _, t := range tables {
		if _, err := db.NewCreateTable().Model(t).IfNotExists().Exec(ctx); err != nil {
			return fmt.Errorf("creating the vault's tables: %w", err)
		}
	}
	return nil
}

// keepKey stores a master key in a database that has none.
func keepKey(ctx context.Context, db bun.IDB, k MasterKey) error {
	if _, err := db.NewCreateTable().Model((*openKey)(nil)).IfNotExists().Exec(ctx); err != nil {
		return fmt.Errorf("creating the table of the vault's key: %w", err)
	}
	if _, err := db.NewInsert().Model(&openKey{ID: 1, Key: k.Text()}).Exec(ctx); err != nil {
		return fmt.Errorf("storing the vault's key: %w", err)
	}
	return nil
}

// bytesValue is the JSON form of a []byte in a row.
type bytesValue struct {
	Base64 string `json:"base64"`
}

type rowJSON struct {
	Table  string         `json:"table"`
	Values map[string]any `json:"values"`
}

// MarshalJSON encodes a row; a value of []byte is {"base64": "..."}.
func (r Row) MarshalJSON() ([]byte, error) {
	out := rowJSON{Table: r.Table, Values: make(map[string]any, len(r.Values))}
	for name, value := range r.Values {
		switch v := value.(type) {
		case nil, bool, int64, float64, string:
			out.Values[name] = v
		case []byte:
			out.Values[name] = bytesValue{base64.StdEncoding.EncodeToString(v)}
		default:
			return nil, fmt.Errorf("column %s of %s holds a %T", name, r.Table, value)
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Row) UnmarshalJSON(data []byte) error {
	var in struct {
		Table  string                     `json:"table"`
		Values map[string]json.RawMessage `json:"values"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*r = Row{Table: in.Table, Values: make(map[string]any, len(in.Values))}
	for name, raw := range in.Values {
		value, err := parseValue(raw)
		if err != nil {
			return fmt.Errorf("column %s of %s: %w", name, in.Table, err)
		}
		r.Values[name] = value
	}
	return nil
}

func parseValue(raw json.RawMessage) (any, error) {
	if len(raw) > 0 && raw[0] == '{' {
		var b bytesValue
		if err := json.Unmarshal(raw, &b); err != nil {
			return nil, err
		}
		return base64.StdEncoding.DecodeString(b.Base64)
	}
	var whole int64
	if json.Unmarshal(raw, &whole) == nil && string(raw) != "null" {
		return whole, nil
	}
	var v any
	err := json.Unmarshal(raw, &v)
	return v, err
}
