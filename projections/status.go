package projections

import (
	"context"
	"fmt"
	"time"
)

// Status is how a read model is, as its database says.
type Status struct {
	Projection string
	State      string // new, running or failed
	Error      string // why it failed
	Position   uint64 // in the log; events that concern it are in its rows up to here
	Rows       int64
	Generation int64 // grows with each rebuild
	Rebuilding bool  // a rebuild is under way, or was cut off
	Updated    time.Time
}

// Lag is how far a read model is behind the end of the log, in positions. One
// that nothing concerns notes its position every now and then only.
func (s Status) Lag(head uint64) uint64 {
	if head <= s.Position {
		return 0
	}
	return head - s.Position
}

// Status tells of each read model.
func (s *Store) Status(ctx context.Context) ([]Status, error) {
	list := make([]Status, 0, len(all))
	for _, p := range all {
		c, err := s.checkpoint(ctx, p.name)
		if err != nil {
			return nil, err
		}
		n, err := s.queries.NewSelect().TableExpr(p.tables[0].name).Count(ctx)
		if err != nil {
			return nil, fmt.Errorf("counting the rows of %s: %w", p.name, err)
		}
		list = append(list, Status{
			Projection: p.name, State: c.State, Error: c.Error, Position: uint64(c.Position), Rows: n,
			Generation: c.Generation, Rebuilding: c.Rebuild != "", Updated: fromMicros(c.Updated),
		})
	}
	return list, nil
}
