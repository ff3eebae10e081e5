package engine

// Key is the primary key of a row of text keys; the second half is "" if the table has
// one column of them.
type Key [2]string

// row is what is known of a row at the end of a batch of events: all of it, some columns
// of it, or that it was deleted.
type row struct {
	values  []any  // as they were put, by column; nil if unknown
	known   uint32 // bit i: column i
	gone    bool
	again   bool // it was deleted, then put: nothing of the old one stays
	emptied int  // how often the table had been emptied for the first key before
}

// Fold collects the effects of a batch of events on a table, so that each row is written
// once, however many events concern it. The last write wins, as if each event were
// written separately.
type Fold struct {
	table   *Table
	rows    map[Key]*row
	order   []Key
	emptied map[string]int // first key -> how often
}

func newFold(t *Table) *Fold {
	return &Fold{table: t, rows: map[Key]*row{}}
}

func (t *Table) all() uint32 { return 1<<len(t.Columns) - 1 }

// keyOf returns the primary key of a row of text keys.
func (t *Table) keyOf(values []any) Key {
	k := Key{values[0].(string)}
	if t.Keys == 2 {
		k[1] = values[1].(string)
	}
	return k
}

func (f *Fold) row(k Key) *row {
	r, ok := f.rows[k]
	if !ok {
		r = &row{emptied: f.emptied[k[0]]}
		f.rows[k] = r
		f.order = append(f.order, k)
	}
	if now := f.emptied[k[0]]; r.emptied != now {
		*r = row{emptied: now, gone: true}
	}
	return r
}

// Put writes the whole row, its key first: text is string, numbers are int64 or a
// position.
func (f *Fold) Put(values ...any) {
	if len(values) != len(f.table.Columns) {
		panic("engine: a row of " + f.table.Name + " has another number of columns") // a bug in the reducer
	}
	r := f.row(f.table.keyOf(values))
	for i, c := range f.table.Columns {
		if c.First && r.known == f.table.all() {
			values[i] = r.values[i]
		}
	}
	r.again = r.again || r.gone
	r.values, r.known, r.gone = values, f.table.all(), false
}

// Cell is a value, string or int64, for one column.
type Cell struct {
	Column int // its place in the table
	Value  any
}

// To returns a cell that sets a column to a value.
func To(column int, value any) Cell { return Cell{Column: column, Value: value} }

// Set writes some columns of a row, if it exists.
func (f *Fold) Set(k Key, cells ...Cell) {
	r := f.row(k)
	if r.gone {
		return
	}
	if r.values == nil {
		r.values = make([]any, len(f.table.Columns))
		r.values[0] = k[0]
		if f.table.Keys == 2 {
			r.values[1] = k[1]
		}
	}
	for _, c := range cells {
		r.values[c.Column] = c.Value
		r.known |= 1 << c.Column
	}
}

// Drop deletes a row.
func (f *Fold) Drop(k Key) {
	r := f.row(k)
	*r = row{gone: true, again: r.again, emptied: r.emptied}
}

// Empty deletes every row with that first key.
func (f *Fold) Empty(first string) {
	if f.emptied == nil {
		f.emptied = map[string]int{}
	}
	f.emptied[first]++
}

// write writes what was collected: first deletions, then whole rows, then partial rows.
func (f *Fold) write(w *Writer) error {
	var gone, puts [][]any
	parts := map[uint32][][]any{}
	for _, k := range f.order {
		r := f.row(k)
		if (r.gone || r.again) && r.emptied == 0 { // else it goes with the others of its first key
			gone = append(gone, []any{k[0], k[1]}[:f.table.Keys])
		}
		switch {
		case r.gone:
		case r.known == f.table.all():
			puts = append(puts, r.values)
		case r.known != 0:
			parts[r.known] = append(parts[r.known], r.values)
		}
	}
	emptied := make([][]any, 0, len(f.emptied))
	for first := range f.emptied {
		emptied = append(emptied, []any{first})
	}
	if err := w.Delete(f.table, 1, emptied); err != nil {
		return err
	}
	if err := w.Delete(f.table, f.table.Keys, gone); err != nil {
		return err
	}
	if err := w.Put(f.table, puts); err != nil {
		return err
	}
	for known, rows := range parts {
		if err := w.update(f.table, known, rows); err != nil {
			return err
		}
	}
	return nil
}
