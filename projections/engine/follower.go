package engine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"latchkey/eventstore"
)

// Follower does something after events. It has a checkpoint in the store, and no rows.
type Follower interface {
	// Name returns the name of its checkpoint, one of Config.Followers.
	Name() string
	// Start positions it at its checkpoint: events after position are passed to it next.
	// seen is the last event of ours up to there.
	Start(position eventstore.Position, seen eventstore.Mark)
	// Follow is called with the next events, up to a position; there may be none. seen is
	// the last event of ours up to there. After an error they are passed again.
	Follow(ctx context.Context, events []eventstore.Recorded, position eventstore.Position, seen eventstore.Mark) error
}

// followed passes events to a follower, and tracks its progress in this process.
type followed struct {
	Follower
	prefix   string // of our events
	progress *progress
	logger   *slog.Logger

	mu   sync.Mutex
	seen eventstore.Mark // of the last event of ours that was followed
	err  error
}

func (f *followed) start(c *checkpoint) {
	f.seen = c.mark()
	f.progress.reset(c.Position)
	f.Start(c.Position, f.seen)
}

func (f *followed) from() eventstore.Position { return f.progress.position() }

func (f *followed) mark() eventstore.Mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

func (f *followed) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// handle passes on the events of a message. After an error the message is delivered
// again.
func (f *followed) handle(m *message.Message) error {
	err := f.follow(m.Context(), m.Payload)
	if m.Context().Err() != nil {
		return err
	}
	f.mu.Lock()
	other := err != nil && (f.err == nil || f.err.Error() != err.Error())
	f.err = err
	f.mu.Unlock()
	if other {
		f.logger.Error("a follower of events stopped; retrying", "follower", f.Name(), "error", err)
	}
	return err
}

func (f *followed) follow(ctx context.Context, payload []byte) error {
	batch, err := eventstore.DecodeBatch(payload)
	if err != nil {
		return fmt.Errorf("following events: %w", err)
	}
	done, seen := f.progress.position(), f.mark()
	events := batch.Events
	for len(events) > 0 && events[0].Position <= done {
		events = events[1:]
	}
	for i := range events {
		if strings.HasPrefix(events[i].Type, f.prefix) {
			seen.Position, seen.Event = events[i].Position, events[i].ID
		}
	}
	if err := f.Follow(ctx, events, batch.Position, seen); err != nil {
		return err
	}
	f.mu.Lock()
	f.seen = seen
	f.mu.Unlock()
	f.progress.reach(batch.Position)
	return nil
}
