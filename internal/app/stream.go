package app

import (
	"context"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/name"
	"latchkey/domain/reclaim"
	"latchkey/domain/request"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// The names of streams. Their parts were validated: none comes unchecked from a request.
func accountStream(account string) string { return "account-" + account }
func loginStream(login string) string     { return "login-" + login }
func deviceStream(serial string) string   { return "device-" + serial }
func requestStream(id string) string      { return "request-" + id }
func reclaimStream(id string) string      { return "reclaim-" + id }
func shareStream(share string) string     { return "share-" + share }

// nameStream is the stream of a name that an account gives a device: it makes the name
// unique within the account.
func nameStream(account ids.Account, domain string) string {
	return "domain-" + string(account) + "." + domain
}

// stream is a stream as it was loaded.
type stream[S any] struct {
	name  string
	state S      // after its last event
	last  Stored // its last event; the zero value if there is no such stream
	life  int    // size in bytes of its events since it last began
	// events are those that the state was folded from, if these are all that are needed;
	// nil if it was cached.
	events []Stored
	ids    idList
}

// revision returns that of the last event, -1 if the stream does not exist.
func (s stream[S]) revision() int64 {
	if s.last.Type == "" {
		return -1
	}
	return s.last.Revision
}

// position returns that of the last event, 0 if the stream does not exist.
func (s stream[S]) position() position.Position { return s.last.Position }

// first returns the revision of the first event that was read.
func (s stream[S]) first() int64 {
	if len(s.events) == 0 {
		return 0
	}
	return s.events[0].Revision
}

// add records events that follow, and the state after them.
func (s *stream[S]) add(events []Stored, state S, opens string) {
	for _, e := range events {
		if e.Type == opens {
			s.life = 0
		}
		s.life += e.size()
		s.last = e
	}
	s.state, s.ids = state, s.ids.with(events)
}

// kind defines how the streams of one kind are read.
type kind[S any, E event.Event] struct {
	evolve func(S, E) S
	// opens is the type of the event with which a stream begins, and begins again;
	// earlier events do not matter any more. "" if there is none.
	opens string
	// last returns the state after the last event of a stream, for kinds whose last event
	// determines it; else nil.
	last func(E) S
}

var (
	accountKind = kind[account.State, account.Event]{evolve: account.Evolve}
	deviceKind  = kind[device.State, device.Event]{evolve: device.Evolve, last: device.Last}
	shareKind   = kind[share.State, share.Event]{evolve: share.Evolve, opens: shareOpened}
	loginKind   = kind[account.State, account.Event]{evolve: account.Evolve, last: loginAfter}
	requestKind = kind[request.State, request.Event]{evolve: request.Evolve, last: request.Last}
	reclaimKind = kind[reclaim.State, reclaim.Event]{evolve: reclaim.Evolve, last: reclaim.Last}
	nameKind    = kind[name.State, name.Event]{evolve: name.Evolve, last: nameAfter}
)

// loginAfter is the state of a login after its last claim.
func loginAfter(e account.Event) account.State { return account.Evolve(account.State{}, e) }

// nameAfter is the state of a name after its last claim.
func nameAfter(e name.Event) name.State { return name.Evolve(name.State{}, e) }

// shareOpened is the type of the event with which a share begins, each time.
var shareOpened = share.Opened{}.Type()

// target is the stream that a command changes.
type target[S any, E event.Event] struct {
	kind[S, E]
	name string
	// admit refuses accounts that have nothing to do with the stream, before its history
	// is read; nil: none.
	admit func(S) error
}

// load reads what a command needs of its stream: with an idempotency key also what it may
// have done before.
func (t target[S, E]) load(ctx context.Context, s *core, c command) (stream[S], error) {
	if t.last == nil {
		return loadFor(ctx, s, t.kind, t.name, c)
	}
	there, err := loadLast(ctx, s, t.kind, t.name)
	if err != nil {
		return there, err
	}
	if t.admit != nil {
		err = t.admit(there.state)
	}
	if c.IdempotencyKey == "" || err != nil && !s.used(ctx, c, t.name) {
		return there, err
	}
	whole, failed := loadFor(ctx, s, t.kind, t.name, c)
	if failed != nil || err == nil {
		return whole, failed
	}
	// Whoever is refused now may repeat what they were allowed to do before.
	if _, _, found, failed := c.repeated(t.name, whole.events); found || failed != nil {
		return whole, failed
	}
	return there, err
}

// used reports whether a command's key is known to have been used for a stream.
func (s *core) used(ctx context.Context, c command, stream string) bool {
	there, found, err := s.requests.FindRequest(ctx, s.claimOn(c, "").request.Key)
	return err == nil && found && there.Stream == stream
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

// onDevice is onAnyDevice for a command of an account: it is refused while another
// account has the device.
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
