package projections

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"latchkey/eventstore"
	"latchkey/projections/internal/event"
)

// feed gives the events of one subscription to several projectors. An event is
// fetched and decoded once for all of them.
type feed struct {
	projectors []*projector
}

// near is how far behind the foremost one, in positions of the log, a projector
// may begin and still be fed together with it. One that is further behind has a
// feed of its own, as the others would wait for it. A position is an event on the
// embedded node, which is ten seconds of catching up, and a byte on a cluster.
const near = 1 << 20

// feeds puts projectors together that begin near each other.
func feeds(projectors []*projector) []*feed {
	sorted := slices.Clone(projectors)
	slices.SortStableFunc(sorted, func(a, b *projector) int { return int(min(max(b.base-a.base, -1), 1)) })
	var list []*feed
	for _, p := range sorted {
		if n := len(list); n > 0 && list[n-1].projectors[0].base-p.base < near {
			list[n-1].projectors = append(list[n-1].projectors, p)
			continue
		}
		list = append(list, &feed{[]*projector{p}})
	}
	return list
}

// from is where the feed goes on: behind the last event that every projector
// has taken.
func (f *feed) from() eventstore.Position {
	at := f.projectors[0].position()
	for _, p := range f.projectors[1:] {
		at = min(at, p.position())
	}
	return eventstore.Position(at)
}

// handle gives a message to the projectors. An error is that of an event which
// cannot be read: the message comes again, and nothing behind it.
func (f *feed) handle(m *message.Message) error {
	list, position, err := f.decode(m.Payload)
	if err != nil {
		var errs []error
		for _, p := range f.projectors {
			errs = append(errs, p.stop(m.Context(), fmt.Errorf("projection %s: %w", p.p.name, err)))
		}
		return errors.Join(errs...)
	}
	for _, p := range f.projectors {
		if err := p.take(m.Context(), list, position); err != nil {
			return err
		}
	}
	return nil
}

func (f *feed) decode(payload []byte) ([]recorded, int64, error) {
	batch, err := eventstore.DecodeBatch(payload)
	if err != nil {
		return nil, 0, err
	}
	list, err := decode(batch.Events, f.reads)
	return list, int64(batch.Position), err
}

func (f *feed) reads(name string) bool {
	return slices.ContainsFunc(f.projectors, func(p *projector) bool { return p.p.reads(name) })
}

// decode reads the events that are wanted. One of a type that this build does
// not know is an error: it might matter.
func decode(events []eventstore.Recorded, wanted func(name string) bool) ([]recorded, error) {
	list := make([]recorded, 0, len(events))
	for i := range events {
		e := &events[i]
		if !wanted(e.Type) {
			if !event.Known(e.Type) {
				return nil, fmt.Errorf("event %s at position %d: its type %q is unknown to this build", e.ID, e.Position, e.Type)
			}
			continue
		}
		v, err := event.Decode(e.Type, e.Data)
		if err != nil {
			return nil, fmt.Errorf("event %s at position %d: %w", e.ID, e.Position, err)
		}
		list = append(list, recorded{e.Type, v, int64(e.Position), int64(e.Revision)})
	}
	return list, nil
}
