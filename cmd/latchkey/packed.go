package main

import (
	"context"
	"errors"
	"fmt"

	"latchkey/api"
	"latchkey/domain/ids"
	"latchkey/streaming/mse"
	"latchkey/streaming/upstream"
)

// packedAPI shows streams as fragmented MP4 for the API.
type packedAPI struct{ pool *mse.Pool }

// Watch returns a viewer of a stream.
func (a packedAPI) Watch(ctx context.Context, device ids.Device, channel int, sub bool, permitted func() bool) (api.PackedViewer, error) {
	of := upstream.Stream{Device: device, Channel: channel}
	if sub {
		of.Quality = upstream.Sub
	}
	v, err := a.pool.Watch(ctx, of, permitted)
	if no, ok := errors.AsType[*mse.UnplayableError](err); ok {
		return nil, &api.Unplayable{Codec: no.Codec}
	}
	if err != nil {
		return nil, streamFault(err)
	}
	return packedViewer{v}, nil
}

type packedViewer struct{ *mse.Viewer }

// Next waits for the next part.
func (v packedViewer) Next(ctx context.Context) (api.PackedPart, error) {
	p, err := v.Viewer.Next(ctx)
	if errors.Is(err, mse.ErrEnded) {
		return api.PackedPart{}, fmt.Errorf("%w: %w", api.ErrStreamEnded, err)
	}
	if err != nil {
		return api.PackedPart{}, err
	}
	out := api.PackedPart{Fragment: p.Fragment}
	if p.Init != nil {
		out.MIME, out.Init = p.Init.MIME(), p.Init.Segment
	}
	return out, nil
}
