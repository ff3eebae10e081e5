package app

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/share"
)

// maxKey is the longest Idempotency-Key, in bytes.
const maxKey = 255

// command is what every command has.
type command struct {
	Meta
	request string // fingerprint of what is asked for, "" without an Idempotency-Key
	at      time.Time
	quiet   bool      // the answer tells nothing of what it is about
	seed    uuid.UUID // of the ids of its events, where there is no Idempotency-Key
}

// metadata stands beside each event of a command.
type metadata struct {
	Account string `json:"account,omitempty"`
	Request string `json:"request,omitempty"` // fingerprint, where there was an Idempotency-Key
	Cause   string `json:"cause,omitempty"`   // of a policy: the event that it follows
}

// begin checks who acts, and fingerprints the request, in which there must be no
// secret.
func (s *Service) begin(m Meta, name string, args ...any) (command, error) {
	if m.Account == "" {
		return command{}, &Error{Code: "unauthenticated", Kind: Unauthenticated, Message: "A session is needed."}
	}
	return s.beginAnonymous(m, name, args...)
}

func (s *Service) beginAnonymous(m Meta, name string, args ...any) (command, error) {
	if len(m.IdempotencyKey) > maxKey {
		return command{}, invalid(map[string]string{"Idempotency-Key": "is longer than " + strconv.Itoa(maxKey) + " bytes"})
	}
	canonical, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		return command{}, &Error{Code: "invalid_body", Kind: Invalid, Message: "The request cannot be read.", Cause: err}
	}
	return command{Meta: m, request: s.fingerprint(m, canonical), at: s.now(), seed: uuid.New()}, nil
}

// today marks fingerprints from those of earlier versions, which were made with
// one key for everybody, of every request and with its secrets.
const today = "2."

// fingerprint says whether two commands with one Idempotency-Key are the same. It
// is made with the Idempotency-Key, which is kept nowhere: once its client has
// forgotten that, nobody can try what the request may have said, and equal texts
// of different people are different fingerprints (decision 0020).
func (s *Service) fingerprint(m Meta, canonical []byte) string {
	if m.IdempotencyKey == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(s.sealer.LoginHash("request key", m.Account+"\x00"+m.IdempotencyKey)))
	mac.Write(canonical)
	return today + hex.EncodeToString(mac.Sum(nil)[:16])
}

// sameRequest compares a fingerprint with one that is kept. One of an earlier
// version cannot be compared: that it has the same key must do.
func sameRequest(kept, fingerprint string) bool {
	return kept == fingerprint || !strings.HasPrefix(kept, today)
}

func keyReused(cause error) error {
	return &Error{
		Code: "idempotency_key_reused", Kind: Invalid, Cause: cause,
		Message: "The Idempotency-Key was used for another request.",
	}
}

// namespace makes the ids of our events differ from all other UUIDs of version
// 5. It must never change.
var namespace = uuid.MustParse("6c61b6ac-5c1e-5d3f-9a0e-6b6579206576")

// id is the id of the command's i-th event in a stream: the same for all
// commands with one Idempotency-Key, and this command's own without.
func (c command) id(stream string, i int) uuid.UUID {
	if c.IdempotencyKey == "" {
		return uuid.NewSHA1(c.seed, []byte(stream+"\x00"+strconv.Itoa(i)))
	}
	name := c.Account + "\x00" + c.IdempotencyKey + "\x00" + stream + "\x00" + strconv.Itoa(i)
	return uuid.NewSHA1(namespace, []byte(name))
}

// repeated finds the events that the command has already written: events[from:to].
// It is an error when another request had the same key.
func (c command) repeated(stream string, events []Stored) (from, to int, found bool, err error) {
	if c.IdempotencyKey == "" {
		return 0, 0, false, nil
	}
	first := c.id(stream, 0)
	for from < len(events) && events[from].ID != first {
		from++
	}
	if from == len(events) {
		return 0, 0, false, nil
	}
	var m metadata
	if err := json.Unmarshal(events[from].Metadata, &m); err != nil || !sameRequest(m.Request, c.request) {
		return 0, 0, false, keyReused(err)
	}
	to = from + 1
	for to < len(events) && events[to].ID == c.id(stream, to-from) {
		to++
	}
	return from, to, true, nil
}

