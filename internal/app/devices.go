package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// Devices adds devices to accounts and removes them.
type Devices struct {
	core    *core
	cameras Cameras
	prover  Prover         // nil: nobody connects to devices
	shares  SharesOfDevice // nil: only the policy finds them
	asked   AskedFor       // nil: requests for access are not limited
	names   names

	unproven bool // devices are added without connecting to them

	passwords   Passwords
	messenger   Messenger  // nil: nobody is told
	allowances  Allowances // nil: they are told each time
	transferTTL time.Duration
	reclaimWait time.Duration
	claims      ClaimsTo // nil: claims are not limited
}

// Add adds a device to the caller's account. Its camera is in the vault before the device
// is in the log: staged for this command, so that the loser of two concurrent additions
// of a serial overwrites nothing. SettleStaged, or a repeat with the same idempotency
// key, completes what a crash leaves staged.
//
// A device that is already the caller's is refused, unless the vault has lost its camera:
// then the camera is stored, and nothing else changes.
func (d *Devices) Add(ctx context.Context, m Meta, n NewDevice) (DeviceAdded, error) {
	c, err := d.core.begin(m, "add device", n.withoutSecrets())
	if err != nil {
		return DeviceAdded{}, err
	}
	f := faults{}
	n = n.withCredentials(f)
	n.check(f)
	if err := f.err(); err != nil {
		return DeviceAdded{}, err
	}
	var facts device.Facts
	if serial, before := d.addedBefore(ctx, c, n); before {
		n.Serial = serial
	} else if d.proves() && !n.Published { // that has a serial of ours, and is nobody else's
		if n, facts, err = d.prove(ctx, c, n); err != nil {
			return DeviceAdded{}, err
		}
		c.at = d.core.now() // it took a while
	}
	n = n.withChannels()
	add, err := d.addition(ctx, c, n)
	if err != nil {
		return DeviceAdded{}, err
	}
	add.Facts = facts
	room := d.core.room(c.Account, QuotaDevices)
	camera := addedCamera{core: d.core, cameras: d.cameras, command: c, camera: n.camera()}
	camera.guess(ctx, device.ID(add.Serial, 1))
	done, err := run(ctx, d.core, c, onDevice(add.Serial, c.Account, device.ErrTaken), func(there stream[device.State]) ([]device.Event, error) {
		events, err := device.Decide(there.state, add)
		if errors.Is(err, device.ErrAlreadyAdded) {
			adder, unread := d.core.adderOf(ctx, there)
			if unread != nil {
				return nil, unread
			}
			return nil, camera.missing(ctx, there.state.Device, adder, err)
		}
		if err != nil {
			return nil, err
		}
		if err := room.take(ctx, func() error { return d.spendAddition(c.Account, add.Serial) }); err != nil {
			return nil, err
		}
		id := device.Evolve(there.state, events[0]).Device
		return events, both(
			func() error { return d.names.refuseUsed(ctx, ids.Account(c.Account), ids.Device(id)) },
			func() error { return camera.stage(ctx, id) },
		)
	})
	room.settled(done.position, err)
	if err != nil {
		camera.refused(ctx, err)
		return DeviceAdded{}, point(err, n.field(err))
	}
	if err := d.settleAdded(ctx, c, &camera, done); err != nil {
		return DeviceAdded{}, point(err, n.field(err))
	}
	return DeviceAdded{Position: done.position, Device: done.state, Unproven: !done.state.Facts.Proven()}, nil
}

// addedBefore reports whether the same command has added a device already, and which:
// its repeat connects to no device.
func (d *Devices) addedBefore(ctx context.Context, c command, n NewDevice) (serial string, before bool) {
	if c.IdempotencyKey == "" || !d.proves() {
		return "", false
	}
	there, found, err := d.core.requests.FindRequest(ctx, d.core.claimOn(c, "").request.Key)
	serial, isDevice := strings.CutPrefix(there.Stream, deviceStream(""))
	if err != nil || !found || !isDevice || !sameRequest(there.Fingerprint, c.request) {
		return "", false
	}
	on, err := loadHistory(ctx, d.core, deviceKind, there.Stream)
	if err != nil {
		return "", false
	}
	_, _, repeat, err := c.repeated(on.name, on.events)
	return serial, repeat && err == nil
}

// addition returns the command for the decider.
func (d *Devices) addition(ctx context.Context, c command, n NewDevice) (add device.Add, err error) {
	add = device.Add{Owner: c.Account, Written: strings.TrimSpace(n.Serial), At: c.at}
	add.Serial, _ = device.Serial(n.Serial)
	if n.Serial == "" {
		if add.Serial, err = d.core.newSerial(c); err != nil {
			return add, err
		}
	}
	if add.Name, err = d.core.seal(ctx, c.Account, event.FieldDevice, n.Name); err != nil {
		return add, err
	}
	add.Channels, err = d.channels(ctx, c.Account, n.Channels)
	return add, err
}

