package domain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"latchkey/domain/share"
)

// EndSharesOfDevice is the policy that follows a removed device: it takes the
// device out of the shares that hold it. cause is the id of the device.Removed
// event; following it again changes nothing more. Nobody may do anything on
// the device since that event, whether this runs or not.
func (s *Service) EndSharesOfDevice(ctx context.Context, cause uuid.UUID, device string, shares []string) error {
	var failed []error
	if err := s.forgetCamera(ctx, device); err != nil {
		failed = append(failed, err)
	}
	for _, id := range shares {
		if err := s.endShareOfDevice(ctx, cause, device, id); err != nil {
			failed = append(failed, fmt.Errorf("taking a removed device out of share %s: %w", id, err))
		}
	}
	return errors.Join(failed...)
}

func (s *Service) endShareOfDevice(ctx context.Context, cause uuid.UUID, device, id string) error {
	if _, _, ok := partiesOf(id); !ok {
		return share.ErrNotFound
	}
	for range maxTries {
		there, err := s.loadShare(ctx, id)
		if err != nil {
			return err
		}
		events, err := share.Decide(there.state, share.EndDevice{Device: device, At: s.now()})
		if err != nil || len(events) == 0 {
			return err
		}
		list, err := pendingPolicy(cause, there, events)
		if err != nil {
			return err
		}
		if _, err = s.append(ctx, there.name, there.revision(), list); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return busy(ErrConflict)
}

// pendingPolicy encodes the events of a policy. Their ids follow from the cause
// and the revision that they get, so that an append that is tried again is one.
func pendingPolicy(cause uuid.UUID, there stream[share.State], events []share.Event) ([]Pending, error) {
	meta, err := json.Marshal(metadata{Cause: cause.String()})
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	list := make([]Pending, len(events))
	for i, event := range events {
		name, data, err := EncodeEvent(event)
		if err != nil {
			return nil, err
		}
		id := uuid.NewSHA1(cause, []byte(there.name+"\x00"+strconv.FormatInt(there.revision()+1+int64(i), 10)))
		list[i] = Pending{ID: id, Type: name, Data: data, Metadata: meta, TakesAway: takesAway(there.state, event)}
		there.state = share.Evolve(there.state, event)
	}
	return list, nil
}
