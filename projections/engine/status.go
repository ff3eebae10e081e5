package engine

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

// Status reports on each read model.
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
			Projection: p.Name, State: c.State, Error: c.Error, Position: uint64(c.Position), Rows: n,
			Generation: c.Generation, Rebuilding: c.Rebuild != "", Updated: Micros(c.Updated).Time(),
		})
	}
	return list, nil
}
