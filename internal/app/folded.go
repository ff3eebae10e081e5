package app

import (
	"bytes"
	"container/list"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
)

// A command folds a long stream once. The result is remembered, and the next command
// continues from there. The end of the stream is always read from the log before a
// decision, from the last known event, which must be unchanged.

const (
	// foldedBytes is how much memory the known states may take.
	foldedBytes = 16 << 20
	// fewEvents are read and folded as fast as one, so shorter streams are not
	// remembered.
	fewEvents = 16
)

// known is what is known of a stream.
type known struct {
	name  string
	log   uint64 // the life of the log in which it was read
	last  Stored // the last event that was folded
	state any    // after it; never changed
	life  int    // as in stream
	ids   idList
	size  int // memory for all this, roughly
}

// foldedStates are the known states of streams, the least recently used dropped first.
// The methods are safe for concurrent use.
type foldedStates struct {
	most int // bytes
	few  int // events of streams that are not remembered

	mu    sync.Mutex
	bytes int
	order list.List // of *known; the most recently used in front
	by    map[string]*list.Element
}

func (f *foldedStates) get(name string) (*known, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.by[name]
	if e == nil {
		return nil, false
	}
	f.order.MoveToFront(e)
	return e.Value.(*known), true
}

// put remembers a stream, unless it has few events or would take the room of many others.
func (f *foldedStates) put(k *known) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(f.by[k.name])
	if k.ids.len() <= f.few || k.size > f.most/4 {
		return
	}
	if f.by == nil {
		f.by = make(map[string]*list.Element)
	}
	f.by[k.name] = f.order.PushFront(k)
	for f.bytes += k.size; f.bytes > f.most; {
		f.drop(f.order.Back())
	}
}

func (f *foldedStates) forget(k *known) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.by[k.name]; e != nil && e.Value == k {
		f.drop(e)
	}
}

// drop requires the lock.
func (f *foldedStates) drop(e *list.Element) {
	if e == nil {
		return
	}
	k := f.order.Remove(e).(*known)
	delete(f.by, k.name)
	f.bytes -= k.size
}

// loadKnown loads a stream from its known state on. ok is false if no state is known, or
// if the log is not the same any more.
func loadKnown[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string) (there stream[S], ok bool, err error) {
	before, ok := s.folded.get(name)
	if !ok {
		return there, false, nil
	}
	same := func() bool { return s.log.Life() == before.log }
	var events []Stored
	if same() {
		if events, err = s.log.Load(ctx, name, before.last.Revision); err != nil {
			return there, false, unavailable(fmt.Errorf("loading a stream: %w", err))
		}
	}
	if len(events) == 0 || !events[0].equal(before.last) || !same() {
		s.folded.forget(before)
		return there, false, nil
	}
	there = stream[S]{name: name, state: before.state.(S), last: before.last, life: before.life, ids: before.ids}
	if len(events) == 1 {
		return there, true, nil
	}
	state, err := fold(there.state, events[1:], k.evolve)
	if err != nil {
		return stream[S]{}, false, err
	}
	there.add(events[1:], state, k.opens)
	remember(s, there, before.log)
	return there, true, nil
}

// remember keeps the state of a stream that was read in a life of the log.
func remember[S any](s *core, there stream[S], log uint64) {
	if there.revision() < 0 {
		return
	}
	k := &known{name: there.name, log: log, last: there.last, state: there.state, life: there.life, ids: there.ids}
	k.size = knownHead + 2*len(k.name) + k.last.size() + 8*k.ids.len() + sizeOf(k.state)
	s.folded.put(k)
}

// Approximate sizes in memory: of a known stream and of list elements, without texts.
const (
	knownHead  = 512
	deviceHead = 192
	grantSize  = 16
	keyHead    = 128
)

// sizeOf returns roughly how many bytes a state takes in memory.
func sizeOf(state any) (size int) {
	switch s := state.(type) {
	case share.State:
		size = len(s.ID) + len(s.Owner) + len(s.Login) + len(s.Recipient) + len(s.Remark)
		for _, d := range s.Devices {
			size += deviceHead + len(d.Device) + len(d.Account) + len(d.Domain) + grantSize*len(d.Grants)
		}
	case account.State:
		size = len(s.Account) + len(s.Login) + len(s.Address) + len(s.Name) + len(s.UserName)
		for _, a := range s.Addresses {
			size += keyHead + len(a.Login) + len(a.Text)
		}
		for _, k := range s.Keys {
			size += keyHead + len(k.Name) + len(k.Label) + len(k.Device)
		}
	case device.State:
		size = len(s.Serial) + len(s.Device) + len(s.Owner) + len(s.Name)
		for _, c := range s.Channels {
			size += grantSize + len(c.Name)
		}
	}
	return size
}

// idList holds the ids of a stream's events, half of each. A list is immutable: longer
// lists share its full blocks.
type idList struct {
	full [][]uint64 // of idBlock each
	rest []uint64
	all  bool // has all events among which a repeat is searched for
}

const idBlock = 512

func hint(id uuid.UUID) uint64 { return binary.BigEndian.Uint64(id[:8]) }

// with adds the ids of the events that follow.
func (l idList) with(events []Stored) idList {
	l.rest = slices.Clone(l.rest)
	for _, e := range events {
		if l.rest = append(l.rest, hint(e.ID)); len(l.rest) == idBlock {
			l.full, l.rest = append(slices.Clip(l.full), l.rest), nil
		}
	}
	return l
}

func (l idList) len() int { return idBlock*len(l.full) + len(l.rest) }

// lack reports whether certainly no event has the id.
func (l idList) lack(id uuid.UUID) bool {
	h := hint(id)
	return l.all && !slices.Contains(l.rest, h) && !slices.ContainsFunc(l.full, func(block []uint64) bool { return slices.Contains(block, h) })
}

// equal reports whether two events are the same.
func (e Stored) equal(other Stored) bool {
	return e.ID == other.ID && e.Revision == other.Revision && e.Position == other.Position && e.Type == other.Type &&
		bytes.Equal(e.Data, other.Data) && bytes.Equal(e.Metadata, other.Metadata)
}
