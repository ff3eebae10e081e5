package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Writer writes rows of read models in one transaction, many to a statement:
// SQLite gets prepared statements with many rows, PostgreSQL arrays.
type Writer struct {
	// Counts are those of the read model; the reducer's changes are saved with the rows.
	Counts *Counts

	ctx     context.Context
	store   *Store
	tx      bun.Tx
	suffix  string // of the tables' names: "", or that of the shadow of a rebuild
	renewed bool
	stmts   map[string]*sql.Stmt
}

func (s *Store) newWriter(ctx context.Context, tx bun.Tx, counts *Counts, suffix string) *Writer {
	return &Writer{Counts: counts, ctx: ctx, store: s, tx: tx, suffix: suffix, stmts: map[string]*sql.Stmt{}}
}

// Tx returns the transaction and its context, for statements that have no method here.
func (w *Writer) Tx() (context.Context, bun.Tx) { return w.ctx, w.tx }

// Renewed records that the rows were rewritten with another meaning: the generation of
// the read model rises, so that no process uses its cache of them.
func (w *Writer) Renewed() { w.renewed = true }

// Logger returns the logger of the store.
func (w *Writer) Logger() *slog.Logger { return w.store.logger }

// rowsAtOnce is how many rows one prepared statement of SQLite takes; its parameters stay
// far below SQLite's limit.
const rowsAtOnce = 32

// Name returns the name under which the table is written to.
func (w *Writer) Name(t *Table) string { return t.Name + w.suffix }

// Insert inserts new rows.
func (w *Writer) Insert(t *Table, rows [][]any) error {
	return w.upsert(t, rows, "")
}

// Put inserts rows, or replaces them.
func (w *Writer) Put(t *Table, rows [][]any) error {
	var names, replace []string
	for i, c := range t.Columns {
		names = append(names, c.Name)
		if i >= t.Keys && !c.First {
			replace = append(replace, c.Name+" = excluded."+c.Name)
		}
	}
	conflict := " ON CONFLICT (" + strings.Join(names[:t.Keys], ", ") + ") DO "
	if len(replace) == 0 {
		return w.upsert(t, rows, conflict+"NOTHING")
	}
	return w.upsert(t, rows, conflict+"UPDATE SET "+strings.Join(replace, ", "))
}

func (w *Writer) upsert(t *Table, rows [][]any, conflict string) error {
	into := fmt.Sprintf("INSERT INTO %s (%s) ", w.Name(t), t.names())
	return w.each(t.Columns, rows, func(rows string) string {
		if w.store.sqlite {
			return into + rows + conflict
		}
		return into + "SELECT * FROM " + rows + " AS u" + conflict
	})
}

// update writes the known columns of existing rows.
func (w *Writer) update(t *Table, known uint32, rows [][]any) error {
	var columns []Column
	var pick []int
	var set, where []string
	for i, c := range t.Columns {
		switch {
		case i < t.Keys:
			where = append(where, w.Name(t)+"."+c.Name+" = u."+c.Name)
		case known&(1<<i) != 0:
			set = append(set, c.Name+" = u."+c.Name)
		default:
			continue
		}
		columns, pick = append(columns, c), append(pick, i)
	}
	return w.each(columns, picked(rows, pick), func(rows string) string {
		return w.with(columns, rows, fmt.Sprintf("UPDATE %s SET %s FROM u WHERE %s", w.Name(t), strings.Join(set, ", "), strings.Join(where, " AND ")))
	})
}

// with names a list of rows and its columns u for the statement.
func (w *Writer) with(columns []Column, rows, statement string) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	if !w.store.sqlite {
		rows = "SELECT * FROM " + rows
	}
	return fmt.Sprintf("WITH u (%s) AS (%s) %s", strings.Join(names, ", "), rows, statement)
}

// Delete deletes the rows whose first columns are the keys.
func (w *Writer) Delete(t *Table, columns int, keys [][]any) error {
	var names, equal []string
	for _, c := range t.Columns[:columns] {
		names = append(names, c.Name)
		equal = append(equal, w.Name(t)+"."+c.Name+" = u."+c.Name)
	}
	return w.each(t.Columns[:columns], keys, func(rows string) string {
		if w.store.sqlite {
			return fmt.Sprintf("DELETE FROM %s WHERE (%s) IN (%s)", w.Name(t), strings.Join(names, ", "), rows)
		}
		return w.with(t.Columns[:columns], rows, fmt.Sprintf("DELETE FROM %s USING u WHERE %s", w.Name(t), strings.Join(equal, " AND ")))
	})
}

// DeleteRanges deletes, for each first number, the rows with keys in the range of width
// that starts with it.
func (w *Writer) DeleteRanges(t *Table, first [][]any, width int64) error {
	name, column := w.Name(t), t.Columns[0].Name
	if !w.store.sqlite {
		return w.each(t.Columns[:1], first, func(rows string) string {
			return w.with(t.Columns[:1], rows, fmt.Sprintf("DELETE FROM %s AS t USING u WHERE t.%s >= u.%s AND t.%s < u.%s + %d", name, column, column, column, column, width))
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

// DeleteBetween deletes the rows whose first column is from one value to another.
func (w *Writer) DeleteBetween(t *Table, from, to any) error {
	key := t.Columns[0].Name
	return w.exec(w.store.placed(fmt.Sprintf("DELETE FROM %s WHERE %s >= $1 AND %s <= $2", w.Name(t), key, key)), from, to)
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

// each runs the statement with all rows in it, several times if they are too many.
// statement gets the expression for its rows.
func (w *Writer) each(columns []Column, rows [][]any, statement func(rows string) string) error {
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

// values returns "VALUES (?, ?), (?, ?)".
func values(columns, rows int) string {
	one := "(?" + strings.Repeat(", ?", columns-1) + ")"
	return "VALUES " + one + strings.Repeat(", "+one, rows-1)
}

// unnest returns "unnest($1::text[], $2::bigint[])" with its arrays.
func unnest(columns []Column, rows [][]any) (string, []any) {
	params, args := make([]string, len(columns)), make([]any, len(columns))
	for i, c := range columns {
		if c.Number {
			params[i], args[i] = fmt.Sprintf("$%d::bigint[]", i+1), columnOf(rows, i, number)
		} else {
			params[i], args[i] = fmt.Sprintf("$%d::text[]", i+1), columnOf(rows, i, func(cell any) string { return cell.(string) })
		}
	}
	return "unnest(" + strings.Join(params, ", ") + ")", args
}

func columnOf[T any](rows [][]any, i int, of func(cell any) T) []T {
	out := make([]T, len(rows))
	for j, row := range rows {
		out[j] = of(row[i])
	}
	return out
}

func number(cell any) int64 {
	if p, ok := cell.(eventstore.Position); ok {
		return int64(p)
	}
	return cell.(int64)
}

// Among runs a query that ends with the name of a text column, for the rows in which that
// is one of some values.
func (w *Writer) Among(q string, values []string) (*sql.Rows, error) {
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

// exec runs a statement with its own kind of parameters, bypassing bun's.
func (w *Writer) exec(q string, args ...any) error {
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

// prepared returns the statement, prepared once on SQLite's only writing connection; nil
// on PostgreSQL, whose driver does that itself.
func (w *Writer) prepared(q string) (*sql.Stmt, error) {
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
