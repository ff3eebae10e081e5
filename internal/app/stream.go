package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
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
	events []Stored
	state  S // after all of them
}

// revision is that of the last event, -1 where there is no such stream.
func (s stream[S]) revision() int64 {
	if len(s.events) == 0 {
		return -1
	}
	return s.events[len(s.events)-1].Revision
}

// first is the revision of the first event that was read.
func (s stream[S]) first() int64 {
	if len(s.events) == 0 {
		return 0
	}
	return s.events[0].Revision
}

// position is that of the last event, 0 where there is no such stream.
func (s stream[S]) position() uint64 {
	if len(s.events) == 0 {
		return 0
	}
	return s.events[len(s.events)-1].Position
}

// maxHistory is how many bytes a command reads of a share's lives before the one that
// it is about, to find what the same command did before; and how large a life may grow
// before its share takes only what takes away.
const maxHistory = 16 << 20

// shareOpened is the type of the event with which a share begins, each time.
var shareOpened = share.Opened{}.Type()

// history reads what a command must know of a stream. A share that was deleted and
// opened anew begins anew: what was before is read only as far as there are at least
// so many bytes in all.
func history(ctx context.Context, log Log, name string, least int) ([]Stored, error) {
	if !strings.HasPrefix(name, "share-") {
		return log.Load(ctx, name)
	}
	return log.LoadBack(ctx, name, func(e Stored, read int) bool { return e.Type == shareOpened && read >= least })
}

// life is how many bytes the events of a share take since it was opened.
func life(events []Stored) (size int) {
	for _, e := range slices.Backward(events) {
		size += e.size()
		if e.Type == shareOpened {
			break
		}
	}
	return size
}

// load reads a stream and folds it. An event that cannot be read, or that is of
// another kind, is an error: nothing is decided over a state that may be wrong.
func load[S any, E event.Event](ctx context.Context, log Log, name string, evolve func(S, E) S) (stream[S], error) {
	return loadLeast(ctx, log, name, 0, evolve)
}

func loadLeast[S any, E event.Event](ctx context.Context, log Log, name string, least int, evolve func(S, E) S) (stream[S], error) {
	events, err := history(ctx, log, name, least)
	if err != nil {
		return stream[S]{}, unavailable(fmt.Errorf("loading a stream: %w", err))
	}
	state, err := fold(events, evolve)
	if err != nil {
		return stream[S]{}, err
	}
	return stream[S]{name: name, events: events, state: state}, nil
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

func (s *Service) loadLogin(ctx context.Context, login string) (stream[account.State], error) {
	return load(ctx, s.log, loginStream(login), account.Evolve)
}

func (s *Service) loadAccount(ctx context.Context, id string) (stream[account.State], error) {
	return load(ctx, s.log, accountStream(id), account.Evolve)
}

func (s *Service) loadShare(ctx context.Context, id string) (stream[share.State], error) {
	return load(ctx, s.log, shareStream(id), share.Evolve)
}

// loadDevice gives the device of that id; the zero State where the id is none,
// or that of an earlier generation.
func (s *Service) loadDevice(ctx context.Context, id string) (device.State, error) {
	serial, ok := device.SerialOf(id)
	if !ok {
		return device.State{}, nil
	}
	last, err := loadLast(ctx, s.log, deviceStream(serial))
	if err != nil || last.state.Device != id {
		return device.State{}, err
	}
	return last.state, nil
}

// loadLast reads the last event of a device's stream, and none of its history,
// which others may have made long.
func loadLast(ctx context.Context, log Log, name string) (stream[device.State], error) {
	last, ok, err := log.Last(ctx, name)
	if err != nil {
		return stream[device.State]{}, unavailable(fmt.Errorf("reading the last event of a device: %w", err))
	}
	if !ok {
		return stream[device.State]{name: name}, nil
	}
	event, err := decode[device.Event](last)
	if err != nil {
		return stream[device.State]{}, err
	}
	return stream[device.State]{name: name, events: []Stored{last}, state: device.Last(event)}, nil
}

// loadForCommand reads what a command on a device needs: its last event, and the
// history only to find what the same command did before. Who has nothing to do with
// a device that is in an account is refused.
func (s *Service) loadForCommand(c command, stranger error) func(context.Context, Log, string) (stream[device.State], error) {
	return func(ctx context.Context, log Log, name string) (stream[device.State], error) {
		there, err := loadLast(ctx, log, name)
		if err != nil {
			return there, err
		}
		if there.state.Live && there.state.Owner != c.Account {
			return there, refused(stranger)
		}
		if c.IdempotencyKey == "" {
			return there, nil
		}
		return load(ctx, log, name, device.Evolve)
	}
}
