package engine

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"latchkey/eventstore"
)

// Page requests a part of a list: at most Limit rows, 1 to 200, or fewer if they are
// large, after Cursor, which is the next cursor of the previous page; "" is the
// beginning.
//
// AtLeast is the position in the log that the rows must have seen; if they have not, the
// query returns ErrBehind. 0: any. Seen, unless it is nil, is set to what they have seen,
// by queries that document it.
type Page struct {
	Limit   int
	Cursor  string
	AtLeast eventstore.Position
	Seen    *Seen
}

// ErrCursor is returned for a cursor that the list did not return.
var ErrCursor = errors.New("not a cursor of this list")

// maxLimit is the maximum number of rows of a page; larger limits are reduced to it.
const maxLimit = 200

func (p Page) limit() int { return min(max(p.Limit, 1), maxLimit) }

// A cursor is the list's name and the place of the last returned row.

func cursor(list string, place int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + ":" + strconv.FormatInt(place, 36)))
}

// Newest is the start of a list that has its newest row first.
const Newest = math.MaxInt64

const (
	// pageWeight is the approximate limit on the bytes in a page: a page that would
	// exceed it ends earlier, but has at least one row.
	pageWeight = 512 << 10
	// firstRows is how many rows are read before their weight is known.
	firstRows = 16
)

// List reads the pages of a list.
type List[T any] struct {
	Name  string // in cursors; frozen
	Start int64  // the place before the first row
	// Place returns a row's place in the list.
	Place func(T) int64
	// Weight returns roughly how many bytes are in a row, if rows may be large; nil if
	// they are small.
	Weight func(T) int
}

// After returns the place after which a page begins. ErrCursor.
func (l List[T]) After(p Page) (int64, error) {
	if p.Cursor == "" {
		return l.Start, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(p.Cursor)
	place, ours := strings.CutPrefix(string(text), l.Name+":")
	if err != nil || !ours {
		return 0, fmt.Errorf("paging %s: %w", l.Name, ErrCursor)
	}
	n, err := strconv.ParseInt(place, 36, 64)
	if err != nil || n < 0 || cursor(l.Name, n) != p.Cursor {
		return 0, fmt.Errorf("paging %s: %w", l.Name, ErrCursor)
	}
	return n, nil
}

// Page reads a page, a few rows at a time if they may be large. read reads a number of
// rows after a place. Error: ErrCursor.
func (l List[T]) Page(p Page, read func(after, n int64) ([]T, error)) (rows []T, next string, err error) {
	at, err := l.After(p)
	if err != nil {
		return nil, "", err
	}
	n, weight := firstRows, l.Weight
	if weight == nil {
		n, weight = maxLimit, func(T) int { return 0 }
	}
	for heavy := 0; ; n = max(1, (pageWeight-heavy)*len(rows)/max(1, heavy)) {
		n = min(n, p.limit()-len(rows))
		some, err := read(at, int64(n)+1)
		if err != nil {
			return nil, "", err
		}
		for i, row := range some[:min(n, len(some))] {
			rows, at, heavy = append(rows, row), l.Place(row), heavy+weight(row)
			if i+1 < len(some) && (len(rows) == p.limit() || heavy >= pageWeight) {
				return rows, cursor(l.Name, at), nil
			}
		}
		if len(some) <= n {
			return rows, "", nil
		}
	}
}
