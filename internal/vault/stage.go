package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// Staged is a camera of a device that a command is about to add. It is in the vault
// before the device is in the log, and becomes the device's camera afterwards. An
// interrupted command leaves it staged; the log then determines what to do with it.
type Staged struct {
	Device  string    // the id that the device gets
	Command string    // the command, among several that add the device at once
	At      time.Time // when it was staged
}

// id returns the name of a staged camera. Neither part has spaces.
func (s Staged) id() string { return s.Device + " " + s.Command }

// stagedCamera is the value of a staged camera.
type stagedCamera struct {
	Camera
	At time.Time `json:"at"`
}

// StageCamera stores the camera of a device for when the command has succeeded.
func (v *Vault) StageCamera(ctx context.Context, device, command string, c Camera) error {
	s := Staged{Device: device, Command: command}
	value, err := json.Marshal(stagedCamera{Camera: c, At: v.now().UTC()})
	if err != nil {
		return fmt.Errorf("encoding the camera of %s: %w", device, err)
	}
	return v.setSecret(ctx, kindStagedCamera, s.id(), value)
}

// ConfirmCamera makes a staged camera the camera of its device. ErrNotFound: nothing is
// staged; it may have been confirmed before. A loss of power may undo it; it is then
// staged again.
func (v *Vault) ConfirmCamera(ctx context.Context, device, command string) error {
	s := Staged{Device: device, Command: command}
	value, err := v.secret(ctx, kindStagedCamera, s.id())
	if err != nil {
		return err
	}
	var staged stagedCamera
	if err := json.Unmarshal(value, &staged); err != nil {
		return fmt.Errorf("decoding the staged camera of %s: %w", device, err)
	}
	plain, err := json.Marshal(staged.Camera)
	if err != nil {
		return fmt.Errorf("encoding the camera of %s: %w", device, err)
	}
	row := v.sealedSecret(kindCamera, device, plain)
	err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		// Of two concurrent confirmations, the second must not overwrite a newer camera
		// with an old one.
		first, err := v.dropSecret(ctx, tx, kindStagedCamera, s.id())
		if err != nil || !first {
			return err
		}
		return v.putSecret(ctx, tx, row)
	})
	if err != nil {
		return fmt.Errorf("storing the camera of %s: %w", device, err)
	}
	return nil
}

// DropStaged deletes a staged camera.
func (v *Vault) DropStaged(ctx context.Context, device, command string) error {
	return v.forgetSecret(ctx, kindStagedCamera, Staged{Device: device, Command: command}.id())
}

// StagedCameras lists the staged cameras.
func (v *Vault) StagedCameras(ctx context.Context) ([]Staged, error) {
	ids, err := v.secretIDs(ctx, kindStagedCamera)
	if err != nil {
		return nil, err
	}
	var list []Staged
	for _, id := range ids {
		s := Staged{}
		s.Device, s.Command, _ = strings.Cut(id, " ")
		if value, err := v.secret(ctx, kindStagedCamera, id); err == nil { // else it is damaged or gone: treated as infinitely old
			var staged stagedCamera
			_ = json.Unmarshal(value, &staged) // the same
			s.At = staged.At
		}
		list = append(list, s)
	}
	return list, nil
}

// Cameras lists the devices that have a camera.
func (v *Vault) Cameras(ctx context.Context) ([]string, error) { return v.secretIDs(ctx, kindCamera) }

// StreamKeys lists the stream keys that have a secret.
func (v *Vault) StreamKeys(ctx context.Context) ([]string, error) {
	return v.secretIDs(ctx, kindStreamKey)
}

// Accounts lists the accounts that have a password.
func (v *Vault) Accounts(ctx context.Context) ([]string, error) {
	var ids []string
	if err := v.db.NewSelect().Model((*password)(nil)).Column("account").Scan(ctx, &ids); err != nil {
		return nil, fmt.Errorf("listing the accounts: %w", err)
	}
	return ids, nil
}

// Empty reports whether no account has a password.
func (v *Vault) Empty(ctx context.Context) (bool, error) {
	some, err := v.db.NewSelect().Model((*password)(nil)).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("checking for accounts: %w", err)
	}
	return !some, nil
}

// Alone reports whether exactly one account has a password.
func (v *Vault) Alone(ctx context.Context) (bool, error) {
	n, err := v.db.NewSelect().Model((*password)(nil)).Count(ctx)
	if err != nil {
		return false, fmt.Errorf("counting accounts: %w", err)
	}
	return n == 1, nil
}
