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
	v, err := a.pool.Watch(ctx, packedStream(device, channel, sub), permitted)
	if err != nil {
		return nil, packedFault(err)
	}
	return packedViewer{v}, nil
}

// Segments returns a stream for a viewer by HLS.
func (a packedAPI) Segments(ctx context.Context, device ids.Device, channel int, sub bool, permitted func() bool) (api.PackedSegments, error) {
	s, err := a.pool.Segments(ctx, packedStream(device, channel, sub), permitted)
	if err != nil {
		return nil, packedFault(err)
	}
	return packedSegments{s}, nil
}

func packedStream(device ids.Device, channel int, sub bool) upstream.Stream {
	of := upstream.Stream{Device: device, Channel: channel}
	if sub {
		of.Quality = upstream.Sub
	}
	return of
}

// packedFault converts why a stream is not shown.
func packedFault(err error) error {
	if no, ok := errors.AsType[*mse.UnplayableError](err); ok {
		return &api.Unplayable{Codec: no.Codec}
	}
	return streamFault(err)
}

type packedSegments struct{ *mse.Segmented }

// Playlist returns the playlist as it is now.
func (s packedSegments) Playlist(ctx context.Context) ([]byte, error) {
	list, err := s.Segmented.Playlist(ctx)
	if errors.Is(err, mse.ErrEnded) {
		return nil, fmt.Errorf("%w: %w", api.ErrStreamEnded, err)
	}
	return list, err
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