// channels returns the channels for the event, without secrets.
func (d *Devices) channels(ctx context.Context, owner string, list []NewChannel) ([]device.Channel, error) {
	out := make([]device.Channel, len(list))
	for i, c := range list {
		name, err := d.core.seal(ctx, owner, event.FieldChannel, c.Name)
		if err != nil {
			return nil, err
		}
		out[i] = device.Channel{Channel: c.Channel, Name: name, Capabilities: c.Capabilities}
		if c.CapabilitiesUnknown {
			out[i].Capabilities = privilege.All
		}
	}
	return out, nil
}

// spendAddition uses up one of the daily additions, and one of this serial.
func (d *Devices) spendAddition(account, serial string) error {
	if err := d.core.spend(account, QuotaGenerations, serial, 1); err != nil {
		return err
	}
	return d.core.spend(account, QuotaAdditions, "", 1)
}

// settleAdded completes an addition once the device is in the log: its camera becomes its
// own, and if its id became the owner's domain for another device in the meantime, it is
// removed again.
func (d *Devices) settleAdded(ctx context.Context, c command, camera *addedCamera, done outcome[device.State, device.Event]) error {
	added := len(done.events) > 0 && !done.repeat
	camera.dropBut(ctx, done.state.Device)
	used := false
	err := both(func() error {
		if !done.latest.Live || done.latest.Device != done.state.Device {
			return nil
		}
		return camera.keep(ctx, done.state.Device, added)
	}, func() (err error) {
		if added {
			used, err = d.names.claimed(ctx, ids.Account(c.Account), done.state.Device, ids.Device(done.state.Device))
		}
		return err
	})
	if err != nil || !used {
		return err
	}
	if err := d.removeAgain(ctx, c, done.state.Device); err != nil {
		return err
	}
	return refused(errNameUsed)
}

// removeAgain removes a device that its owner cannot have.
func (d *Devices) removeAgain(ctx context.Context, c command, id string) error {
	serial, _ := device.SerialOf(id)
	cause := c.id(deviceStream(serial), 0)
	_, err := run(ctx, d.core, d.core.following(cause), onAnyDevice(serial), func(there stream[device.State]) ([]device.Event, error) {
		if there.state.Device != id || !there.state.Live {
			return nil, nil
		}
		return device.Decide(there.state, device.Remove{Device: id, By: c.Account, At: d.core.now()})
	})
	if err != nil {
		return err
	}
	d.core.afterwards(ctx, "forgetting how a removed device was reached", func(ctx context.Context) error {
		return forgetCamera(ctx, d.cameras, id)
	})
	return nil
}

// Remove takes a device out of the caller's account, and out of its shares. The first
// event alone ends all access: if its shares cannot be found or ended now, the command
// succeeds anyway, and EndShares follows.
func (d *Devices) Remove(ctx context.Context, m Meta, id string) (Done, error) {
	c, err := d.core.begin(m, "remove device", id)
	if err != nil {
		return Done{}, err
	}
	id = device.Canonical(id)
	serial, ok := device.SerialOf(id)
	if !ok {
		return Done{}, refused(device.ErrNotFound)
	}
	done, err := run(ctx, d.core, c, onDevice(serial, c.Account, device.ErrNotFound), func(there stream[device.State]) ([]device.Event, error) {
		return device.Decide(there.state, device.Remove{Device: id, By: c.Account, At: c.at})
	})
	if err != nil {
		return Done{}, err
	}
	d.core.freed(c.Account, QuotaDevices, done.position)
	wait := d.core.meanwhile(ctx, "forgetting how a removed device was reached", func(ctx context.Context) error {
		return forgetCamera(ctx, d.cameras, id)
	})
	position := max(done.position, d.followRemoval(ctx, c.id(deviceStream(serial), 0), id, done.position))
	wait()
	return Done{Position: position}, nil
}

// Live reports whether the device with that id is in an account, by the log.
func (d *Devices) Live(ctx context.Context, id string) (bool, error) {
	there, err := d.core.loadDevice(ctx, id)
	return there.Live, err
}

func forgetCamera(ctx context.Context, cameras Cameras, device string) error {
	if err := cameras.ForgetCamera(ctx, device); err != nil {
		return unavailable(fmt.Errorf("forgetting a device's camera: %w", err))
	}
	return nil
}
