package engine

import (
	"context"

	"latchkey/eventstore"
)

// Marks returns how far each read model has seen which log, by its name. A read model
// written by an earlier version has none.
func (s *Store) Marks(ctx context.Context) (map[string]eventstore.Mark, error) {
	list, err := s.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	marks := make(map[string]eventstore.Mark, len(list))
	for name, c := range list {
		marks[name] = c.mark()
	}
	return marks, nil
}
