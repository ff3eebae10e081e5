package projections

// key is the primary key of a row; the second half is "" where there is none.
type key [2]string

// row is what is known of a row at the end of a batch of events: all of it, some
// columns of it, or that it is gone.
type row struct {
	values  []any  // string or int64, by column; nil where nothing is known
	known   uint32 // bit i: column i
	gone    bool
	again   bool // it was gone, and then put: nothing of the old one stays
	emptied int  // how often the table had been emptied for the first key before
}

// fold gathers what a batch of events does to a table, so that each row is
// written once, however many events concern it. The last word wins, as it would
// if each event were written alone.
type fold struct {
	table   *table
	rows    map[key]*row
	order   []key
	emptied map[string]int // first key -> how often
}

func newFold(t *table) *fold {
	return &fold{table: t, rows: map[key]*row{}}
}

func (t *table) all() uint32 { return 1<<len(t.columns) - 1 }

// keyOf is the primary key of a row of text keys.
func (t *table) keyOf(values []any) key {
	k := key{values[0].(string)}
	if t.keys == 2 {
		k[1] = values[1].(string)
	}
	return k
}

func (f *fold) row(k key) *row {
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

// put writes the whole row, its key first.
func (f *fold) put(values ...any) {
	if len(values) != len(f.table.columns) {
		panic("projections: a row of " + f.table.name + " has another number of columns") // a defect of the reducer
	}
	r := f.row(f.table.keyOf(values))
	for i, c := range f.table.columns {
		if c.first && r.known == f.table.all() {
			values[i] = r.values[i]
		}
	}
	r.again = r.again || r.gone
	r.values, r.known, r.gone = values, f.table.all(), false
}

// cell is a column's number in its table, and a value: string or int64.
type cell struct {
	column int
	value  any
}

// set writes some columns of a row, where there is such a row.
func (f *fold) set(k key, cells ...cell) {
	r := f.row(k)
	if r.gone {
		return
	}
	if r.values == nil {
		r.values = make([]any, len(f.table.columns))
		r.values[0] = k[0]
		if f.table.keys == 2 {
			r.values[1] = k[1]
		}
	}
	for _, c := range cells {
		r.values[c.column] = c.value
		r.known |= 1 << c.column
	}
}

// drop deletes a row.
func (f *fold) drop(k key) {
	r := f.row(k)
	*r = row{gone: true, again: r.again, emptied: r.emptied}
}

// empty deletes every row with that first key.
func (f *fold) empty(first string) {
	if f.emptied == nil {
		f.emptied = map[string]int{}
	}
	f.emptied[first]++
}

// write writes what was gathered: first what is gone, then whole rows, then
// parts of rows.
func (f *fold) write(w *writer) error {
	var gone, puts [][]any
	parts := map[uint32][][]any{}
	for _, k := range f.order {
		r := f.row(k)
		if (r.gone || r.again) && r.emptied == 0 { // else it goes with the others of its first key
			gone = append(gone, []any{k[0], k[1]}[:f.table.keys])
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
	if err := w.delete(f.table, 1, emptied); err != nil {
		return err
	}
	if err := w.delete(f.table, f.table.keys, gone); err != nil {
		return err
	}
	if err := w.put(f.table, puts); err != nil {
		return err
	}
	for known, rows := range parts {
		if err := w.update(f.table, known, rows); err != nil {
			return err
		}
	}
	return nil
}
