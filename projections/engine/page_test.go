package engine

import (
	"fmt"
	"testing"
)

// TestPages: pages of rows that are small, large or both hold every row once, in
// order, no more than was asked for, and about as much as may be.
func TestPages(t *testing.T) {
	for _, c := range []struct {
		name         string
		rows, limit  int
		weight       func(int) int
		pages, reads int
	}{
		{"none", 0, 50, func(int) int { return 1 }, 1, 1},
		{"one", 1, 50, func(int) int { return 1 }, 1, 1},
		{"as many as a page", 50, 50, func(int) int { return 1000 }, 1, 2},
		{"one more", 51, 50, func(int) int { return 1000 }, 2, 3},
		{"small ones", 200, 200, func(int) int { return 100 }, 1, 2},
		{"ones that fill a page each", 5, 200, func(int) int { return pageWeight }, 5, 5},
		{"weightless ones", 200, 200, func(int) int { return 0 }, 1, 2},
		{"a quarter of a page each", 10, 200, func(int) int { return pageWeight / 4 }, 3, 3},
		{"large behind small ones", 60, 200, func(i int) int { return i / 40 * pageWeight / 2 }, 10, 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			reads := 0
			read := func(after, n int64) (some []int, err error) {
				reads++
				for i := int(after); i < c.rows && len(some) < int(n); i++ {
					some = append(some, i)
				}
				return some, nil
			}
			list := List[int]{Name: "rows", Place: func(i int) int64 { return int64(i + 1) }, Weight: c.weight}
			p := Page{Limit: c.limit}
			var got []int
			pages := 0
			for {
				pages++
				rows, next, err := list.Page(p, read)
				if err != nil {
					t.Fatal(err)
				}
				heavy := 0
				for _, i := range rows[:max(0, len(rows)-1)] {
					heavy += c.weight(i)
				}
				if len(rows) > c.limit || heavy >= pageWeight {
					t.Errorf("a page of %d rows weighs %d without its last", len(rows), heavy)
				}
				got = append(got, rows...)
				if next == "" {
					break
				}
				p.Cursor = next
			}
			want := []int{}
			for i := range c.rows {
				want = append(want, i)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the pages hold %v", got)
			}
			if pages != c.pages || reads > c.reads {
				t.Errorf("%d pages in %d reads, want %d in %d at most", pages, reads, c.pages, c.reads)
			}
		})
	}
	if _, _, err := (List[int]{Name: "rows"}).Page(Page{Limit: 1, Cursor: "no cursor"}, func(int64, int64) ([]int, error) { return nil, nil }); err == nil {
		t.Error("a cursor of no list is taken")
	}
}
