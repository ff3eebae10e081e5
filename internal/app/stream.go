package app

import (
	"context"
	"fmt"
	"slices"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/name"
	"latchkey/domain/share"
)

// The names of streams. Their parts were checked: none comes from a request as
// it is.
func accountStream(account string) string { return "account-" + account }
func loginStream(login string) string     { return "login-" + login }
func deviceStream(serial string) string   { return "device-" + serial }
func shareStream(share string) string     { return "share-" + share }

// nameStream is that of a name which an account gives a device: it makes the name
// mean one thing to the account.
func nameStream(account, domain string) string { return "domain-" + account + "." + domain }

// stream is a stream as it was loaded.
type stream[S any] struct {
	name   string
	events []Stored // those that were read
	state  S        // after all of them
}

// revision is that of the last event, -1 where there is no such stream.
func (s stream[S]) revision() int64 {
	if len(s.events) == 0 {
		return -1
	}
	return s.last().Revision
}

// position is that of the last event, 0 where there is no such stream.
func (s stream[S]) position() uint64 {
	if len(s.events) == 0 {
		return 0
	}
	return s.last().Position
}

// last is the last event of a stream that there is.
func (s stream[S]) last() Stored { return s.events[len(s.events)-1] }

// first is the revision of the first event that was read.
func (s stream[S]) first() int64 {
	if len(s.events) == 0 {
		return 0
	}
	return s.events[0].Revision
}

// life is how many bytes the events of a share take since it was opened.
func (s stream[S]) life() (size int) {
	for _, e := range slices.Backward(s.events) {
		size += e.size()
		if e.Type == shareOpened {
			break
		}
	}
	return size
}

// kind is how the streams of one kind are read.
type kind[S any, E event.Event] struct {
	evolve func(S, E) S
	// opens is the type of the event with which a stream begins, and begins again;
	// what was before it matters no more. "" if there is none.
	opens string
	// last returns the state after the last event of a stream, for kinds whose last
	// event says everything; else nil.
	last func(E) S
}

var (
	accountKind = kind[account.State, account.Event]{evolve: account.Evolve}
	deviceKind  = kind[device.State, device.Event]{evolve: device.Evolve, last: device.Last}
	shareKind   = kind[share.State, share.Event]{evolve: share.Evolve, opens: shareOpened}
	nameKind    = kind[name.State, name.Event]{evolve: name.Evolve, last: nameAfter}
)

// nameAfter is the state of a name after its last claim.
func nameAfter(e name.Event) name.State { return name.Evolve(name.State{}, e) }

// shareOpened is the type of the event with which a share begins, each time.
var shareOpened = share.Opened{}.Type()

// maxHistory is how many bytes a command reads of a share's lives before the one that
// it is about, to find what the same command did before; and how large a life may grow
// before its share takes only what takes away.
const maxHistory = 16 << 20

// load reads a stream and folds it. An event that cannot be read, or that is of
// another kind, is an error: nothing is decided over a state that may be wrong. Of a
// share that was deleted and opened again only the last life is read.
func load[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string) (stream[S], error) {
	if k.last != nil {
		return loadLast(ctx, s, k, name)
	}
	return loadBack(ctx, s, k, name, 0)
}

// loadHistory reads a stream as far back as the repeat of a command is recognised.
func loadHistory[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string) (stream[S], error) {
	return loadBack(ctx, s, k, name, maxHistory)
}

// loadBack reads a stream from where it began last, or an earlier beginning if there
// are fewer than so many bytes since then.
func loadBack[S any, E event.Event](ctx context.Context, s *core, k kind[S, E], name string, least int) (stream[S], error) {
	var events []Stored
	var err error
	if k.opens == "" {
		events, err = s.log.Load(ctx, name)
	} else {
		events, err = s.log.LoadBack(ctx, name, func(e Stored, read int) bool { return e.Type == k.opens && read >= least })
	}
	if err != nil {
		return stream[S]{}, unavailable(fmt.Errorf("loading a stream: %w", err))
	}
	state, err := fold(events, k.evolve)
	if err != nil {
		return stream[S]{}, err
	}
	return stream[S]{name: name, events: events, state: state}, nil
}

// loadLast reads the last event of a stream, and none of its history, which others
// may have made long.
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
	return stream[S]{name: name, events: []Stored{last}, state: k.last(event)}, nil
}

func fold[S any, E event.Event](events []Stored, evolve func(S, E) S) (S, error) {
	var state S
	alone, inPlace := any(&state).(interface{ Apply(e E) })
	for _, stored := range events {
		event, err := decode[E](stored)
		if err != nil {
			var none S
			return none, err
		}
		if inPlace { // to copy the state for each event would take the square of their number
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

// target is the stream that a command changes.
type target[S any, E event.Event] struct {
	kind[S, E]
	name string
	// admit refuses whoever has nothing to do with the stream, before its history is
	// read; nil: nobody.
	admit func(S) error
}

// load reads what a command needs of its stream: with an idempotency key also what
// it may have done before.
func (t target[S, E]) load(ctx context.Context, s *core, c command) (stream[S], error) {
	repeatable := c.IdempotencyKey != ""
	if repeatable && t.admit == nil {
		return loadHistory(ctx, s, t.kind, t.name)
	}
	there, err := load(ctx, s, t.kind, t.name)
	if err == nil && t.admit != nil {
		err = t.admit(there.state)
	}
	if err != nil || !repeatable {
		return there, err
	}
	return loadHistory(ctx, s, t.kind, t.name)
}

func onAccount(id string) target[account.State, account.Event] {
	return target[account.State, account.Event]{kind: accountKind, name: accountStream(id)}
}

func onShare(id string) target[share.State, share.Event] {
	return target[share.State, share.Event]{kind: shareKind, name: shareStream(id)}
}

func onAnyDevice(serial string) target[device.State, device.Event] {
	return target[device.State, device.Event]{kind: deviceKind, name: deviceStream(serial)}
}

// onDevice is onAnyDevice for a command of an account: while somebody else has the
// device, it is refused.
func onDevice(serial, account string, refusal error) target[device.State, device.Event] {
	on := onAnyDevice(serial)
	on.admit = func(d device.State) error {
		if d.Live && d.Owner != account {
			return refused(refusal)
		}
		return nil
	}
	return on
}

func (s *core) loadAccount(ctx context.Context, id string) (stream[account.State], error) {
	return load(ctx, s, accountKind, accountStream(id))
}

func (s *core) loadShare(ctx context.Context, id string) (stream[share.State], error) {
	return load(ctx, s, shareKind, shareStream(id))
}

// loadDevice returns the device with that id; the zero State if it is not an id, or
// that of an earlier generation.
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
