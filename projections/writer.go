package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
)

// writer writes rows of read models in one transaction, many to a statement:
// SQLite gets prepared statements with many rows, PostgreSQL arrays.
type writer struct {
	ctx     context.Context
	store   *Store
	tx      bun.Tx
	numbers *numbers
	suffix  string // of the tables' names: "", or that of the shadow of a rebuild
	stmts   map[string]*sql.Stmt
}

// numbers are how many accounts and devices have a number in the tables that are
// written to.
type numbers struct {
	accounts, devices int64
	lacks             int64 // events that gave nothing, as no number was left
	given             bool  // they were given again in this transaction
}

// rowsAtOnce is how many rows one prepared statement of SQLite takes; its
// parameters stay far below SQLite's bound.
const rowsAtOnce = 32

func (w *writer) name(t *table) string { return t.name + w.suffix }

// insert inserts rows that are not there.
func (w *writer) insert(t *table, rows [][]any) error {
	return w.upsert(t, rows, "")
}

// put inserts rows, or replaces them.
func (w *writer) put(t *table, rows [][]any) error {
	var names, replace []string
	for i, c := range t.columns {
		names = append(names, c.name)
		if i >= t.keys && !c.first {
			replace = append(replace, c.name+" = excluded."+c.name)
		}
	}
	conflict := " ON CONFLICT (" + strings.Join(names[:t.keys], ", ") + ") DO "
	if len(replace) == 0 {
		return w.upsert(t, rows, conflict+"NOTHING")
	}
	return w.upsert(t, rows, conflict+"UPDATE SET "+strings.Join(replace, ", "))
}

func (w *writer) upsert(t *table, rows [][]any, conflict string) error {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	into := fmt.Sprintf("INSERT INTO %s (%s) ", w.name(t), strings.Join(names, ", "))
	return w.each(t.columns, rows, func(rows string) string {
		if w.store.sqlite {
			return into + rows + conflict
		}
		return into + "SELECT * FROM " + rows + " AS u" + conflict
	})
}

// update writes the known columns of rows that are there.
func (w *writer) update(t *table, known uint32, rows [][]any) error {
	var columns []column
	var pick []int
	var set, where []string
	for i, c := range t.columns {
		switch {
		case i < t.keys:
			where = append(where, w.name(t)+"."+c.name+" = u."+c.name)
		case known&(1<<i) != 0:
			set = append(set, c.name+" = u."+c.name)
		default:
			continue
		}
		columns, pick = append(columns, c), append(pick, i)
	}
	return w.each(columns, picked(rows, pick), func(rows string) string {
		return w.with(columns, rows, fmt.Sprintf("UPDATE %s SET %s FROM u WHERE %s", w.name(t), strings.Join(set, ", "), strings.Join(where, " AND ")))
	})
}

// with names a list of rows and its columns u for the statement.
func (w *writer) with(columns []column, rows, statement string) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	if !w.store.sqlite {
		rows = "SELECT * FROM " + rows
	}
	return fmt.Sprintf("WITH u (%s) AS (%s) %s", strings.Join(names, ", "), rows, statement)
}

// delete deletes the rows whose first columns are the keys.
func (w *writer) delete(t *table, columns int, keys [][]any) error {
	var names, equal []string
	for _, c := range t.columns[:columns] {
		names = append(names, c.name)
		equal = append(equal, w.name(t)+"."+c.name+" = u."+c.name)
	}
	return w.each(t.columns[:columns], keys, func(rows string) string {
		if w.store.sqlite {
			return fmt.Sprintf("DELETE FROM %s WHERE (%s) IN (%s)", w.name(t), strings.Join(names, ", "), rows)
		}
		return w.with(t.columns[:columns], rows, fmt.Sprintf("DELETE FROM %s USING u WHERE %s", w.name(t), strings.Join(equal, " AND ")))
	})
}

// deleteRanges deletes, for each first number, the rows whose key is that or one
// of the next ones, width in all.
func (w *writer) deleteRanges(t *table, first [][]any, width int64) error {
	name, column := w.name(t), t.columns[0].name
	if !w.store.sqlite {
		return w.each(t.columns[:1], first, func(rows string) string {
			return w.with(t.columns[:1], rows, fmt.Sprintf("DELETE FROM %s AS t USING u WHERE t.%s >= u.%s AND t.%s < u.%s + %d", name, column, column, column, column, width))
		})
	}
	q := fmt.Sprintf("DELETE FROM %s WHERE %s >= ?1 AND %s < ?1 + %d", name, column, column, width)
	for _, row := range first {
		if err := w.exec(q, row...); err != nil {
			return err
		}
	}
	return nil
}

