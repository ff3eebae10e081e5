package engine

import (
	"context"
	"errors"
	"fmt"

	"latchkey/eventstore"
	"latchkey/internal/sum"
)

// ErrDamaged is returned when a row does not fit its sum. The read model must be
// made from the log again.
var ErrDamaged = errors.New("a row of the read model is damaged")

// sum is the checkpoint's own sum. It is never 0, which a row has that an earlier
// version wrote.
func (c *checkpoint) sum() int64 {
	return sum.Of(c.Name, c.Position, c.Generation, c.Log, c.Epoch, c.Seen, c.Event, c.Accounts, c.Devices) | 1<<32
}

// sound returns ErrDamaged if the row does not fit its sum.
func (c *checkpoint) sound() error {
	if c.Sum == 0 || c.Sum == c.sum() {
		return nil
	}
	return fmt.Errorf("the checkpoint of %s: %w", c.Name, ErrDamaged)
}

// heal makes a read model empty in which something is damaged, unless that was
// done since it had a generation. Its rows come from the log again.
func (s *Store) heal(ctx context.Context, name string, generation int64, cause error) error {
	return s.emptyIf(ctx, name, func(c *checkpoint) (eventstore.Identity, bool) {
		if c.sound() != nil || c.Generation != generation { // a checkpoint is looked after by Check
			return eventstore.Identity{}, false
		}
		s.logger.Warn("a read model is damaged; rebuilding it from the log", "projection", name, "reason", cause)
		return c.mark().Identity, true
	})
}
