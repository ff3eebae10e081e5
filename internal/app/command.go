package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// Meta is who issues a command, and under which conditions.
type Meta struct {
	Account        string // the acting account, authenticated; "" for registering
	IdempotencyKey string // makes a repeat harmless; "" for none
	Revision       *int64 // the revision that the share must have; nil: any
}

// command has what every command has.
type command struct {
	Meta
	request string // fingerprint of the request, "" without an idempotency key
	at      time.Time
	seed    uuid.UUID // seed of its event ids if there is no idempotency key
	cause   uuid.UUID // the event that a policy follows; Nil: not a policy
}

// metadata is stored with each event of a command.
type metadata struct {
	Account string `json:"account,omitempty"`
	Request string `json:"request,omitempty"` // fingerprint, where there was an idempotency key
	Cause   string `json:"cause,omitempty"`   // of a policy: the event that it follows
}

func (c command) metadata() metadata {
	m := metadata{Account: c.Account, Request: c.request}
	if c.cause != uuid.Nil {
		m.Cause = c.cause.String()
	}
	return m
}

// begin checks who acts, and fingerprints the request, which must not contain secrets.
func (s *core) begin(m Meta, name string, args ...any) (command, error) {
	if m.Account == "" {
		return command{}, &Error{Code: "unauthenticated", Kind: Unauthenticated, Message: "A session is required."}
	}
	return s.beginAnonymous(m, name, args...)
}

func (s *core) beginAnonymous(m Meta, name string, args ...any) (command, error) {
	if len(m.IdempotencyKey) > maxKey {
		return command{}, invalid(map[Field]string{FieldIdempotencyKey: "is longer than " + strconv.Itoa(maxKey) + " bytes"})
	}
	canonical, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		return command{}, &Error{Code: "invalid_body", Kind: Invalid, Message: "The request cannot be read.", Cause: err}
	}
	return command{Meta: m, request: s.fingerprint(m, canonical), at: s.now(), seed: uuid.New()}, nil
}

// following returns the command of a policy that follows the event with the id cause.
// Following it again has no further effect.
func (s *core) following(cause uuid.UUID) command { return command{cause: cause, at: s.now()} }

// outcome is the result of a command; for a repeat, the original result.
type outcome[S any, E event.Event] struct {
	position position.Position
	revision int64
	state    S
	events   []E
	repeat   bool
	latest   S // for a repeat: the state now
}

// after returns the stream with the events added; its position is the one before them.
func after[S any, E event.Event](there stream[S], events []E, evolve func(S, E) S) outcome[S, E] {
	done := outcome[S, E]{
		position: there.position(), revision: there.revision() + int64(len(events)), state: there.state, events: events,
	}
	for _, event := range events {
		done.state = evolve(done.state, event)
	}
	done.latest = done.state
	return done
}

// run loads the stream, finds out whether the command is a repeat, decides, and appends
// at the revision that it read; it retries if others were faster. decide runs once per
// attempt and gets what was loaded.
func run[S any, E event.Event](
	ctx context.Context, s *core, c command, on target[S, E], decide func(stream[S]) ([]E, error),
) (outcome[S, E], error) {
	var done outcome[S, E]
	key := s.claimOn(c, on.name)
	err := s.inTurn(ctx, on.name, c.Account, func() (err error) {
		done, err = try(ctx, s, c, on, key, decide)
		return err
	})
	if err != nil {
		key.release(ctx)
		return outcome[S, E]{}, err
	}
	return done, nil
}

// try is one attempt of run. ErrConflict: others were faster.
func try[S any, E event.Event](
	ctx context.Context, s *core, c command, on target[S, E], key *claimed, decide func(stream[S]) ([]E, error),
) (outcome[S, E], error) {
	there, err := on.load(ctx, s, c)
	if err != nil {
		return outcome[S, E]{}, err
	}
	from, to, found, err := c.repeated(there.name, there.events)
	if err != nil {
		return outcome[S, E]{}, err
	}
	if found {
		return replay(there, from, to, on.evolve)
	}
	before, err := key.claim(ctx)
	if err != nil {
		return outcome[S, E]{}, err
	}
	if before != nil && there.events == nil {
		if there, err = loadHistory(ctx, s, on.kind, on.name); err != nil {
			return outcome[S, E]{}, err
		}
	}
	if before != nil && before.Revision <= there.revision() {
		return recall(there, *before, on.evolve)
	}
	events, err := decide(there)
	if err != nil {
		return outcome[S, E]{}, refused(err)
	}
	return commit(ctx, s, c, key, there, events, on.evolve)
}

func commit[S any, E event.Event](
	ctx context.Context, s *core, c command, key *claimed, there stream[S], events []E, evolve func(S, E) S,
) (outcome[S, E], error) {
	done := after(there, events, evolve)
	if len(events) == 0 {
		return done, key.finish(ctx, done.position, done.revision)
	}
	list, err := pending(c, there, events, evolve)
	if err != nil {
		return outcome[S, E]{}, err
	}
	if err := key.may(list); err != nil {
		return outcome[S, E]{}, err
	}
	if err := s.spendLog(c.Account, list); err != nil {
		return outcome[S, E]{}, err
	}
	done.position, err = s.appendOnce(ctx, c, there.name, there.revision(), list)
	key.unsure = err != nil && !unwritten(err)
	if err != nil {
		return outcome[S, E]{}, err
	}
	return done, nil
}

// pending encodes the events of a command for a stream.
func pending[S any, E event.Event](c command, there stream[S], events []E, evolve func(S, E) S) ([]Pending, error) {
	meta, err := json.Marshal(c.metadata())
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	state := there.state
	list := make([]Pending, len(events))
	for i, e := range events {
		name, data, err := catalogue.Encode(e)
		if err != nil {
			return nil, err
		}
		id := c.eventID(there.name, i, there.revision()+1+int64(i))
		list[i] = Pending{ID: id, Type: name, Data: data, Metadata: meta, TakesAway: takesAway(state, e)}
		state = evolve(state, e)
	}
	return list, nil
}

// takesAway reports whether an event that follows a state only revokes.
func takesAway(state any, e event.Event) bool {
	if of, ok := e.(share.Event); ok {
		before, ok := state.(share.State)
		return ok && share.TakesAway(before, of)
	}
	switch e.(type) {
	case account.Closed, account.LoginReleased, account.WebhookRemoved:
		return true
	case account.PasswordChanged:
		return true // what it gives, the person had before
	}
	return e.Revokes() != event.NoRevocation
}
