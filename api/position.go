package api

import (
	"context"
	"errors"
	"time"

	"latchkey/internal/position"
	"latchkey/projections"
)

// behindAfter is how long a read waits for the position that it must see: longer than a
// stopped process keeps a read model locked.
const behindAfter = 4 * time.Second

// read runs a query that must see the request's position, and what this process
// acknowledged before. A query that cannot see it in time is refused: its rows would be
// older than what the caller knows.
func (s *Server) read(ctx context.Context, minimum string, query func(atLeast position.Position) error) error {
	var least position.Position
	if minimum != "" {
		var err error
		if least, err = position.Parse(minimum); err != nil {
			return invalidHeader("Latchkey-Min-Position", "is not a decimal 64-bit number")
		}
	}
	waiting, cancel := context.WithTimeout(ctx, behindAfter)
	defer cancel()
	err := s.cfg.Progress.Read(waiting, least, query)
	if errors.Is(err, projections.ErrBehind) {
		return unavailable("projection_behind", "This server has not caught up with the requested position yet.", err)
	}
	return err
}

// list reads a page of the caller's rows.
func list[T any](ctx context.Context, h handlers, minimum string, p projections.Page, query func(context.Context, string, projections.Page) ([]T, string, error)) (rows []T, next string, err error) {
	answer := requestOf(ctx).answer
	err = h.read(ctx, minimum, func(atLeast position.Position) (err error) {
		if err := answer.takeTurn(ctx); err != nil {
			return err
		}
		p.AtLeast = atLeast
		if rows, next, err = query(ctx, caller(ctx), p); err != nil {
			answer.unmade() // it may have to wait
		}
		return err
	})
	if err == nil {
		err = answer.render(ctx)
	}
	return rows, next, err
}
