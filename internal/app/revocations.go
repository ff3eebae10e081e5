package app

import (
	"context"
	"errors"
	"fmt"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
)

// Reapply takes away again what a restored log has lost the revocation of. It
// never gives anything, and reports whether it changed anything: doing it again
// does not.
func (s *Service) Reapply(ctx context.Context, r event.Revocation) (changed bool, err error) {
	switch r.Kind {
	case event.ShareDeviceTaken, event.ShareEmptied, event.ShareEnded:
		changed, err = s.reapplyToShare(ctx, r)
	case event.DeviceTaken:
		changed, err = s.reapplyToDevice(ctx, r)
	case event.StreamKeyTaken:
		changed, err = s.reapplyToKey(ctx, r)
	default:
		err = fmt.Errorf("%q is not a kind of revocation that this build knows", r.Kind)
	}
	if err != nil {
		return false, fmt.Errorf("repeating the revocation of event %s: %w", r.Event, err)
	}
	return changed, nil
}

func (s *Service) reapplyToShare(ctx context.Context, r event.Revocation) (bool, error) {
	if _, _, ok := share.Parties(r.Share); !ok {
		return false, fmt.Errorf("%q is not the id of a share", r.Share)
	}
	if (r.Device == "") != (r.Kind != event.ShareDeviceTaken) {
		return false, fmt.Errorf("a revocation of kind %s with device %q makes no sense", r.Kind, r.Device)
	}
	todo := share.Reapply{Device: r.Device, Delete: r.Kind == event.ShareEnded, At: s.now()}
	done, err := follow(ctx, s, r.Event, shareStream(r.Share), share.Evolve, func(there stream[share.State]) ([]share.Event, error) {
		return share.Decide(there.state, todo)
	})
	return len(done.events) > 0, err
}

func (s *Service) reapplyToDevice(ctx context.Context, r event.Revocation) (bool, error) {
	serial, ok := device.SerialOf(r.Device)
	if !ok {
		return false, fmt.Errorf("%q is not the id of a device", r.Device)
	}
	done, err := follow(ctx, s, r.Event, deviceStream(serial), device.Evolve, func(there stream[device.State]) ([]device.Event, error) {
		events, err := device.Decide(there.state, device.Remove{Device: r.Device, By: there.state.Owner, At: s.now()})
		if errors.Is(err, device.ErrNotFound) {
			return nil, nil
		}
		return events, err
	})
	if err != nil {
		return false, err
	}
	return len(done.events) > 0, s.forgetCamera(ctx, r.Device)
}

func (s *Service) reapplyToKey(ctx context.Context, r event.Revocation) (bool, error) {
	done, err := follow(ctx, s, r.Event, accountStream(r.Account), account.Evolve, func(there stream[account.State]) ([]account.Event, error) {
		events, err := account.Decide(there.state, account.RevokeKey{Key: r.Key, At: s.now()})
		if errors.Is(err, account.ErrKeyNotFound) {
			return nil, nil
		}
		return events, err
	})
	if err != nil {
		return false, err
	}
	if err := s.streamSecrets.ForgetStreamSecret(ctx, r.Key); err != nil {
		return false, unavailable(fmt.Errorf("forgetting the secret of a stream key: %w", err))
	}
	return len(done.events) > 0, nil
}
