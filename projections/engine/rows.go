package engine

import (
	"errors"
	"fmt"
)

// Pages reads a table that is written to, in the order of its single-column key, and
// passes on a number of rows at once: text is string, numbers are int64. Rows that were
// passed on may be written meanwhile, under keys that are not above theirs.
func (w *Writer) Pages(t *Table, rows int, each func(rows [][]any) error) error {
	key := t.Columns[0]
	q := w.store.placed(fmt.Sprintf("SELECT %s FROM %s WHERE %s > $1 ORDER BY %s LIMIT %d", t.names(), w.Name(t), key.Name, key.Name, rows))
	after := any(int64(-1))
	if !key.Number {
		after = ""
	}
	for {
		page, err := w.page(t, q, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		if err := each(page); err != nil {
			return err
		}
		after = page[len(page)-1][0]
	}
}

func (w *Writer) page(t *Table, q string, after any) (list [][]any, err error) {
	rows, err := w.tx.Tx.QueryContext(w.ctx, q, after)
	if err != nil {
		return nil, fmt.Errorf("running %.60q: %w", q, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	numbers, texts, into := make([]int64, len(t.Columns)), make([]string, len(t.Columns)), make([]any, len(t.Columns))
	for i, column := range t.Columns {
		if into[i] = &texts[i]; column.Number {
			into[i] = &numbers[i]
		}
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("reading %s: %w", t.Name, err)
		}
		row := make([]any, len(t.Columns))
		for i, column := range t.Columns {
			if row[i] = texts[i]; column.Number {
				row[i] = numbers[i]
			}
		}
		list = append(list, row)
	}
	return list, wrapped("reading "+t.Name, rows.Err())
}
