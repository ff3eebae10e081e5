package domain

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/share"
)

// Revocation is something that was taken away, by ids only. Fields that its kind
// does not need are "".
type Revocation struct {
	Kind    RevocationKind
	Event   uuid.UUID // the event that took it away
	Share   string
	Device  string
	Account string
	Key     string
}

// RevocationKind is what a revocation took away. Its values are stored.
type RevocationKind string

// The kinds of revocations.
const (
	// ShareDeviceTaken is a device of a share: taken back, left, rejected, or
	// with other privileges than before.
	ShareDeviceTaken RevocationKind = "share_device"
	// ShareEmptied is every device of a share, of which the share stays.
	ShareEmptied RevocationKind = "share_emptied"
	// ShareEnded is a whole share.
	ShareEnded RevocationKind = "share"
	// DeviceTaken is a device that its owner removed.
	DeviceTaken RevocationKind = "device"
	// StreamKeyTaken is a stream key.
	StreamKeyTaken RevocationKind = "stream_key"
)

// revoking says of every event whether it takes something away.
var revoking = map[string]bool{
	"latchkey.login.claimed.v1":           false,
	"latchkey.account.registered.v1":      false,
	"latchkey.stream_key.added.v1":        false,
	"latchkey.stream_key.revoked.v1":      true,
	"latchkey.device.added.v1":            false,
	"latchkey.device.removed.v1":          true,
	"latchkey.device_domain.claimed.v1":   false,
	"latchkey.share.opened.v1":            false,
	"latchkey.share.remark_changed.v1":    false,
	"latchkey.share.invited.v1":           false,
	"latchkey.share.accepted.v1":          false,
	"latchkey.share.rejected.v1":          true,
	"latchkey.share.privileges_edited.v1": true,
	"latchkey.share.device_removed.v1":    true,
	"latchkey.share.left.v1":              true,
	"latchkey.share.domain_set.v1":        false,
	"latchkey.share.deleted.v1":           true,
}

// RevocationOf returns what an event took away; ok is false if it took nothing.
// ErrUnknownEvent: this build does not know the type, so it may be either.
func RevocationOf(id uuid.UUID, name string, data []byte) (r Revocation, ok bool, err error) {
	revokes, known := revoking[name]
	if !known {
		return r, false, fmt.Errorf("reading event %s of type %q: %w", id, name, ErrUnknownEvent)
	}
	if !revokes {
		return r, false, nil
	}
	event, err := DecodeEvent(name, data)
	if err != nil {
		return r, false, fmt.Errorf("reading event %s: %w", id, err)
	}
	switch e := event.(type) {
	case account.StreamKeyRevoked:
		r = Revocation{Kind: StreamKeyTaken, Account: e.Account, Key: e.Key}
	case device.Removed:
		r = Revocation{Kind: DeviceTaken, Device: e.Device}
	case share.Rejected:
		r = Revocation{Kind: ShareDeviceTaken, Share: e.Share, Device: e.Device}
	case share.PrivilegesEdited:
		r = Revocation{Kind: ShareDeviceTaken, Share: e.Share, Device: e.Device}
	case share.DeviceRemoved:
		r = Revocation{Kind: ShareDeviceTaken, Share: e.Share, Device: e.Device}
	case share.Left:
		r = Revocation{Kind: ShareDeviceTaken, Share: e.Share, Device: e.Device}
	case share.Deleted:
		r = Revocation{Kind: ShareEnded, Share: e.Share}
	default:
		return r, false, fmt.Errorf("event %s takes something away, but a %T is not known to", id, event)
	}
	r.Event = id
	return r, true, nil
}

// Reapply takes away again what a restored log has lost the revocation of. It
// never gives anything, and reports whether it changed anything: doing it again
// does not.
func (s *Service) Reapply(ctx context.Context, r Revocation) (changed bool, err error) {
	switch r.Kind {
	case ShareDeviceTaken, ShareEmptied, ShareEnded:
		changed, err = s.reapplyToShare(ctx, r)
	case DeviceTaken:
		changed, err = s.reapplyToDevice(ctx, r)
	case StreamKeyTaken:
		changed, err = s.reapplyToKey(ctx, r)
	default:
		err = fmt.Errorf("%q is not a kind of revocation that this build knows", r.Kind)
	}
	if err != nil {
		return false, fmt.Errorf("repeating the revocation of event %s: %w", r.Event, err)
	}
	return changed, nil
}

func (s *Service) reapplyToShare(ctx context.Context, r Revocation) (bool, error) {
	if _, _, ok := partiesOf(r.Share); !ok {
		return false, fmt.Errorf("%q is not the id of a share", r.Share)
	}
	if (r.Device == "") != (r.Kind != ShareDeviceTaken) {
		return false, fmt.Errorf("a revocation of kind %s with device %q makes no sense", r.Kind, r.Device)
	}
	todo := share.Reapply{Device: r.Device, Delete: r.Kind == ShareEnded, At: s.now()}
	done, err := follow(ctx, s, r.Event, shareStream(r.Share), share.Evolve, func(there stream[share.State]) ([]share.Event, error) {
		return share.Decide(there.state, todo)
	})
	return len(done.events) > 0, err
}

func (s *Service) reapplyToDevice(ctx context.Context, r Revocation) (bool, error) {
	serial, ok := serialOf(r.Device)
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

func (s *Service) reapplyToKey(ctx context.Context, r Revocation) (bool, error) {
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
