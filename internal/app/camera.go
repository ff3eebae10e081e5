package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
)

// stagedFor is how long a staged camera waits for its device: far longer than any command
// takes.
const stagedFor = 10 * time.Minute

// addedCamera is the camera of a device that a command adds.
type addedCamera struct {
	core    *core
	cameras Cameras
	command command
	camera  Camera
	staged  []string // the ids that the device would have got, one per attempt

	guessed string       // the id of a serial that was never added before, "" for none
	early   func() error // waits for the camera that is staged for it
}

// guess begins to stage the camera for a new serial, as most are, while the log is read.
// A repeat must not stage anything, so commands that may be one do not guess.
func (a *addedCamera) guess(ctx context.Context, id string) {
	if a.command.IdempotencyKey != "" {
		return
	}
	done := make(chan error, 1)
	go func() { done <- a.cameras.StageCamera(ctx, id, a.name(id), a.camera) }()
	a.guessed, a.early = id, sync.OnceValue(func() error { return <-done })
	a.staged = append(a.staged, id)
}

// name is the command's name in the vault: the id of the event that adds the device.
func (a *addedCamera) name(id string) string {
	serial, _ := device.SerialOf(id)
	return a.command.id(deviceStream(serial), 0).String()
}

// missing returns the refusal, or nil if the vault has no camera for the device. The
// camera of the command that added the device, whose event is adder, may still be staged:
// it belongs to the device, unlike that of a concurrent command.
func (a *addedCamera) missing(ctx context.Context, id string, adder uuid.UUID, refusal error) error {
	staged, err := a.cameras.ConfirmCamera(ctx, id, adder.String())
	if err != nil {
		return unavailable(fmt.Errorf("storing a device's camera: %w", err))
	}
	if staged {
		return refusal
	}
	missing, err := cameraMissing(ctx, a.cameras, id)
	if err != nil {
		return err
	}
	if !missing {
		return refusal
	}
	return nil
}

func (a *addedCamera) stage(ctx context.Context, id string) error {
	var err error
	if id == a.guessed {
		err = a.early()
	} else {
		err = a.cameras.StageCamera(ctx, id, a.name(id), a.camera)
		a.staged = append(a.staged, id)
	}
	if err != nil {
		return unavailable(fmt.Errorf("storing a device's camera: %w", err))
	}
	return nil
}

// keep makes the camera the device's, which is in the log. For a new device it was just
// staged: if it cannot be confirmed, the sweep does it.
func (a *addedCamera) keep(ctx context.Context, id string, added bool) error {
	if id == a.guessed {
		_ = a.early() // if it failed, nothing is staged
	}
	staged, err := a.cameras.ConfirmCamera(ctx, id, a.name(id))
	if err != nil && added {
		a.core.logger.WarnContext(ctx, "a device's camera stays staged for now", "device", id, "error", err)
		return nil
	}
	var has bool
	if err == nil && !staged {
		has, err = a.cameras.HasCamera(ctx, id)
	}
	if err == nil && !staged && !has {
		err = a.cameras.SetCamera(ctx, id, a.camera)
	}
	if err != nil {
		return unavailable(fmt.Errorf("storing a device's camera: %w", err))
	}
	return nil
}

// refused drops what was staged for a command that was refused. After any other error the
// device may be in the log.
func (a *addedCamera) refused(ctx context.Context, refusal error) {
	if e, ok := errors.AsType[*Error](refusal); ok && e.Kind != Unavailable {
		a.dropBut(ctx, "")
	}
}

// dropBut drops what was staged for other ids than the one that the device got.
func (a *addedCamera) dropBut(ctx context.Context, got string) {
	for _, id := range a.staged {
		if id == got {
			continue
		}
		a.core.afterwards(ctx, "forgetting a staged camera", func(ctx context.Context) error {
			if id == a.guessed {
				_ = a.early() // or it is staged after this
			}
			return a.cameras.DropStaged(ctx, id, a.name(id))
		})
	}
}

// SettleStaged completes an interrupted command: it handles a camera that was staged for
// a device, by a command, at a time. If by the log this command added the device, and the
// device has no camera, the camera becomes the device's; if the log has no such event for
// long enough, the camera is dropped.
func (d *Devices) SettleStaged(ctx context.Context, id, command string, at time.Time) error {
	added, err := d.added(ctx, id, command)
	if err != nil {
		return err
	}
	if !added && d.core.now().Sub(at) < stagedFor {
		return nil
	}
	if added {
		if added, err = cameraMissing(ctx, d.cameras, id); err != nil {
			return err
		}
	}
	if added {
		_, err = d.cameras.ConfirmCamera(ctx, id, command)
	} else {
		err = d.cameras.DropStaged(ctx, id, command)
	}
	if err != nil {
		return unavailable(fmt.Errorf("settling a staged camera: %w", err))
	}
	return nil
}

func cameraMissing(ctx context.Context, cameras Cameras, id string) (bool, error) {
	has, err := cameras.HasCamera(ctx, id)
	if err != nil {
		return false, unavailable(fmt.Errorf("looking up a device's camera: %w", err))
	}
	return !has, nil
}

// added reports whether the device is in an account, added by the event with that id.
func (d *Devices) added(ctx context.Context, id, event string) (bool, error) {
	serial, ok := device.SerialOf(id)
	if !ok {
		return false, nil
	}
	there, err := load(ctx, d.core, deviceKind, deviceStream(serial))
	if err != nil || !there.state.Live || there.state.Device != id {
		return false, err
	}
	want, err := uuid.Parse(event)
	if err != nil {
		return false, nil // not one of ours: it is dropped in time
	}
	adder, err := d.core.adderOf(ctx, there)
	return adder == want, err
}

// adderOf returns the id of the event that added a device which is in an account. Later
// events may have changed it.
func (s *core) adderOf(ctx context.Context, there stream[device.State]) (uuid.UUID, error) {
	added := device.Added{}.Type()
	if there.last.Type == added {
		return there.last.ID, nil
	}
	events, err := s.log.LoadBack(ctx, there.name, func(e Stored, _ int) bool { return e.Type == added })
	if err != nil {
		return uuid.Nil, unavailable(fmt.Errorf("looking for the addition of a device: %w", err))
	}
	for _, e := range events {
		if e.Type == added {
			return e.ID, nil
		}
	}
	return uuid.Nil, nil
}
