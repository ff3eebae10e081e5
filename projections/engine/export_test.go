package engine

import (
	"context"

	"github.com/uptrace/bun"
)

// Backlog is how many events a projector may have taken and not written.
func (s *Store) Backlog() int { return s.backlog() }

// BeginWriting begins a transaction as projectors do.
func (s *Store) BeginWriting(ctx context.Context) (bun.Tx, error) { return s.writes.BeginTx(ctx, nil) }
