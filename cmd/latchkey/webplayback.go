package main

import (
	"context"
	"errors"

	"latchkey/api"
	"latchkey/streaming/playback"
	"latchkey/streaming/vod"
)

// webPlayback plays recordings to browsers, for the API.
type webPlayback struct{ recorders *playback.Recorders }

func (w webPlayback) Play(ctx context.Context, u api.PlaybackUse, s api.Screen) error {
	err := vod.Play(ctx, w.recorders, playback.Use{Account: u.Account, Device: u.Device, Channel: u.Channel, Playable: u.Playable}, s)
	if fault, ok := errors.AsType[*vod.OrderError](err); ok {
		return &api.OrderFault{Reason: fault.Reason}
	}
	return err
}