// pending encodes the events of a command for a stream, which is at state.
func pending[S any, E event.Event](c command, stream string, state S, events []E, evolve func(S, E) S) ([]Pending, error) {
	meta, err := json.Marshal(metadata{Account: c.Account, Request: c.request})
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	list := make([]Pending, len(events))
	for i, e := range events {
		name, data, err := catalogue.Encode(e)
		if err != nil {
			return nil, err
		}
		list[i] = Pending{ID: c.id(stream, i), Type: name, Data: data, Metadata: meta, TakesAway: takesAway(state, e)}
		state = evolve(state, e)
	}
	return list, nil
}

// takesAway reports whether an event that follows a state only takes away.
func takesAway(state any, e event.Event) bool {
	if of, ok := e.(share.Event); ok {
		before, ok := state.(share.State)
		return ok && share.TakesAway(before, of)
	}
	return e.Revokes() != event.NoRevocation
}

// append is Log.Append with the errors of a use case; ErrConflict stays.
func (s *Service) append(ctx context.Context, stream string, expected int64, events []Pending) (uint64, error) {
	position, err := s.log.Append(ctx, stream, expected, events)
	switch {
	case err == nil:
		return position, nil
	case errors.Is(err, ErrConflict):
		return 0, err
	case errors.Is(err, ErrTooLarge):
		return 0, refused(err)
	case errors.Is(err, ErrFull):
		return 0, &Error{
			Code: "disk_full", Kind: Unavailable, Cause: err,
			Message: "The disk of the event log is nearly full. Until there is room again you can only take back, reject, leave and remove.",
		}
	case errors.Is(err, ErrIndexFull):
		return 0, &Error{
			Code: "index_full", Kind: Unavailable, Cause: err,
			Message: "This server has no room for more devices and accounts that use one. What you have goes on, and you can take back, reject, leave and remove.",
		}
	case errors.Is(err, ErrDiverged):
		return 0, &Error{
			Code: "log_diverged", Kind: Unavailable, Cause: err,
			Message: "The event log lacks events that this server has seen, so it takes no changes. Whoever runs it must put the right log back.",
		}
	}
	return 0, unavailable(fmt.Errorf("appending to a stream: %w", err))
}

// appendOnce is append for a command. The log takes events whose ids it has for
// an append that is tried again, and looks no further: two commands at once with
// one Idempotency-Key would both be told that they were written. So what stands
// there is read again; the command that was not written meets ErrConflict, and
// finds the other one at its next try.
func (s *Service) appendOnce(ctx context.Context, c command, stream string, expected int64, events []Pending) (uint64, error) {
	position, err := s.append(ctx, stream, expected, events)
	if err != nil || c.IdempotencyKey == "" {
		return position, err
	}
	there, err := s.log.LoadBack(ctx, stream, func(e Stored, _ int) bool { return e.ID == events[0].ID })
	if err != nil {
		return 0, unavailable(fmt.Errorf("reading what was appended: %w", err))
	}
	from := slices.IndexFunc(there, func(e Stored) bool { return e.ID == events[0].ID })
	if from < 0 || !slices.EqualFunc(there[from:min(from+len(events), len(there))], events, Stored.is) {
		return 0, ErrConflict
	}
	return position, nil
}

// is reports whether the event is stored word for word.
func (e Stored) is(p Pending) bool {
	return e.ID == p.ID && bytes.Equal(e.Data, p.Data) && bytes.Equal(e.Metadata, p.Metadata)
}

// outcome is what a command did to a stream, and for a repeat what it did then.
type outcome[S any, E event.Event] struct {
	position uint64
	revision int64
	state    S
	events   []E
	repeat   bool
	latest   S // for a repeat: the state now
}

// after is what events make of a stream; its position is that before them.
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

