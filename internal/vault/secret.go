package vault

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"
)

// secret is a sealed value that has to be read again in clear.
type secret struct {
	bun.BaseModel `bun:"table:vault_secrets"`

	Kind  string `bun:"kind,pk"`
	ID    string `bun:"id,pk"`
	Value []byte `bun:"value,notnull"`
}

// Camera is how a device is reached. None of it may reach a viewer or a log.
type Camera struct {
	Username string          `json:"username,omitempty"`
	Password string          `json:"password,omitempty"`
	ISAPIURL string          `json:"isapi_url,omitempty"`
	ONVIFURL string          `json:"onvif_url,omitempty"`
	Channels []CameraChannel `json:"channels"`
}

// CameraChannel is where one channel's streams are; an empty SubURL means that
// it has no sub stream.
type CameraChannel struct {
	Channel int    `json:"channel"`
	MainURL string `json:"main_url"`
	SubURL  string `json:"sub_url,omitempty"`
}

const (
	kindCamera    = "camera"
	kindStreamKey = "stream key"
)

// SetCamera keeps or replaces how a device is reached.
func (v *Vault) SetCamera(ctx context.Context, device string, c Camera) error {
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the camera of %s: %w", device, err)
	}
	return v.setSecret(ctx, kindCamera, device, value)
}

// Camera answers how a device is reached. ErrNotFound: it is not known.
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

// ForgetCamera deletes how a device is reached.
func (v *Vault) ForgetCamera(ctx context.Context, device string) error {
	return v.forgetSecret(ctx, kindCamera, device)
}

// SetStreamSecret keeps the secret of a stream key. It is kept in clear form
// (sealed) because RTSP's Digest authentication needs it.
func (v *Vault) SetStreamSecret(ctx context.Context, key, value string) error {
	return v.setSecret(ctx, kindStreamKey, key, []byte(value))
}

// StreamSecret answers the secret of a stream key. ErrNotFound: there is none.
func (v *Vault) StreamSecret(ctx context.Context, key string) (string, error) {
	value, err := v.secret(ctx, kindStreamKey, key)
	return string(value), err
}

// ForgetStreamSecret deletes the secret of a stream key.
func (v *Vault) ForgetStreamSecret(ctx context.Context, key string) error {
	return v.forgetSecret(ctx, kindStreamKey, key)
}

func (v *Vault) setSecret(ctx context.Context, kind, id string, value []byte) error {
	row := &secret{Kind: kind, ID: id, Value: v.box.seal(kind+" "+id, value)}
	_, err := v.db.NewInsert().Model(row).On("CONFLICT (kind, id) DO UPDATE").Set("value = EXCLUDED.value").Exec(ctx)
	if err != nil {
		return fmt.Errorf("keeping the %s of %s: %w", kind, id, err)
	}
	return nil
}

func (v *Vault) secret(ctx context.Context, kind, id string) ([]byte, error) {
	row := &secret{Kind: kind, ID: id}
	err := v.db.NewSelect().Model(row).WherePK().Scan(ctx)
	if notFound(err) {
		return nil, fmt.Errorf("the %s of %s: %w", kind, id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s of %s: %w", kind, id, err)
	}
	value, err := v.box.open(kind+" "+id, row.Value)
	if err != nil {
		return nil, fmt.Errorf("reading the %s of %s: %w", kind, id, err)
	}
	return value, nil
}

func (v *Vault) forgetSecret(ctx context.Context, kind, id string) error {
	if _, err := v.db.NewDelete().Model(&secret{Kind: kind, ID: id}).WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("forgetting the %s of %s: %w", kind, id, err)
	}
	return nil
}
