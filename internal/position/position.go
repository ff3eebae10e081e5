// Package position has the type of a place in the log. It is apart from eventstore for
// the rooms that hold positions and must not import the log. Nothing else belongs here.
package position

import (
	"database/sql/driver"
	"fmt"
	"strconv"
)

// Position is a place in $all: the commit position of an event. Everything that Latchkey
// writes has an equal prepare position. 0 is before the first event.
type Position uint64

// Parse reads a position that is written as a decimal number.
func Parse(text string) (Position, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parsing a position: %w", err)
	}
	return Position(n), nil
}

// String returns the position as a decimal number.
func (p Position) String() string { return strconv.FormatUint(uint64(p), 10) }

// Value returns the position for a column of whole numbers. No log reaches the sign.
func (p Position) Value() (driver.Value, error) { return int64(p), nil }

// Scan reads the position from a column of whole numbers. It takes all 64 bits as they
// are, as the sum of a row says whether it is damaged.
func (p *Position) Scan(column any) error {
	n, ok := column.(int64)
	if !ok {
		return fmt.Errorf("reading a position: the column has a %T", column)
	}
	*p = Position(n)
	return nil
}
