package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/share"
)

// EndSharesOfDevice is the policy that follows a removed device: it takes the
// device out of the shares that hold it. cause is the id of the device.Removed
// event; following it again changes nothing more. Nobody may do anything on
// the device since that event, whether this runs or not.
func (s *Service) EndSharesOfDevice(ctx context.Context, cause uuid.UUID, device string, shares []string) error {
	// A read model says that the device was removed, and what follows cannot be
	// undone: the log must say it too.
	if gone, err := s.gone(ctx, device); err != nil || !gone {
		return err
	}
	var failed []error
	if err := s.forgetCamera(ctx, device); err != nil {
		failed = append(failed, err)
	}
	if _, err := s.endShares(ctx, cause, device, shares); err != nil {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// endShares takes a device that was removed out of shares. It returns the
// position of the last event that this needed, by whomever it was written.
func (s *Service) endShares(ctx context.Context, cause uuid.UUID, device string, shares []string) (position uint64, err error) {
	var failed []error
	for _, id := range shares {
		ended, err := s.endShareOfDevice(ctx, cause, device, id)
		if err != nil {
			failed = append(failed, fmt.Errorf("taking a removed device out of share %s: %w", id, err))
		}
		position = max(position, ended.position)
	}
	return position, errors.Join(failed...)
}

// gone reports whether nobody has the device: its id never returns.
func (s *Service) gone(ctx context.Context, device string) (bool, error) {
	d, err := s.loadDevice(ctx, device)
	return err == nil && !d.Live, err
}

// endShareOfDevice takes a device that was removed out of a share. The outcome
// is the share without it, whoever took it out.
func (s *Service) endShareOfDevice(ctx context.Context, cause uuid.UUID, device, id string) (outcome[share.State, share.Event], error) {
	if _, _, ok := share.Parties(id); !ok {
		return outcome[share.State, share.Event]{}, share.ErrNotFound
	}
	var ended uint64
	done, err := follow(ctx, s, cause, shareStream(id), share.Evolve, func(there stream[share.State]) ([]share.Event, error) {
		ended = lastEnd(there.events, device)
		return share.Decide(there.state, share.EndDevice{Device: device, At: s.now()})
	})
	if err == nil && len(done.events) == 0 {
		done.position = ended
	}
	return done, err
}

// endedSince returns the position of the event that took a device out of a share
// after a position in the log, 0 if it was out before.
func (s *Service) endedSince(ctx context.Context, id, device string, position uint64) (uint64, error) {
	last, ok, err := s.log.Last(ctx, shareStream(id))
	if err != nil {
		return 0, unavailable(fmt.Errorf("reading the last event of share %s: %w", id, err))
	}
	if !ok || last.Position <= position {
		return 0, nil
	}
	events, err := s.log.Load(ctx, shareStream(id))
	if err != nil {
		return 0, unavailable(fmt.Errorf("loading share %s: %w", id, err))
	}
	return lastEnd(events, device), nil
}

// lastEnd is the position of the last event that took a device out of a share, 0
// for none.
func lastEnd(events []Stored, device string) uint64 {
	for _, stored := range slices.Backward(events) {
		event, err := decode[share.Event](stored)
		if end, ok := event.(share.DeviceRemoved); err == nil && ok && end.Device == device {
			return stored.Position
		}
	}
	return 0
}

// follow decides over a stream and appends what follows from the event with the
// id cause. It does nothing more when the cause is followed again.
func follow[S any, E event.Event](
	ctx context.Context, s *Service, cause uuid.UUID, name string, evolve func(S, E) S, decide func(stream[S]) ([]E, error),
) (outcome[S, E], error) {
	var done outcome[S, E]
	err := s.inTurn(ctx, name, "", func() error {
		there, err := load(ctx, s.log, name, evolve)
		if err != nil {
			return err
		}
		events, err := decide(there)
		if err != nil {
			return err
		}
		done = after(there, events, evolve)
		if len(events) == 0 {
			return nil
		}
		list, err := following(cause, there, events, evolve)
		if err != nil {
			return err
		}
		done.position, err = s.append(ctx, name, there.revision(), list)
		return err
	})
	if err != nil {
		return outcome[S, E]{}, err
	}
	return done, nil
}

// following encodes the events that follow from a cause. Their ids follow from it
// and the revisions that they get, so that an append that is tried again is one.
func following[S any, E event.Event](cause uuid.UUID, there stream[S], events []E, evolve func(S, E) S) ([]Pending, error) {
	meta, err := json.Marshal(metadata{Cause: cause.String()})
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
		id := uuid.NewSHA1(cause, []byte(there.name+"\x00"+strconv.FormatInt(there.revision()+1+int64(i), 10)))
		list[i] = Pending{ID: id, Type: name, Data: data, Metadata: meta, TakesAway: takesAway(state, e)}
		state = evolve(state, e)
	}
	return list, nil
}