// run loads the stream, finds out whether the command is a repeat, decides, and
// appends at the revision that it saw; again when others were faster. decide
// runs once for each try and is given what was loaded.
func run[S any, E event.Event](
	ctx context.Context, s *Service, c command, name string,
	evolve func(S, E) S, decide func(stream[S]) ([]E, error),
) (outcome[S, E], error) {
	least := 0
	if c.IdempotencyKey != "" {
		least = maxHistory
	}
	return runOn(ctx, s, c, name, evolve, decide, func(ctx context.Context, log Log, name string) (stream[S], error) {
		return loadLeast(ctx, log, name, least, evolve)
	})
}

// runOn is run where not all of the stream must be loaded.
func runOn[S any, E event.Event](
	ctx context.Context, s *Service, c command, name string,
	evolve func(S, E) S, decide func(stream[S]) ([]E, error), loading func(context.Context, Log, string) (stream[S], error),
) (outcome[S, E], error) {
	var done outcome[S, E]
	key := s.claimOn(c, name)
	err := s.inTurn(ctx, name, c.Account, func() (err error) {
		done, err = attempt(ctx, s, c, name, key, evolve, decide, loading)
		return err
	})
	if err != nil {
		key.release(ctx)
		return outcome[S, E]{}, err
	}
	return done, nil
}

// attempt is one try of run. ErrConflict: others were faster.
func attempt[S any, E event.Event](
	ctx context.Context, s *Service, c command, name string, key *claimed,
	evolve func(S, E) S, decide func(stream[S]) ([]E, error), loading func(context.Context, Log, string) (stream[S], error),
) (outcome[S, E], error) {
	loaded, err := loading(ctx, s.log, name)
	if err != nil {
		return outcome[S, E]{}, err
	}
	from, to, found, err := c.repeated(name, loaded.events)
	if err != nil {
		return outcome[S, E]{}, err
	}
	if found {
		return replay(loaded, from, to, evolve)
	}
	before, err := key.claim(ctx)
	if err != nil {
		return outcome[S, E]{}, err
	}
	if before != nil && before.Revision <= loaded.revision() {
		return recall(loaded, *before, evolve)
	}
	events, err := decide(loaded)
	if err != nil {
		return outcome[S, E]{}, refused(err)
	}
	return commit(ctx, s, c, key, loaded, events, evolve)
}

// recall answers the repeat of a command that changed nothing as it was answered
// then.
func recall[S any, E event.Event](loaded stream[S], before Request, evolve func(S, E) S) (outcome[S, E], error) {
	done := outcome[S, E]{position: before.Position, revision: before.Revision, repeat: true, latest: loaded.state}
	var err error
	there := before.Revision + 1 - loaded.first() // events of then; none is left where it was in an earlier life
	done.state, err = fold(loaded.events[:max(0, there)], evolve)
	return done, err
}

// replay answers a repeat as the command was answered then.
func replay[S any, E event.Event](loaded stream[S], from, to int, evolve func(S, E) S) (outcome[S, E], error) {
	last := loaded.events[to-1]
	done := outcome[S, E]{position: last.Position, revision: last.Revision, repeat: true, latest: loaded.state}
	var err error
	if done.state, err = fold(loaded.events[:to], evolve); err != nil {
		return outcome[S, E]{}, err
	}
	for _, stored := range loaded.events[from:to] {
		event, err := decode[E](stored)
		if err != nil {
			return outcome[S, E]{}, err
		}
		done.events = append(done.events, event)
	}
	return done, nil
}

func commit[S any, E event.Event](
	ctx context.Context, s *Service, c command, key *claimed, loaded stream[S], events []E, evolve func(S, E) S,
) (outcome[S, E], error) {
	done := after(loaded, events, evolve)
	if len(events) == 0 {
		return done, key.finish(ctx, done.position, done.revision)
	}
	list, err := pending(c, loaded.name, loaded.state, events, evolve)
	if err != nil {
		return outcome[S, E]{}, err
	}
	if err := key.may(list); err != nil {
		return outcome[S, E]{}, err
	}
	if err := s.spendLog(c.Account, list); err != nil {
		return outcome[S, E]{}, err
	}
	done.position, err = s.appendOnce(ctx, c, loaded.name, loaded.revision(), list)
	key.unsure = err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrIndexFull)
	if err != nil {
		return outcome[S, E]{}, err
	}
	return done, nil
}
