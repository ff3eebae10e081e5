package app

import (
	"context"
	"fmt"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
)

// maxHistory is how many bytes a command reads of a share's earlier lives to find what
// the same command did before; and how large a life may grow before its share accepts
// only revocations.
const maxHistory = 16 << 20

// load reads a stream and folds it. An event that cannot be read, or is of another kind,
// is an error: no decision is based on a state that may be wrong.
func load[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string) (stream[S], error) {
	if k.last != nil {
		return loadLast(ctx, s, k, name)
	}
	return loadFor(ctx, s, k, name, command{})
}

// loadFor is load for a command: if the stream may hold what the command did before, its
// events are included.
func loadFor[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string, c command) (stream[S], error) {
	there, known, err := loadKnown(ctx, s, k, name)
	if err != nil || known && (c.IdempotencyKey == "" || there.ids.lack(c.id(name, 0))) {
		return there, err
	}
	if c.IdempotencyKey != "" {
		return loadHistory(ctx, s, k, name)
	}
	return loadBack(ctx, s, k, name, 0)
}

// loadHistory reads a stream as far back as repeats are recognised.
func loadHistory[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string) (stream[S], error) {
	return loadBack(ctx, s, k, name, maxHistory)
}

// loadBack reads a stream from its latest beginning, or an earlier one if there are fewer
// than that many bytes since then.
func loadBack[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string, least int) (stream[S], error) {
	life := s.log.Life()
	var events []Stored
	var err error
	if k.opens == "" {
		events, err = s.log.Load(ctx, name, 0)
	} else {
		events, err = s.log.LoadBack(ctx, name, func(e Stored, read int) bool { return e.Type == k.opens && read >= least })
	}
	if err != nil {
		return stream[S]{}, unavailable(fmt.Errorf("loading a stream: %w", err))
	}
	var none S
	state, err := fold(none, events, k.evolve)
	if err != nil {
		return stream[S]{}, err
	}
	there := stream[S]{name: name, events: events}
	there.ids.all = least == maxHistory || there.first() == 0
	there.add(events, state, k.opens)
	remember(s, there, life)
	return there, nil
}

// loadLast reads the last event of a stream, but not its history, which others may have
// made long.
func loadLast[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string) (stream[S], error) {
	last, ok, err := s.log.Last(ctx, name)
	if err != nil {
		return stream[S]{}, unavailable(fmt.Errorf("reading the last event of a stream: %w", err))
	}
	if !ok {
		return stream[S]{name: name}, nil
	}
	event, err := decode[E](last)
	if err != nil {
		return stream[S]{}, err
	}
	return stream[S]{name: name, state: k.last(event), last: last}, nil
}

// fold returns the state after events that follow a state, which is not modified.
func fold[S any, E event.Event](state S, events []Stored, evolve func(S, E) S) (S, error) {
	alone, inPlace := any(&state).(interface{ Apply(e E) })
	for i, stored := range events {
		event, err := decode[E](stored)
		if err != nil {
			var none S
			return none, err
		}
		if inPlace && i > 0 { // copying the state for each event would take quadratic time
			alone.Apply(event)
			continue
		}
		state = evolve(state, event)
	}
	return state, nil
}

func decode[E event.Event](stored Stored) (E, error) {
	var none E
	decoded, err := catalogue.Decode(stored.Type, stored.Data)
	if err != nil {
		return none, fmt.Errorf("reading event %s: %w", stored.ID, err)
	}
	event, ok := decoded.(E)
	if !ok {
		return none, fmt.Errorf("event %s is a %T, which does not belong in its stream", stored.ID, decoded)
	}
	return event, nil
}

func (s *core) loadShare(ctx context.Context, id string) (stream[share.State], error) {
	return load(ctx, s, shareKind, shareStream(id))
}

// loadDevice returns the device with that id; the zero State if it is not an id, or that
// of an earlier generation.
func (s *core) loadDevice(ctx context.Context, id string) (device.State, error) {
	serial, ok := device.SerialOf(id)
	if !ok {
		return device.State{}, nil
	}
	there, err := load(ctx, s, deviceKind, deviceStream(serial))
	if err != nil || there.state.Device != id {
		return device.State{}, err
	}
	return there.state, nil
}
