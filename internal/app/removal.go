package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/ids"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// After a device is removed, it is taken out of the shares that hold it.

const (
	// followWithin limits what a removal does about the device's shares before it
	// responds.
	followWithin = 5 * time.Second
	// findWithin limits finding them.
	findWithin = 2 * time.Second
)

// followRemoval ends the shares of a device whose removal, the event cause, is at
// a position in the log. It returns the position of the last event that this
// needed, 0 for none.
func (d *Devices) followRemoval(ctx context.Context, cause uuid.UUID, device string, at position.Position) position.Position {
	if d.shares == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, followWithin)
	defer cancel()
	finding, stop := context.WithTimeout(ctx, findWithin)
	defer stop()
	removed := at
	holding, lost, err := d.shares.SharesWithDevice(finding, device, removed)
	if err == nil {
		at, err = d.core.endShares(ctx, cause, device, holding)
	}
	for _, id := range lost {
		ended, unknown := d.core.endedSince(ctx, ids.Share(id), ids.Device(device), removed)
		at, err = max(at, ended), errors.Join(err, unknown)
	}
	if err != nil {
		d.core.logger.WarnContext(ctx, "the shares of a removed device will end later", "device", device, "error", err)
	}
	return at
}

// EndShares is the policy that follows a removed device: it takes the device out of the
// shares that hold it. cause is the id of the device.Removed event; following it again
// has no further effect. That event ends all access to the device, whether this runs or
// not.
func (d *Devices) EndShares(ctx context.Context, cause uuid.UUID, device string, shares []string) error {
	// By a read model, the device was removed; as the consequences cannot be undone, the
	// log must confirm it.
	if gone, err := d.core.gone(ctx, device); err != nil || !gone {
		return err
	}
	var failed []error
	if err := forgetCamera(ctx, d.cameras, device); err != nil {
		failed = append(failed, err)
	}
	if _, err := d.core.endShares(ctx, cause, device, shares); err != nil {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// gone reports whether the device has no owner: its id is never reused.
func (s *core) gone(ctx context.Context, device string) (bool, error) {
	d, err := s.loadDevice(ctx, device)
	return err == nil && !d.Live, err
}

// endShares takes a removed device out of shares. It returns the position of the last
// event that this needed, whoever wrote it.
func (s *core) endShares(ctx context.Context, cause uuid.UUID, device string, shares []string) (position position.Position, err error) {
	var failed []error
	for _, id := range shares {
		ended, err := s.endShare(ctx, cause, ids.Device(device), ids.Share(id))
		if err != nil {
			failed = append(failed, fmt.Errorf("taking a removed device out of share %s: %w", id, err))
		}
		position = max(position, ended.position)
	}
	return position, errors.Join(failed...)
}

// endShare takes a removed device out of a share. The result is the share without it,
// whoever took it out. If the device went to another account with its shares, it is in one
// of the new owner's before.
func (s *core) endShare(ctx context.Context, cause uuid.UUID, device ids.Device, id ids.Share) (outcome[share.State, share.Event], error) {
	if _, _, ok := share.Parties(string(id)); !ok {
		return outcome[share.State, share.Event]{}, share.ErrNotFound
	}
	end := share.EndDevice{Device: string(device)}
	var goesOn kept
	gone, went, err := s.handedOver(ctx, string(device))
	if went && err == nil {
		end.Why = share.HandedOver
		goesOn, err = s.keepShare(ctx, cause, gone, id)
	}
	if err != nil {
		return outcome[share.State, share.Event]{}, err
	}
	done, err := run(ctx, s, s.following(cause), onShare(string(id)), func(there stream[share.State]) ([]share.Event, error) {
		end.At = s.now()
		return share.Decide(there.state, end)
	})
	if err == nil && len(done.events) == 0 {
		done.position, err = s.endedSince(ctx, id, device, 0)
	}
	if err == nil {
		done.position = max(done.position, goesOn.position, s.keepDomain(ctx, goesOn))
	}
	return done, err
}

// shareDeviceRemoved is the type of the event that takes a device out of a share.
var shareDeviceRemoved = share.DeviceRemoved{}.Type()

// endedSince returns the position of the last event that took a device out of a share
// after a position in the log, 0 for none.
func (s *core) endedSince(ctx context.Context, id ids.Share, device ids.Device, position position.Position) (position.Position, error) {
	ends := func(e Stored) bool {
		if e.Type != shareDeviceRemoved {
			return false
		}
		event, err := decode[share.Event](e)
		end, ok := event.(share.DeviceRemoved)
		return err == nil && ok && end.Device == string(device)
	}
	events, err := s.log.LoadBack(ctx, shareStream(string(id)), func(e Stored, _ int) bool { return e.Position <= position || ends(e) })
	if err != nil {
		return 0, unavailable(fmt.Errorf("loading share %s: %w", id, err))
	}
	if len(events) == 0 || events[0].Position <= position || !ends(events[0]) {
		return 0, nil
	}
	return events[0].Position, nil
}
