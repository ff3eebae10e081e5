package api

import (
	"context"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
)

// ListStreamKeys lists the caller's keys without their secrets.
func (h handlers) ListStreamKeys(ctx context.Context, r rest.ListStreamKeysRequestObject) (rest.ListStreamKeysResponseObject, error) {
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), h.cfg.Queries.StreamKeys)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.streamKey)
	return rest.ListStreamKeys200JSONResponse{Items: items, Next: next}, err
}

// CreateStreamKey creates a key and returns its secret.
func (h handlers) CreateStreamKey(ctx context.Context, r rest.CreateStreamKeyRequestObject) (rest.CreateStreamKeyResponseObject, error) {
	if err := h.limitFrom(ctx, h.keys); err != nil {
		return nil, err
	}
	var key app.NewStreamKey
	if r.Body != nil {
		key = app.NewStreamKey{Label: r.Body.Label, Device: r.Body.Device, Publish: r.Body.PublishChannel, Expires: r.Body.ExpiresAt}
	}
	result, err := h.cfg.StreamKeys.Add(ctx, meta(ctx, r.Params.IdempotencyKey), key)
	if err != nil {
		return nil, err
	}
	err = h.stillLoggedIn(ctx, func() error {
		_, err := h.cfg.StreamKeys.Revoke(ctx, meta(ctx, ""), result.Key.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, result.Position)
	if err != nil {
		return nil, err
	}
	made, err := h.streamKey(ctx, keyOf(result.Key))
	return rest.CreateStreamKey201JSONResponse{
		Body: rest.StreamKeySecret{
			Name: made.Name, Secret: result.Secret, Label: made.Label, Device: made.Device, PublishChannel: made.PublishChannel,
			CreatedAt: made.CreatedAt, ExpiresAt: made.ExpiresAt,
		},
		Headers: rest.CreateStreamKey201ResponseHeaders{LatchkeyPosition: position},
	}, err
}

// RevokeStreamKey ends a key and cuts the viewers that use it.
func (h handlers) RevokeStreamKey(ctx context.Context, r rest.RevokeStreamKeyRequestObject) (rest.RevokeStreamKeyResponseObject, error) {
	result, err := h.cfg.StreamKeys.Revoke(ctx, meta(ctx, r.Params.IdempotencyKey), r.Name)
	return h.done(ctx, result, err)
}
