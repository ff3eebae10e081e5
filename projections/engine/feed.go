package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"latchkey/eventstore"
)

// feed passes the events of one subscription to several projectors. An event is fetched
// and decoded once for all of them.
type feed struct {
	events     Events
	projectors []*projector
}

// near is how many log positions a projector may start behind the foremost one and still
// be fed together with it. One that is further behind has its own feed, as the others
// would wait for it. A position is an event on the embedded node, which makes this ten
// seconds of catching up, and a byte on a cluster.
const near = 1 << 20

// feeds groups projectors that begin near each other.
func feeds(events Events, projectors []*projector) []*feed {
	sorted := slices.Clone(projectors)
	slices.SortStableFunc(sorted, func(a, b *projector) int { return cmp.Compare(b.base, a.base) })
	var list []*feed
	for _, p := range sorted {
		if n := len(list); n > 0 && list[n-1].projectors[0].base-p.base < near {
			list[n-1].projectors = append(list[n-1].projectors, p)
			continue
		}
		list = append(list, &feed{events, []*projector{p}})
	}
	return list
}

// from returns where the feed resumes: after the last event that every projector has
// taken.
func (f *feed) from() eventstore.Position {
	at := f.projectors[0].position()
	for _, p := range f.projectors[1:] {
		at = min(at, p.position())
	}
	return at
}

// mark returns that of the last event that a projector has taken.
func (f *feed) mark() (m eventstore.Mark) {
	for _, p := range f.projectors {
		if seen := p.mark(); seen.Position >= m.Position {
			m = seen
		}
	}
	return m
}

// taking is the content of a message for the projectors.
type taking struct {
	list       []Record
	unreadable []unreadable
	position   eventstore.Position // reached by the message
	seen       eventstore.Mark     // place and id of the last event of ours in it
}

// unreadable is an event that this build cannot read.
type unreadable struct {
	name     string
	known    bool // its type is: it only matters to those who read it
	err      error
	position eventstore.Position
	before   eventstore.Position // position of the event before it in the message, 0 for none
	seen     eventstore.Mark     // place and id of the last event of ours before it
}

// unreadableFor returns the first event after those taken that the read model would have
// to read, but cannot; nil if there is none.
func (t *taking) unreadableFor(p *Projection, taken eventstore.Position) *unreadable {
	for i := range t.unreadable {
		if u := t.unreadable[i]; u.position > taken && (!u.known || p.reads(u.name)) {
			u.err = fmt.Errorf("projection %s: %w", p.Name, u.err)
			return &u
		}
	}
	return nil
}

// handle passes a message to the projectors.
func (f *feed) handle(m *message.Message) error {
	batch, err := eventstore.DecodeBatch(m.Payload)
	if err != nil {
		return err
	}
	t := f.decode(batch)
	for _, p := range f.projectors {
		if err := p.take(m.Context(), t); err != nil {
			return err
		}
	}
	return nil
}

func (f *feed) decode(batch eventstore.Batch) *taking {
	t := &taking{position: batch.Position, list: make([]Record, 0, len(batch.Events))}
	var before eventstore.Position
	for i := range batch.Events {
		e := &batch.Events[i]
		decoded, wanted, err := f.events.decodeOne(e, f.reads)
		switch {
		case err != nil:
			t.unreadable = append(t.unreadable, unreadable{e.Type, f.events.Known(e.Type), err, e.Position, before, t.seen})
		case wanted:
			t.list = append(t.list, decoded)
		}
		before = e.Position
		if strings.HasPrefix(e.Type, f.events.Prefix) {
			t.seen.Position, t.seen.Event = e.Position, e.ID
		}
	}
	return t
}

func (f *feed) reads(name string) bool {
	return slices.ContainsFunc(f.projectors, func(p *projector) bool { return p.p.reads(name) })
}
