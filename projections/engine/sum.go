package engine

import (
	"context"
	"errors"
	"fmt"

	"latchkey/eventstore"
	"latchkey/internal/sum"
)

// ErrDamaged is returned when a row does not match its sum. The read model must be
// rebuilt from the log.
var ErrDamaged = errors.New("a row of the read model is damaged")

// sum returns the checkpoint's own sum. It is never 0, which marks a row of an earlier
// version.
func (c *checkpoint) sum() int64 {
	return sum.Of(c.Name, int64(c.Position), c.Generation, c.Log, c.Epoch, int64(c.Seen), c.Event, c.Accounts, c.Devices) | 1<<32
}

// sound returns ErrDamaged if the row does not match its sum.
func (c *checkpoint) sound() error {
	if c.Sum == 0 || c.Sum == c.sum() {
		return nil
	}
	return fmt.Errorf("the checkpoint of %s: %w", c.Name, ErrDamaged)
}

// heal empties a damaged read model, unless that was already done since the given
// generation. Its rows come from the log again.
func (s *Store) heal(ctx context.Context, name string, generation int64, cause error) error {
	return s.emptyIf(ctx, name, func(c *checkpoint) (eventstore.Identity, bool) {
		if c.sound() != nil || c.Generation != generation { // Check handles damaged checkpoints
			return eventstore.Identity{}, false
		}
		s.logger.Warn("a read model is damaged; rebuilding it from the log", "projection", name, "reason", cause)
		return c.mark().Identity, true
	})
}
