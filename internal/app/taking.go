package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/internal/position"
)

// taking is what a command needs that takes a device over from another account: room for
// it, and how it is reached, which is in the vault before the device is in the log.
type taking struct {
	devices *Devices
	command command
	serial  string // canonical

	rooms  []*room
	staged string // the id that the device gets, "" if nothing is staged
	at     position.Position
}

// name is that of the command in the vault: the id of the event that adds the device, the
// second one that it writes.
func (t *taking) name() string { return t.command.id(deviceStream(t.serial), 1).String() }

// room takes room for the device, and for its shares if they go on.
func (t *taking) room(ctx context.Context, id string, shares device.Shares, at position.Position) error {
	if t.rooms != nil || t.devices.core.quotas == nil {
		return nil
	}
	account := t.command.Account
	quotas := []string{QuotaDevices}
	if shares == device.KeepShares && t.devices.shares != nil {
		finding, stop := context.WithTimeout(ctx, findWithin)
		defer stop()
		holding, _, err := t.devices.shares.SharesWithDevice(finding, id, at)
		if err != nil {
			return unavailable(fmt.Errorf("counting the shares of a device: %w", err))
		}
		for range holding {
			quotas = append(quotas, QuotaShares)
		}
	}
	for i, quota := range quotas {
		spend := func() error { return nil }
		if i == 0 {
			spend = func() error { return t.devices.spendAddition(account, t.serial) }
		}
		r := t.devices.core.room(account, quota)
		if err := r.take(ctx, spend); err != nil {
			t.settle(err)
			t.rooms = nil
			return err
		}
		t.rooms = append(t.rooms, r)
	}
	return nil
}

// settle must be called with the outcome of the command.
func (t *taking) settle(err error) {
	for _, r := range t.rooms {
		r.settled(t.at, err)
	}
	t.rooms = nil
}

// stageOld stages how the owner before reaches the device, for the one that the events
// add. Where the vault has lost it, the new owner sets it.
func (t *taking) stageOld(ctx context.Context, there device.State, events []device.Event) error {
	camera, found, err := t.devices.cameras.Camera(ctx, there.Device)
	if err != nil {
		return unavailable(fmt.Errorf("reading how a device is reached: %w", err))
	}
	if !found {
		return nil
	}
	return t.stage(ctx, camera, events)
}

func (t *taking) stage(ctx context.Context, camera Camera, events []device.Event) error {
	for _, e := range events {
		if added, ok := e.(device.Added); ok {
			t.staged = added.Device
		}
	}
	if err := t.devices.cameras.StageCamera(ctx, t.staged, t.name(), camera); err != nil {
		return unavailable(fmt.Errorf("storing how a device is reached: %w", err))
	}
	return nil
}

// refused drops what was staged for a command that was refused. After any other error the
// device may be in the log; SettleStaged knows.
func (t *taking) refused(ctx context.Context, refusal error) {
	if e, ok := errors.AsType[*Error](refusal); ok && e.Kind != Unavailable && t.staged != "" {
		t.devices.core.afterwards(ctx, "forgetting a staged camera", func(ctx context.Context) error {
			return t.devices.cameras.DropStaged(ctx, t.staged, t.name())
		})
	}
}

// finish does what follows from the append that made the device another account's.
func (t *taking) finish(ctx context.Context, done outcome[device.State, device.Event]) (DeviceChanged, error) {
	d := t.devices
	t.at = done.position
	result := DeviceChanged{Position: done.position, Device: done.state, Unproven: !done.state.Facts.Proven()}
	if len(done.events) == 0 {
		return result, nil
	}
	before, ok := done.events[0].(device.Removed)
	if !ok {
		return result, nil
	}
	if _, err := d.cameras.ConfirmCamera(ctx, before.Next, t.name()); err != nil {
		d.core.logger.WarnContext(ctx, "a device's camera stays staged for now", "device", before.Next, "error", err)
	}
	d.core.freed(before.Owner, QuotaDevices, done.position)
	wait := d.core.meanwhile(ctx, "forgetting how a device was reached before", func(ctx context.Context) error {
		return forgetCamera(ctx, d.cameras, before.Device)
	})
	result.Position = max(result.Position, d.followRemoval(ctx, t.command.id(deviceStream(t.serial), 0), before.Device, done.position))
	t.at = result.Position
	wait()
	t.unlessClosed(ctx, before.Next)
	return result, nil
}

// FinishHandover is the policy that follows a device that went to an account: if that was
// closed meanwhile, the device is removed again. cause is the id of the event; following it
// again does nothing more.
func (d *Devices) FinishHandover(ctx context.Context, cause uuid.UUID, e device.Added) error {
	there, err := load(ctx, d.core, accountKind, accountStream(e.Owner))
	if err != nil || !there.state.Closed {
		return err
	}
	c := command{Meta: Meta{Account: e.Owner}, seed: cause}
	return d.removeAgain(ctx, c, e.Device)
}

// notClosed refuses an account that was closed since the command began. It is the last thing
// before the append: what is refused leaves the device with its owner.
func (t *taking) notClosed(ctx context.Context) error {
	there, err := load(ctx, t.devices.core, accountKind, accountStream(t.command.Account))
	if err == nil && !there.state.Registered {
		err = refused(account.ErrNotRegistered)
	}
	return err
}

// unlessClosed removes the device again if the account that took it was closed meanwhile:
// either the closing finds the device, or this or the policy finds the account closed. It
// was the account's first.
func (t *taking) unlessClosed(ctx context.Context, id string) {
	there, err := load(ctx, t.devices.core, accountKind, accountStream(t.command.Account))
	if err == nil && there.state.Closed {
		err = t.devices.removeAgain(ctx, t.command, id)
	}
	if err != nil {
		t.devices.core.logger.WarnContext(ctx, "whether the account still is there that took a device is looked at later", "device", id, "error", err)
	}
}
