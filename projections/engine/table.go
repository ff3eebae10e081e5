package engine

import (
	"fmt"
	"strings"
)

// Column is a column of a read model: text, or a 64-bit integer. Every column is NOT
// NULL; the zero value means absent.
type Column struct {
	Name   string
	Number bool
	// First is set if the value from the row's creation stays when the row is put again.
	First bool
}

// Text is a column of text.
func Text(name string) Column { return Column{Name: name} }

// Number is a column of integers.
func Number(name string) Column { return Column{Name: name, Number: true} }

func (c Column) sqlType() string {
	if c.Number {
		return "BIGINT"
	}
	return "TEXT"
}

// zero returns the value that means absent.
func (c Column) zero() any {
	if c.Number {
		return 0
	}
	return ""
}

// Table is a table of a read model.
type Table struct {
	Name    string
	Keys    int // how many of the first columns are the primary key
	Columns []Column
	Indexes [][]string // columns of secondary indexes
	// Wide is set if a row may be larger than a quarter of a page. SQLite then stores the
	// keys separately from the rows: otherwise it would read each whole row that it
	// passes on the way to another one.
	Wide bool
}

// names lists the columns for a statement.
func (t *Table) names() string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// create returns the statement that creates the table under another name.
func (t *Table) create(name string, sqlite bool) string {
	columns := make([]string, 0, len(t.Columns)+1)
	var keys []string
	integerKey := t.Keys == 1 && t.Columns[0].Number
	for i, c := range t.Columns {
		typ := c.sqlType()
		if sqlite && c.Number {
			typ = "INTEGER" // as a key it is then the rowid
		}
		if !sqlite && !c.Number {
			typ += ` COLLATE "C"` // ids: compared bytewise, in any locale
		}
		columns = append(columns, c.Name+" "+typ+" NOT NULL")
		if i < t.Keys {
			keys = append(keys, c.Name)
		}
	}
	columns = append(columns, "PRIMARY KEY ("+strings.Join(keys, ", ")+")")
	suffix := ""
	if sqlite && !integerKey && !t.Wide {
		suffix = " WITHOUT ROWID"
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s)%s", name, strings.Join(columns, ", "), suffix)
}

// createIndexes returns the statements that index the table under another name. The names
// of indexes must differ between generations, as a swap only renames tables.
func (t *Table) createIndexes(name string, generation int64) []string {
	var list []string
	for i, columns := range t.Indexes {
		list = append(list, fmt.Sprintf("CREATE INDEX IF NOT EXISTS ix_%s_%d_%d ON %s (%s)", t.Name, generation, i, name, strings.Join(columns, ", ")))
	}
	return list
}