func picked(rows [][]any, columns []int) [][]any {
	out := make([][]any, len(rows))
	for i, row := range rows {
		for _, c := range columns {
			out[i] = append(out[i], row[c])
		}
	}
	return out
}

// each runs the statement with all rows in it, several times where they are too
// many. statement is given how it calls its rows.
func (w *writer) each(columns []column, rows [][]any, statement func(rows string) string) error {
	if len(rows) == 0 {
		return nil
	}
	if !w.store.sqlite {
		arrays, args := unnest(columns, rows)
		return w.exec(statement(arrays), args...)
	}
	for _, at := range [...]int{rowsAtOnce, 1} {
		q := ""
		var args []any
		for ; len(rows) >= at; rows = rows[at:] {
			if q == "" {
				q = statement(values(len(columns), at))
			}
			args = args[:0]
			for _, row := range rows[:at] {
				args = append(args, row...)
			}
			if err := w.exec(q, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// values is "VALUES (?, ?), (?, ?)".
func values(columns, rows int) string {
	one := "(?" + strings.Repeat(", ?", columns-1) + ")"
	return "VALUES " + one + strings.Repeat(", "+one, rows-1)
}

// unnest is "unnest($1::text[], $2::bigint[])" with its arrays.
func unnest(columns []column, rows [][]any) (string, []any) {
	params, args := make([]string, len(columns)), make([]any, len(columns))
	for i, c := range columns {
		if c.number {
			params[i], args[i] = fmt.Sprintf("$%d::bigint[]", i+1), columnOf[int64](rows, i)
		} else {
			params[i], args[i] = fmt.Sprintf("$%d::text[]", i+1), columnOf[string](rows, i)
		}
	}
	return "unnest(" + strings.Join(params, ", ") + ")", args
}

func columnOf[T any](rows [][]any, i int) []T {
	out := make([]T, len(rows))
	for j, row := range rows {
		out[j] = row[i].(T)
	}
	return out
}

// among runs a query that ends with the name of a column of text, for the rows
// in which that is one of some values.
func (w *writer) among(q string, values []string) (*sql.Rows, error) {
	var args any = values
	if w.store.sqlite {
		list, err := json.Marshal(values)
		if err != nil {
			return nil, fmt.Errorf("running %.60q: %w", q, err)
		}
		q, args = q+" IN (SELECT value FROM json_each(?))", string(list)
	} else {
		q += " = ANY($1)"
	}
	if w.suffix == "" {
		return w.store.queryIn(w.ctx, w.tx, q, args)
	}
	rows, err := w.tx.Tx.QueryContext(w.ctx, q, args)
	if err != nil {
		return nil, fmt.Errorf("running %.60q: %w", q, err)
	}
	return rows, nil
}

// exec runs a statement with its own kind of parameters, past bun's.
func (w *writer) exec(q string, args ...any) error {
	stmt, err := w.prepared(q) //nolint:sqlclosecheck // it is closed with the transaction
	if err != nil {
		return err
	}
	if stmt == nil {
		_, err = w.tx.Tx.ExecContext(w.ctx, q, args...)
	} else {
		_, err = stmt.ExecContext(w.ctx, args...)
	}
	if err != nil {
		return fmt.Errorf("running %.60q: %w", q, err)
	}
	return nil
}

// prepared is the statement, prepared once on SQLite's only writing connection;
// nil on PostgreSQL, whose driver does that itself.
func (w *writer) prepared(q string) (*sql.Stmt, error) {
	if !w.store.sqlite {
		return nil, nil
	}
	if stmt, ok := w.stmts[q]; ok {
		return stmt, nil
	}
	var stmt *sql.Stmt
	if w.suffix == "" { // the shadow's tables do not last
		stmt = w.store.within(w.ctx, w.tx, q)
	}
	if stmt == nil {
		var err error
		if stmt, err = w.tx.Tx.PrepareContext(w.ctx, q); err != nil {
			return nil, fmt.Errorf("preparing %.60q: %w", q, err)
		}
	}
	w.stmts[q] = stmt
	return stmt, nil
}
