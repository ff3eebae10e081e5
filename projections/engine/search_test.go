package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// TestSearch: the pages of a search hold every row that matches once, in order, and each
// looks at no more rows than it may.
func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name              string
		rows, limit, most int
		every             int // of how many rows one matches
		weight            int
		pages             int
	}{
		{"nothing", 0, 10, 100, 1, 1, 1},
		{"all", 25, 10, 100, 1, 1, 3},
		{"exactly a page", 10, 10, 100, 1, 1, 1},
		{"some", 100, 10, 1000, 7, 1, 2},
		{"none", 100, 10, 1000, 1000, 1, 1},
		{"few in many", 2500, 10, 1000, 900, 1, 3},
		{"as many as it may look at", 1000, 10, 1000, 999, 1, 1},
		{"more than a read", 450, 200, 1000, 2, 1, 2},
		{"large ones", 6, 10, 100, 1, pageWeight / 2, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			looked, filled := 0, 0
			read := func(after, n int64) (some []int, err error) {
				for i := int(after); i < c.rows && len(some) < int(n); i++ {
					some = append(some, i)
				}
				return some, nil
			}
			match := func(i int) (bool, error) { looked++; return i%c.every == 0, nil }
			fill := func(rows []int) error { filled += len(rows); return nil }
			list := List[int]{Name: "rows", Place: func(i int) int64 { return int64(i + 1) }, Weight: func(int) int { return c.weight }}
			var got, want []int
			pages := 0
			for p := (Page{Limit: c.limit}); ; {
				looked = 0
				rows, next, err := list.Search(p, c.most, read, match, fill)
				if err != nil {
					t.Fatal(err)
				}
				pages++
				if got = append(got, rows...); len(rows) > c.limit || looked > c.most {
					t.Errorf("a page of %d rows after %d were looked at", len(rows), looked)
				}
				if p.Cursor = next; next == "" {
					break
				}
			}
			for i := 0; i < c.rows; i += c.every {
				want = append(want, i)
			}
			if !slices.Equal(got, want) || filled != len(want) || pages != c.pages {
				t.Errorf("%d pages found %s, %d filled; want %d pages with %s", pages, fmt.Sprint(got), filled, c.pages, fmt.Sprint(want))
			}
		})
	}
	failed := errors.New("failed")
	_, _, err := (List[int]{Name: "rows", Place: func(i int) int64 { return int64(i) }}).Search(Page{Limit: 1}, 10,
		func(int64, int64) ([]int, error) { return []int{1}, nil }, func(int) (bool, error) { return false, failed }, nil)
	if !errors.Is(err, failed) {
		t.Errorf("a match that fails: %v", err)
	}
	if _, _, err := (List[int]{Name: "rows"}).Search(Page{Limit: 1, Cursor: "no cursor"}, 10, nil, func(int) (bool, error) { return true, nil }, nil); !errors.Is(err, ErrCursor) {
		t.Errorf("a cursor of no list: %v", err)
	}
}
