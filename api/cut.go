package api

import (
	"context"
	"fmt"
	"time"

	"latchkey/internal/position"
)

// A command returns only when what it revoked is in force on this node: the privileges
// are applied, and the viewers that lost one are cut.

// Fence waits until the log up to a position is in force on this node: privileges are
// applied, and viewers that lost one are cut. It returns an error when the context ends
// first.
type Fence interface {
	WaitFor(ctx context.Context, position position.Position) error
}

// confirmWithin is how long a command waits for the cut.
const confirmWithin = 5 * time.Second

// confirm waits until what the command at this position changed is in force
// here, and returns the position for the header.
func (s *Server) confirm(ctx context.Context, position position.Position) (string, error) {
	s.cfg.Progress.Acknowledged(position)
	s.kept.forget(s.cfg.Opener.Keep())
	header := position.String()
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	err := s.cfg.Fence.WaitFor(ctx, position)
	if err == nil {
		err = s.uses.await(ctx)
	}
	if err != nil {
		p := unavailable("not_confirmed",
			"The command is in the log and takes effect, but was not confirmed in time. "+
				"Repeating it with the same Idempotency-Key is safe.",
			fmt.Errorf("waiting for the privilege index at %d: %w", position, err))
		p.header["Latchkey-Position"] = []string{header}
		return "", p
	}
	return header, nil
}
