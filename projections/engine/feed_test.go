package engine

import (
	"reflect"
	"testing"

	"latchkey/eventstore"
)

func TestFeeds(t *testing.T) {
	const n = near
	for _, c := range []struct {
		bases []eventstore.Position
		want  [][]eventstore.Position
	}{
		{[]eventstore.Position{0, 0, 0}, [][]eventstore.Position{{0, 0, 0}}},
		{[]eventstore.Position{5, 7, 6}, [][]eventstore.Position{{7, 6, 5}}},
		{[]eventstore.Position{n, 0}, [][]eventstore.Position{{n}, {0}}},
		{[]eventstore.Position{0, 3 * n, 3*n - 1, 2*n + 1, 1}, [][]eventstore.Position{{3 * n, 3*n - 1, 2*n + 1}, {1, 0}}},
	} {
		if got := together(c.bases); !reflect.DeepEqual(got, c.want) {
			t.Errorf("projectors that begin at %v are fed together as %v, want %v", c.bases, got, c.want)
		}
	}
}

// together returns which projectors that begin at these positions are fed together.
func together(bases []eventstore.Position) (list [][]eventstore.Position) {
	var projectors []*projector
	for _, base := range bases {
		projectors = append(projectors, &projector{base: base})
	}
	for _, f := range feeds(Events{}, projectors) {
		var fed []eventstore.Position
		for _, p := range f.projectors {
			fed = append(fed, p.base)
		}
		list = append(list, fed)
	}
	return list
}
