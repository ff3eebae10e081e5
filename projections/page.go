package projections

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Page asks for a part of a list: at most Limit rows, 1 to 200, and fewer if they are
// large, after Cursor, which is the next of the page before; "" is the beginning.
//
// AtLeast is the position in the log that the rows must have seen; if they have
// not, the query returns ErrBehind. 0: whatever there is.
type Page struct {
	Limit   int
	Cursor  string
	AtLeast uint64
}

// ErrCursor says that a cursor is none of the list's.
var ErrCursor = errors.New("not a cursor of this list")

// maxLimit is the most rows of a page; asking for more gives that many.
const maxLimit = 200

func (p Page) limit() int { return min(max(p.Limit, 1), maxLimit) }

// fetch is one row more, which says that there is another page.
func (p Page) fetch() int64 { return int64(p.limit()) + 1 }

// A cursor is the list's name and the place of the last row that was given.

func cursor(list string, place int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + ":" + strconv.FormatInt(place, 36)))
}

// after is the place of the last row of the page before; start for none.
func (p Page) after(list string, start int64) (int64, error) {
	if p.Cursor == "" {
		return start, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(p.Cursor)
	place, ours := strings.CutPrefix(string(text), list+":")
	if err != nil || !ours {
		return 0, fmt.Errorf("paging %s: %w", list, ErrCursor)
	}
	n, err := strconv.ParseInt(place, 36, 64)
	if err != nil || n < 0 || cursor(list, n) != p.Cursor {
		return 0, fmt.Errorf("paging %s: %w", list, ErrCursor)
	}
	return n, nil
}

// newest is where a list begins that has its newest row first.
const newest = math.MaxInt64

// cut takes the surplus row away that says that there is another page, and
// answers where that begins.
func cut[T any](rows []T, p Page, list string, place func(T) int64) ([]T, string) {
	if len(rows) <= p.limit() {
		return rows, ""
	}
	rows = rows[:p.limit()]
	return rows, cursor(list, place(rows[len(rows)-1]))
}

const (
	// pageWeight bounds what is in a page, in bytes, about: a page that would hold more
	// ends earlier, but holds one row at least.
	pageWeight = 512 << 10
	// firstRows is how many rows are read before it is known what they weigh.
	firstRows = 16
)

// placed is a row with its place in a list.
type placed[T any] struct {
	row   T
	place int64
}

// inPlace gives rows the places of those that they were made of.
func inPlace[T, From any](rows []T, from []From, place func(From) int64) []placed[T] {
	list := make([]placed[T], len(rows))
	for i := range rows {
		list[i] = placed[T]{rows[i], place(from[i])}
	}
	return list
}

// gather reads a page of rows that may be large, a few at a time. read reads so many
// rows behind a place, and weight is about how many bytes are in one.
func gather[T any](p Page, list string, start int64, read func(after int64, n int) ([]placed[T], error), weight func(T) int) (rows []T, next string, err error) {
	at, err := p.after(list, start)
	if err != nil {
		return nil, "", err
	}
	heavy := 0
	for n := firstRows; ; n = max(1, (pageWeight-heavy)*len(rows)/max(1, heavy)) {
		n = min(n, p.limit()-len(rows))
		some, err := read(at, n+1)
		if err != nil {
			return nil, "", err
		}
		for i, row := range some[:min(n, len(some))] {
			rows, at, heavy = append(rows, row.row), row.place, heavy+weight(row.row)
			if i+1 < len(some) && (len(rows) == p.limit() || heavy >= pageWeight) {
				return rows, cursor(list, at), nil
			}
		}
		if len(some) <= n {
			return rows, "", nil
		}
	}
}
