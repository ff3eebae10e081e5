package projections

import (
	"fmt"
	"strings"
)

// column is a column of a read model: text, or a whole number of 64 bits. Every
// column is NOT NULL; the zero value stands for nothing.
type column struct {
	name   string
	number bool
	// first says that the value which came with the row's creation stays when
	// the row is put anew.
	first bool
}

func text(name string) column   { return column{name: name} }
func number(name string) column { return column{name: name, number: true} }

func (c column) sqlType() string {
	if c.number {
		return "BIGINT"
	}
	return "TEXT"
}

// zero is the value that stands for nothing.
func (c column) zero() any {
	if c.number {
		return 0
	}
	return ""
}

// table is a table of a read model. Its first columns are the primary key.
type table struct {
	name    string
	keys    int
	columns []column
	indexes [][]string // columns of secondary indexes
	// wide says that a row may be larger than a quarter of a page. SQLite then keeps
	// the keys apart from the rows: else it would read each whole row that it passes
	// on the way to another one.
	wide bool
}

// create is the statement that makes the table under another name.
func (t *table) create(name string, sqlite bool) string {
	columns := make([]string, 0, len(t.columns)+1)
	var keys []string
	integerKey := t.keys == 1 && t.columns[0].number
	for i, c := range t.columns {
		typ := c.sqlType()
		if sqlite && c.number {
			typ = "INTEGER" // as a key it is then the row's own number
		}
		if !sqlite && !c.number {
			typ += ` COLLATE "C"` // ids: compared byte by byte, in any locale
		}
		columns = append(columns, c.name+" "+typ+" NOT NULL")
		if i < t.keys {
			keys = append(keys, c.name)
		}
	}
	columns = append(columns, "PRIMARY KEY ("+strings.Join(keys, ", ")+")")
	suffix := ""
	if sqlite && !integerKey && !t.wide {
		suffix = " WITHOUT ROWID"
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s)%s", name, strings.Join(columns, ", "), suffix)
}

// createIndexes are the statements that index the table under another name. The
// names of indexes must differ from generation to generation, as a swap renames
// tables only.
func (t *table) createIndexes(name string, generation int64) []string {
	var list []string
	for i, columns := range t.indexes {
		list = append(list, fmt.Sprintf("CREATE INDEX IF NOT EXISTS ix_%s_%d_%d ON %s (%s)", t.name, generation, i, name, strings.Join(columns, ", ")))
	}
	return list
}
