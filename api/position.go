package api

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	confirmWithin = 5 * time.Second // for the privilege index to apply a command
	behindAfter   = 2 * time.Second // for a read that names the position it must see
	ownWithin     = time.Second     // for a read to see what this process acknowledged
)

// acknowledged is the last position of a command that this process answered.
type acknowledged struct{ position atomic.Uint64 }

func (a *acknowledged) raise(to uint64) {
	for {
		at := a.position.Load()
		if at >= to || a.position.CompareAndSwap(at, to) {
			return
		}
	}
}

// confirm waits until what the command at this position changed is in force
// here, and answers the position for the header.
func (s *Server) confirm(ctx context.Context, position uint64) (string, error) {
	s.acked.raise(position)
	header := strconv.FormatUint(position, 10)
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	if err := s.cfg.Fence.WaitFor(ctx, position); err != nil {
		p := unavailable("not_confirmed",
			"The command is in the log and takes effect, but was not confirmed in time. "+
				"Repeating it with the same Idempotency-Key is safe.",
			fmt.Errorf("waiting for the privilege index at %d: %w", position, err))
		p.header["Latchkey-Position"] = []string{header}
		return "", p
	}
	return header, nil
}

// catchUp waits until the projections have seen the position that the request
// names, and for a shorter time what this process acknowledged before.
func (s *Server) catchUp(ctx context.Context, minimum string, projections ...string) error {
	if minimum != "" {
		position, err := strconv.ParseUint(minimum, 10, 64)
		if err != nil {
			return invalidHeader("Latchkey-Min-Position", "is no decimal number of 64 bits")
		}
		if err := s.waitFor(ctx, behindAfter, position, projections); err != nil {
			return unavailable("projection_behind", "What you ask to see is not readable here yet.", err)
		}
	}
	if own := s.acked.position.Load(); own > 0 {
		// A projection that is behind is answered as it is: the caller did
		// not ask for more, and readiness tells of it.
		_ = s.waitFor(ctx, ownWithin, own, projections)
	}
	return nil
}

func (s *Server) waitFor(ctx context.Context, within time.Duration, position uint64, projections []string) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, name := range projections {
		if err := s.cfg.Progress.WaitFor(ctx, name, position); err != nil {
			return fmt.Errorf("waiting for projection %s at %d: %w", name, position, err)
		}
	}
	return nil
}
