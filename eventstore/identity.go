package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

// identityStream holds the identity of a log. Its name must never change.
const identityStream = "latchkey-log"

// IdentityType is the type of the events of an Identity. It must never change. It does
// not begin with the prefix that projections subscribe to, so they never see it.
const IdentityType = "latchkey-log.identified.v1"

// Identity identifies a log. A log gets its id once. The epoch begins at 1 and rises
// whenever the log was restored or truncated on purpose, so that data derived from its
// earlier life can be distinguished from data derived since.
type Identity struct {
	Log   uuid.UUID `json:"log"`
	Epoch uint64    `json:"epoch"`
}

// Mark is a place in one particular log. Everything derived from a log keeps the mark of
// the last event that it saw, and later uses Holds to check whether the log is still the
// one that it was derived from. The zero Mark matches every log.
type Mark struct {
	Identity
	Position Position  // of the last event that was seen; 0 for none
	Event    uuid.UUID // the id of that event
}

var (
	// ErrNoIdentity is returned for a log that was never identified.
	ErrNoIdentity = errors.New("the log has no identity")
	// ErrOtherLog is returned by Holds for a mark in another log.
	ErrOtherLog = errors.New("this is another log")
	// ErrOtherEpoch is returned by Holds for a mark of an earlier epoch of this
	// log: it was restored since.
	ErrOtherEpoch = errors.New("the log was restored")
	// ErrLogCut is returned by Holds when the log no longer has the event of the
	// mark, or has not reached its epoch: an older copy of it was put in place,
	// or its end was lost.
	ErrLogCut = errors.New("events that the log had before are missing")
)

// Identity reads the identity of the log. ErrNoIdentity: it has none yet.
func (c *Client) Identity(ctx context.Context) (Identity, error) {
	id, _, err := c.identity(ctx)
	return id, err
}

// Identify returns the identity of the log, making one if it has none. Of
// several processes that do so at once, one makes it and the others read it.
func (c *Client) Identify(ctx context.Context) (Identity, error) {
	id, err := c.Identity(ctx)
	if !errors.Is(err, ErrNoIdentity) {
		return id, err
	}
	err = c.identify(ctx, NoStream(), Identity{Log: uuid.New(), Epoch: 1})
	if err != nil && !errors.Is(err, ErrConflict) {
		return Identity{}, err
	}
	return c.Identity(ctx)
}

// BeginEpoch begins an epoch of the log, which must be later than its current one. A log
// without an identity gets the given one. ErrOtherLog.
func (c *Client) BeginEpoch(ctx context.Context, next Identity) error {
	id, revision, err := c.identity(ctx)
	if errors.Is(err, ErrNoIdentity) {
		return c.identify(ctx, NoStream(), next)
	}
	switch {
	case err != nil:
		return err
	case id.Log != next.Log:
		return fmt.Errorf("%w: it is %s, expected %s", ErrOtherLog, id.Log, next.Log)
	case id.Epoch >= next.Epoch:
		return fmt.Errorf("the log is in epoch %d: cannot begin epoch %d", id.Epoch, next.Epoch)
	}
	return c.identify(ctx, Exactly(revision), next)
}

// EpochBegan returns the position at which the current epoch of the log began: what is
// before it was there when the log was restored, or made. ErrNoIdentity.
func (c *Client) EpochBegan(ctx context.Context) (Position, error) {
	last, err := c.Last(ctx, identityStream)
	if errors.Is(err, ErrStreamNotFound) {
		return 0, ErrNoIdentity
	}
	if err != nil {
		return 0, fmt.Errorf("reading the identity of the log: %w", err)
	}
	return last.Position, nil
}

// RaiseEpoch begins the next epoch of the log.
func (c *Client) RaiseEpoch(ctx context.Context) (Identity, error) {
	id, revision, err := c.identity(ctx)
	if err != nil {
		return Identity{}, err
	}
	id.Epoch++
	return id, c.identify(ctx, Exactly(revision), id)
}

func (c *Client) identity(ctx context.Context) (id Identity, revision uint64, err error) {
	err = ErrNoIdentity
	loading := c.Load(ctx, identityStream, func(r Recorded) error {
		revision = r.Revision
		if err = json.Unmarshal(r.Data, &id); err == nil && (id.Log == uuid.Nil || id.Epoch == 0) {
			err = errors.New("it is incomplete")
		}
		return err
	})
	if loading != nil && !errors.Is(loading, ErrStreamNotFound) {
		return Identity{}, 0, fmt.Errorf("reading the identity of the log: %w", loading)
	}
	return id, revision, err
}

func (c *Client) identify(ctx context.Context, expected Expected, id Identity) error {
	data, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("identifying the log: %w", err)
	}
	_, err = c.Append(ctx, identityStream, expected, Event{ID: uuid.New(), Type: IdentityType, Data: data})
	return err
}

// Holds reports whether the log is still the one of the mark, and still has its event.
// Errors: ErrOtherLog, ErrOtherEpoch, ErrLogCut, ErrNoIdentity, or ErrUnavailable if it
// could not be determined. A log that holds the event may still be a restored one if its
// epoch was not raised; it then has everything that the mark's owner saw.
func (c *Client) Holds(ctx context.Context, m Mark) error {
	if m.Log == uuid.Nil {
		return nil
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return err
	}
	switch {
	case id.Log != m.Log:
		return fmt.Errorf("%w: it is %s, expected %s", ErrOtherLog, id.Log, m.Log)
	case id.Epoch > m.Epoch:
		return fmt.Errorf("%w: it is in epoch %d, expected %d", ErrOtherEpoch, id.Epoch, m.Epoch)
	case id.Epoch < m.Epoch: // a copy from before the restore
		return fmt.Errorf("%w: it is in epoch %d, expected %d", ErrLogCut, id.Epoch, m.Epoch)
	case m.Position == 0:
		return nil
	}
	found, err := c.at(ctx, m.Position)
	if err != nil {
		return err
	}
	if found != m.Event {
		return fmt.Errorf("%w: event %s is not at position %d", ErrLogCut, m.Event, m.Position)
	}
	return nil
}

// at returns the id of the event at a position, uuid.Nil if there is none. Only the
// leader is queried.
func (c *Client) at(ctx context.Context, position Position) (uuid.UUID, error) {
	events, err := call(ctx, c, fmt.Sprintf("looking at position %d of the log", position), func(ctx context.Context, conn *esdb.Client) ([]Recorded, error) {
		from := esdb.Position{Commit: uint64(position), Prepare: uint64(position)}
		r, err := conn.ReadAll(leaderOnly(ctx), esdb.ReadAllOptions{Direction: esdb.Forwards, From: from, RequiresLeader: true}, 1)
		return collect(r, err)
	})
	if err != nil || len(events) == 0 || events[0].Position != position {
		return uuid.Nil, err
	}
	return events[0].ID, nil
}
