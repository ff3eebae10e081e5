package engine

import (
	"reflect"
	"testing"
)

func TestFeeds(t *testing.T) {
	const n = near
	for _, c := range []struct {
		bases []int64
		want  [][]int64
	}{
		{[]int64{0, 0, 0}, [][]int64{{0, 0, 0}}},
		{[]int64{5, 7, 6}, [][]int64{{7, 6, 5}}},
		{[]int64{n, 0}, [][]int64{{n}, {0}}},
		{[]int64{0, 3 * n, 3*n - 1, 2*n + 1, 1}, [][]int64{{3 * n, 3*n - 1, 2*n + 1}, {1, 0}}},
	} {
		if got := together(c.bases); !reflect.DeepEqual(got, c.want) {
			t.Errorf("projectors that begin at %v are fed together as %v, want %v", c.bases, got, c.want)
		}
	}
}

// together returns which projectors that begin at these positions are fed together.
func together(bases []int64) (list [][]int64) {
	var projectors []*projector
	for _, base := range bases {
		projectors = append(projectors, &projector{base: base})
	}
	for _, f := range feeds(Events{}, projectors) {
		var fed []int64
		for _, p := range f.projectors {
			fed = append(fed, p.base)
		}
		list = append(list, fed)
	}
	return list
}
