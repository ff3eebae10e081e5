package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
)

// secret is a sealed value that must be readable in clear.
type secret struct {
	bun.BaseModel `bun:"table:vault_secrets"`

	Kind  string `bun:"kind,pk"`
	ID    string `bun:"id,pk"`
	Value []byte `bun:"value,notnull"`
}

// Camera is how a device is reached. None of it may reach a viewer or a log.
type Camera struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	ISAPIURL string `json:"isapi_url,omitempty"`
	ONVIFURL string `json:"onvif_url,omitempty"`
	// Certificate is the SHA-256, in hexadecimal, of the certificate that the owner has
	// confirmed for rtsps; "" for none.
	Certificate string `json:"certificate_sha256,omitempty"`

	Channels []CameraChannel `json:"channels"`
}

// CameraChannel has the addresses of one channel's streams; an empty SubURL means that it
// has no sub stream.
type CameraChannel struct {
	Channel int    `json:"channel"`
	MainURL string `json:"main_url"`
	SubURL  string `json:"sub_url,omitempty"`
}

const (
	kindCamera       = "camera"
	kindStagedCamera = "staged camera"
	kindStreamKey    = "stream key"
)

// SetCamera sets or replaces the camera of a device.
func (v *Vault) SetCamera(ctx context.Context, device string, c Camera) error {
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the camera of %s: %w", device, err)
	}
	row := v.sealedSecret(kindCamera, device, value)
	err = v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		replaced, err := v.dropSecret(ctx, tx, kindCamera, device)
		if err != nil {
			return false, err
		}
		return replaced, v.putSecret(ctx, tx, row)
	}, false)
	if err != nil {
		return fmt.Errorf("storing the camera of %s: %w", device, err)
	}
	return nil
}

// Camera returns the camera of a device. ErrNotFound: there is none.
func (v *Vault) Camera(ctx context.Context, device string) (Camera, error) {
	var c Camera
	value, err := v.secret(ctx, kindCamera, device)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(value, &c); err != nil {
		return Camera{}, fmt.Errorf("decoding the camera of %s: %w", device, err)
	}
	return c, nil
}

// HasCamera reports whether the vault has a readable camera of the device.
func (v *Vault) HasCamera(ctx context.Context, device string) (bool, error) {
	_, err := v.secret(ctx, kindCamera, device)
	if errors.Is(err, ErrNotFound) || errors.Is(err, errSealed) {
		return false, nil
	}
	return err == nil, err
}

// ForgetCamera deletes the camera of a device, when the device was used, and its alarms.
func (v *Vault) ForgetCamera(ctx context.Context, device string) error {
	err := v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) { return forgetAlarmsOf(ctx, tx, device) }, true)
	if err != nil {
		return fmt.Errorf("forgetting the alarms of %s: %w", device, err)
	}
	return v.forgetWithUses(ctx, kindCamera, device, "device", func(of streamUseOf) bool { return of.device == device })
}

// SetStreamSecret stores the secret of a stream key. It is stored in clear form (sealed)
// because RTSP's Digest authentication needs it.
func (v *Vault) SetStreamSecret(ctx context.Context, key, value string) error {
	return v.setSecret(ctx, kindStreamKey, key, []byte(value))
}

// StreamSecret returns the secret of a stream key. ErrNotFound: there is none.
func (v *Vault) StreamSecret(ctx context.Context, key string) (string, error) {
	value, err := v.secret(ctx, kindStreamKey, key)
	return string(value), err
}

// ForgetStreamSecret deletes the secret of a stream key, and when the key was used. That
// its account used a device remains.
func (v *Vault) ForgetStreamSecret(ctx context.Context, key string) error {
	return v.forgetWithUses(ctx, kindStreamKey, key, "stream_key", func(of streamUseOf) bool { return of.key == key })
}

// forgetWithUses is forgetSecret, and forgets the uses of devices that have the id in a
// column.
func (v *Vault) forgetWithUses(ctx context.Context, kind, id, column string, match func(streamUseOf) bool) error {
	v.streamUses.writing.RLock()
	defer v.streamUses.writing.RUnlock()
	v.streamUses.drop(match)
	err := v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		dropped, err := v.dropSecret(ctx, tx, kind, id)
		if err != nil {
			return dropped, err
		}
		forgot, err := forgetStreamUses(ctx, tx, column, id)
		return dropped || forgot, err
	}, true)
	if err != nil {
		return fmt.Errorf("forgetting the %s of %s: %w", kind, id, err)
	}
	return nil
}

// secretIDs lists the ids that have a secret of one kind, in no particular order.
func (v *Vault) secretIDs(ctx context.Context, kind string) ([]string, error) {
	var ids []string
	if err := v.db.NewSelect().Model((*secret)(nil)).Column("id").Where("kind = ?", kind).Scan(ctx, &ids); err != nil {
		return nil, fmt.Errorf("listing every %s: %w", kind, err)
	}
	return ids, nil
}

// setSecret stores a secret with a new id.
func (v *Vault) setSecret(ctx context.Context, kind, id string, value []byte) error {
	row := v.sealedSecret(kind, id, value)
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error { return v.putSecret(ctx, tx, row) })
	if err != nil {
		return fmt.Errorf("storing the %s of %s: %w", kind, id, err)
	}
	return nil
}

func (v *Vault) sealedSecret(kind, id string, value []byte) *secret {
	return &secret{Kind: kind, ID: id, Value: v.box.seal(kind+" "+id, value)}
}

func (v *Vault) putSecret(ctx context.Context, tx bun.Tx, row *secret) error {
	_, err := tx.Tx.StmtContext(ctx, v.writeSecret).ExecContext(ctx, row.Kind, row.ID, row.Value) //nolint:sqlclosecheck // it is closed with the transaction
	return err
}

// dropSecret deletes a secret, and reports whether there was one.
func (v *Vault) dropSecret(ctx context.Context, tx bun.Tx, kind, id string) (bool, error) {
	return changed(tx.Tx.StmtContext(ctx, v.deleteSecret).ExecContext(ctx, kind, id)) //nolint:sqlclosecheck // it is closed with the transaction
}

func (v *Vault) secret(ctx context.Context, kind, id string) ([]byte, error) {
	var sealed []byte
	err := v.readSecret.QueryRowContext(ctx, kind, id).Scan(&sealed)
	if notFound(err) {
		return nil, fmt.Errorf("the %s of %s: %w", kind, id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s of %s: %w", kind, id, err)
	}
	value, err := v.box.open(kind+" "+id, sealed)
	if err != nil {
		return nil, fmt.Errorf("reading the %s of %s: %w", kind, id, err)
	}
	return value, nil
}

// forgetSecret deletes lazily: the log determines what may still be used, and what a loss
// of power brings back is deleted again.
func (v *Vault) forgetSecret(ctx context.Context, kind, id string) error {
	err := v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) { return v.dropSecret(ctx, tx, kind, id) }, true)
	if err != nil {
		return fmt.Errorf("forgetting the %s of %s: %w", kind, id, err)
	}
	return nil
}
