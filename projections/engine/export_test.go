package engine

import (
	"context"

	"github.com/uptrace/bun"
)

// BeginWriting begins a transaction as projectors do.
func (s *Store) BeginWriting(ctx context.Context) (bun.Tx, error) { return s.writes.BeginTx(ctx, nil) }
