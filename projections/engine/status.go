package engine

import (
	"context"
	"fmt"
	"time"

	"latchkey/eventstore"
)

// Status is the state of a read model, by its database.
type Status struct {
	Projection string
	State      string              // new, running or failed
	Error      string              // why it failed
	Position   eventstore.Position // in the log; its rows have all relevant events up to here
	Rows       int64
	Generation int64 // grows with each rebuild
	Rebuilding bool  // a rebuild is in progress, or was interrupted
	Updated    time.Time
}

// Lag is how many positions a read model is behind the end of the log. One without
// relevant events records its position only occasionally.
func (s Status) Lag(head eventstore.Position) uint64 {
	if head <= s.Position {
		return 0
	}
	return uint64(head - s.Position)
}

// Status returns the state of each read model.
func (s *Store) Status(ctx context.Context) ([]Status, error) {
	list := make([]Status, 0, len(s.models))
	for _, p := range s.models {
		c, err := s.checkpoint(ctx, p.Name)
		if err != nil {
			return nil, err
		}
		n, err := s.queries.NewSelect().TableExpr(p.Tables[0].Name).Count(ctx)
		if err != nil {
			return nil, fmt.Errorf("counting the rows of %s: %w", p.Name, err)
		}
		list = append(list, Status{
			Projection: p.Name, State: c.State, Error: c.Error, Position: c.Position, Rows: n,
			Generation: c.Generation, Rebuilding: c.Rebuild != "", Updated: Micros(c.Updated).Time(),
		})
	}
	return list, nil
}
