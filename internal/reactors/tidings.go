package reactors

import (
	"context"
	"time"

	"latchkey/eventstore"
)

// tidingsWithin is the age of events after which their notices are not even looked for.
const tidingsWithin = 25 * time.Hour

// tidings keeps notices of what happens to shares, for those whom it concerns. They are
// sent from where they are kept.
func tidings(do Commands) Reactor {
	return Reactor{
		Name:   "notices",
		Events: do.Notified(),
		Due: func(ctx context.Context, events []Event, _ eventstore.Position) ([]Action, error) {
			last := events[len(events)-1]
			if time.Since(last.Created) > tidingsWithin {
				return nil, nil
			}
			notifies, err := do.Notifies(ctx)
			if err != nil || !notifies {
				return nil, err
			}
			return []Action{{last, func(ctx context.Context) error { return do.Notify(ctx, events) }}}, nil
		},
	}
}
