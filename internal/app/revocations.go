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

// Revocations repeats revocations that a restored log has lost.
type Revocations struct {
	core      *core
	cameras   Cameras
	secrets   StreamSecrets
	passwords Passwords
}

// Reapply repeats a revocation that a restored log has lost. It never grants anything,
// and reports whether it changed anything: it is idempotent.
func (r *Revocations) Reapply(ctx context.Context, lost event.Revocation) (changed bool, err error) {
	switch lost.Kind {
	case event.ShareDeviceTaken, event.SharePaused, event.ShareEmptied, event.ShareEnded:
		changed, err = r.toShare(ctx, lost)
	case event.DeviceTaken:
		changed, err = r.toDevice(ctx, lost)
	case event.StreamKeyTaken:
		changed, err = r.toKey(ctx, lost)
	case event.PasswordTaken:
		changed, err = r.toPassword(ctx, lost)
	case event.AddressTaken:
		changed, err = r.toAddress(ctx, lost)
	case event.OfferTaken:
		changed, err = r.toOffer(ctx, lost)
	default:
		err = fmt.Errorf("unknown kind of revocation %q", lost.Kind)
	}
	if err != nil {
		return false, fmt.Errorf("repeating the revocation of event %s: %w", lost.Event, err)
	}
	return changed, nil
}

func (r *Revocations) toShare(ctx context.Context, lost event.Revocation) (bool, error) {
	if _, _, ok := share.Parties(lost.Share); !ok {
		return false, fmt.Errorf("%q is not a share id", lost.Share)
	}
	if lost.Kind != event.SharePaused && (lost.Device == "") != (lost.Kind != event.ShareDeviceTaken) {
		return false, fmt.Errorf("invalid revocation of kind %s with device %q", lost.Kind, lost.Device)
	}
	todo := share.Reapply{Device: lost.Device, Delete: lost.Kind == event.ShareEnded, Pause: lost.Kind == event.SharePaused, At: r.core.now()}
	done, err := run(ctx, r.core, r.core.following(lost.Event), onShare(lost.Share), func(there stream[share.State]) ([]share.Event, error) {
		return share.Decide(there.state, todo)
	})
	return len(done.events) > 0, err
}

func (r *Revocations) toDevice(ctx context.Context, lost event.Revocation) (bool, error) {
	serial, ok := device.SerialOf(lost.Device)
	if !ok {
		return false, fmt.Errorf("%q is not a device id", lost.Device)
	}
	done, err := run(ctx, r.core, r.core.following(lost.Event), onAnyDevice(serial), func(there stream[device.State]) ([]device.Event, error) {
		events, err := device.Decide(there.state, device.Remove{Device: lost.Device, By: there.state.Owner, At: r.core.now()})
		if errors.Is(err, device.ErrNotFound) {
			return nil, nil
		}
		return events, err
	})
	if err != nil {
		return false, err
	}
	return len(done.events) > 0, forgetCamera(ctx, r.cameras, lost.Device)
}

// toOffer withdraws exactly that offer of a device.
func (r *Revocations) toOffer(ctx context.Context, lost event.Revocation) (bool, error) {
	of, number, ok := device.ParseTransfer(lost.Key)
	if !ok || of != lost.Device {
		return false, fmt.Errorf("%q is not the id of an offer of device %q", lost.Key, lost.Device)
	}
	return r.core.withdraw(ctx, r.core.following(lost.Event), of, number, anyOffer)
}

func (r *Revocations) toKey(ctx context.Context, lost event.Revocation) (bool, error) {
	done, err := run(ctx, r.core, r.core.following(lost.Event), onAccount(lost.Account), func(there stream[account.State]) ([]account.Event, error) {
		events, err := account.Decide(there.state, account.RevokeKey{Key: lost.Key, At: r.core.now()})
		if errors.Is(err, account.ErrKeyNotFound) {
			return nil, nil
		}
		return events, err
	})
	if err != nil {
		return false, err
	}
	if err := r.secrets.ForgetStreamSecret(ctx, lost.Key); err != nil {
		return false, unavailable(fmt.Errorf("forgetting the secret of a stream key: %w", err))
	}
	return len(done.events) > 0, nil
}

// toPassword makes the password void that came back in place of a newer one. The log goes
// first: an older vault that is put back later must meet the event.
func (r *Revocations) toPassword(ctx context.Context, lost event.Revocation) (bool, error) {
	_, err := run(ctx, r.core, r.core.following(lost.Event), onAccount(lost.Account), func(there stream[account.State]) ([]account.Event, error) {
		events, err := account.Decide(there.state, account.ChangePassword{By: account.ByRestore, At: r.core.now()})
		if errors.Is(err, account.ErrNotRegistered) {
			return nil, nil
		}
		return events, err
	})
	if err != nil {
		return false, err
	}
	changed, err := r.passwords.VoidPassword(ctx, lost.Account)
	if err != nil {
		return false, unavailable(fmt.Errorf("making a password void: %w", err))
	}
	return changed, nil
}

// toAddress removes an address from an account again, and frees its login. What was accepted
// by it has its own revocations, or ends by the policy that follows the event. The last
// address that is proven stays: nobody could log in to the account any more.
func (r *Revocations) toAddress(ctx context.Context, lost event.Revocation) (bool, error) {
	done, err := run(ctx, r.core, r.core.following(lost.Event), onAccount(lost.Account), func(there stream[account.State]) ([]account.Event, error) {
		events, err := account.Decide(there.state, account.RemoveAddress{Login: lost.Key, At: r.core.now()})
		switch {
		case errors.Is(err, account.ErrLastAddress):
			r.core.logger.WarnContext(ctx, "an address that was removed is an account's again: it has no other one that is proven", "account", lost.Account)
			return nil, nil
		case errors.Is(err, account.ErrAddressNotFound), errors.Is(err, account.ErrNotRegistered):
			return nil, nil
		}
		return events, err
	})
	if err != nil || len(done.events) == 0 {
		return false, err
	}
	on := target[account.State, account.Event]{kind: loginKind, name: loginStream(lost.Key)}
	_, err = run(ctx, r.core, r.core.following(lost.Event), on, func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.Release{Account: lost.Account, At: r.core.now()})
	})
	return true, err
}
