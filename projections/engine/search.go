package engine

// Search reads a page of the rows that match, and looks at most at a number of them: a
// page may have fewer rows than wanted, and still a next one. match may be nil: every row
// does. fill completes rows that are returned; it may be nil. Error: ErrCursor.
func (l List[T]) Search(p Page, most int, read func(after, n int64) ([]T, error), match func(T) (bool, error), fill func([]T) error) ([]T, string, error) {
	if match == nil {
		return l.Page(p, func(after, n int64) ([]T, error) {
			rows, err := read(after, n)
			if err == nil && fill != nil {
				err = fill(rows)
			}
			return rows, err
		})
	}
	at, err := l.After(p)
	if err != nil {
		return nil, "", err
	}
	s := searching[T]{List: l, limit: p.limit(), left: most, at: at, match: match, fill: fill}
	for {
		n := min(maxLimit, s.left)
		some, err := read(s.at, int64(n)+1)
		if err != nil {
			return nil, "", err
		}
		for i, row := range some[:min(n, len(some))] {
			if err := s.see(row); err != nil {
				return nil, "", err
			}
			if i+1 < len(some) && s.full() {
				return s.found, cursor(l.Name, s.at), nil
			}
		}
		if len(some) <= n {
			return s.found, "", nil
		}
	}
}

// searching is a search in progress.
type searching[T any] struct {
	List[T]
	limit, left int
	at          int64 // the place of the last row that was looked at
	weight      int
	found       []T
	match       func(T) (bool, error)
	fill        func([]T) error
}

func (s *searching[T]) see(row T) error {
	s.at, s.left = s.Place(row), s.left-1
	ok, err := s.match(row)
	if err != nil || !ok {
		return err
	}
	s.found = append(s.found, row)
	last := s.found[len(s.found)-1:]
	if s.fill != nil {
		err = s.fill(last)
	}
	if s.Weight != nil {
		s.weight += s.Weight(last[0])
	}
	return err
}

func (s *searching[T]) full() bool {
	return len(s.found) == s.limit || s.left == 0 || s.weight >= pageWeight
}
