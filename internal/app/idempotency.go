package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/event"
	"latchkey/internal/position"
)

// A command with an idempotency key that is sent again has one effect and one result. The
// ids of its events follow from the key, so its stream proves what it wrote; Requests
// remembers what it did on another stream, or that it changed nothing.

const (
	// maxKey is the longest idempotency key, in bytes.
	maxKey = 255
	// keysKept is the minimum time for which an idempotency key is remembered.
	keysKept = 48 * time.Hour
	// keyLease is how long others with the same key wait for a command in progress. A
	// repeat of one that died then carries it out.
	keyLease = 3 * time.Second
	// claimWithin limits the claim of a key, so that a store that hangs does not delay a
	// revocation.
	claimWithin = 2 * time.Second
)

// today distinguishes fingerprints from those of earlier versions, which were made with
// one key for everybody, of every request and with its secrets.
const today = "2."

// fingerprint identifies a command among those with the same idempotency key. It is keyed
// with the idempotency key, which is not stored: once its client has forgotten that,
// nobody can guess the request by trial, and equal texts of different people have
// different fingerprints (decision 0020).
func (s *core) fingerprint(m Meta, canonical []byte) string {
	if m.IdempotencyKey == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(s.sealer.LoginHash("request key", m.Account+"\x00"+m.IdempotencyKey)))
	mac.Write(canonical)
	return today + hex.EncodeToString(mac.Sum(nil)[:16])
}

// sameRequest compares a fingerprint with a stored one. One of an earlier version cannot
// be compared: the equal key must suffice.
func sameRequest(kept, fingerprint string) bool {
	return kept == fingerprint || !strings.HasPrefix(kept, today)
}

// CodeKeyReused is the code of the refusal of a key that was used for another
// command.
const CodeKeyReused = "idempotency_key_reused"

func keyReused(cause error) error {
	return &Error{
		Code: CodeKeyReused, Kind: Invalid, Cause: cause,
		Message: "The idempotency key was used for another command.",
	}
}

// namespace distinguishes the ids of our events from all other UUIDs of version 5. It
// must never change.
var namespace = uuid.MustParse("6c61b6ac-5c1e-5d3f-9a0e-6b6579206576")

// id returns the id of the command's i-th event in a stream: the same for all commands
// with one idempotency key, and unique to this command without one.
func (c command) id(stream string, i int) uuid.UUID {
	if c.IdempotencyKey == "" {
		return uuid.NewSHA1(c.seed, []byte(stream+"\x00"+strconv.Itoa(i)))
	}
	name := c.Account + "\x00" + c.IdempotencyKey + "\x00" + stream + "\x00" + strconv.Itoa(i)
	return uuid.NewSHA1(namespace, []byte(name))
}

// eventID returns the id of the command's i-th event in a stream, which gets the
// revision. The events of a policy follow from their cause and the revisions, so that
// another process that follows the cause writes the same.
func (c command) eventID(stream string, i int, revision int64) uuid.UUID {
	if c.cause != uuid.Nil {
		return uuid.NewSHA1(c.cause, []byte(stream+"\x00"+strconv.FormatInt(revision, 10)))
	}
	return c.id(stream, i)
}

// repeated finds the events that the command has already written: events[from:to]. It is
// an error if another request had the same key.
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

// recall returns the original result of a repeated command that changed nothing.
func recall[S any, E event.Event](loaded stream[S], before Request, evolve func(S, E) S) (outcome[S, E], error) {
	done := outcome[S, E]{position: before.Position, revision: before.Revision, repeat: true, latest: loaded.state}
	var err error
	there := before.Revision + 1 - loaded.first() // events of then; none is left if it was in an earlier life
	var none S
	done.state, err = fold(none, loaded.events[:max(0, there)], evolve)
	return done, err
}

// replay returns the original result of a repeated command.
func replay[S any, E event.Event](loaded stream[S], from, to int, evolve func(S, E) S) (outcome[S, E], error) {
	last := loaded.events[to-1]
	done := outcome[S, E]{position: last.Position, revision: last.Revision, repeat: true, latest: loaded.state}
	var err error
	var none S
	if done.state, err = fold(none, loaded.events[:to], evolve); err != nil {
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

// claimed is a command's claim on its idempotency key. The stream proves what the command
// wrote; the store of keys remembers what concerned another stream, and commands that
// changed nothing. The zero value is for a command without a key.
type claimed struct {
	core    *core
	request Request
	tried   bool
	unsure  bool  // the command may be in the log
	err     error // of the claim: nothing is remembered
}

// claimOn prepares the claim of a command's key for a stream. A registration has no
// account yet, and thus no keys.
func (s *core) claimOn(c command, stream string) *claimed {
	if c.Account == "" || c.IdempotencyKey == "" {
		return &claimed{}
	}
	return &claimed{core: s, request: Request{
		Key:         s.sealer.LoginHash("idempotency key", c.Account+"\x00"+c.IdempotencyKey),
		Fingerprint: c.request, Token: c.seed.String(), Stream: stream,
	}}
}

// claim takes the key, once. It returns what is remembered of a command that changed
// nothing. ErrConflict: another command with the key is in progress.
func (k *claimed) claim(ctx context.Context) (before *Request, err error) {
	if k.core == nil || k.tried {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	now := k.core.now()
	k.request.Until, k.request.Expires = now.Add(keyLease), now.Add(keysKept)
	there, mine, err := k.core.requests.ClaimRequest(ctx, k.request, now)
	switch {
	case err != nil:
		k.tried, k.err = true, err
		return nil, nil
	case mine:
		k.tried = true
		return nil, nil
	case !sameRequest(there.Fingerprint, k.request.Fingerprint):
		return nil, keyReused(nil)
	case !there.Done:
		return nil, fmt.Errorf("a request with the same idempotency key is being carried out: %w", ErrConflict)
	}
	return &there, nil
}

// may refuses events that grant something while the key cannot be remembered. Revocations
// proceed.
func (k *claimed) may(events []Pending) error {
	if k.err == nil || !slices.ContainsFunc(events, func(e Pending) bool { return !e.TakesAway }) {
		return nil
	}
	return unavailable(fmt.Errorf("remembering an idempotency key: %w", k.err))
}

// finish remembers a command that changed nothing.
func (k *claimed) finish(ctx context.Context, position position.Position, revision int64) error {
	if k.core == nil {
		return nil
	}
	err := k.err
	if err == nil {
		k.request.Done, k.request.Position, k.request.Revision = true, position, revision
		err = k.core.requests.FinishRequest(ctx, k.request)
	}
	if err != nil {
		return unavailable(fmt.Errorf("remembering an idempotency key: %w", err))
	}
	return nil
}

// release releases the key, unless the command may be in the log: a refused command has
// not used it.
func (k *claimed) release(ctx context.Context) {
	if k.core == nil || !k.tried || k.err != nil || k.unsure {
		return
	}
	k.core.afterwards(ctx, "giving an idempotency key back", func(ctx context.Context) error {
		return k.core.requests.ReleaseRequest(ctx, k.request)
	})
}
