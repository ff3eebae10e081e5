package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"latchkey/domain/ids"
	"latchkey/internal/vault"
	"latchkey/streaming/device"
	"latchkey/streaming/playback"
)

// recordings finds the recordings of channels for playback.
type recordings struct {
	vault  *vault.Vault
	client *device.Client

	mu     sync.Mutex
	clocks map[ids.Device]recorderClock
}

// recorderClock is what a device said of its clock.
type recorderClock struct {
	camera      device.Camera
	ahead, zone time.Duration
	asked       time.Time
}

const (
	// clockFor is how long it is remembered what a device said of its clock, and maxClocks
	// of how many.
	clockFor  = time.Minute
	maxClocks = 4096
)

// Recordings returns where the recordings of a channel are: at an address that follows from
// that of its live stream, or where ONVIF says.
func (r *recordings) Recordings(ctx context.Context, id ids.Device, channel int, replay bool) (playback.Source, error) {
	cam, err := r.vault.Camera(ctx, string(id))
	if errors.Is(err, vault.ErrNotFound) {
		return playback.Source{}, playback.ErrNoRecorder
	}
	if err != nil {
		return playback.Source{}, fmt.Errorf("finding the recordings of a channel: %w", err)
	}
	asked := device.Camera{Username: cam.Username, Password: cam.Password, ISAPIURL: cam.ISAPIURL, ONVIFURL: cam.ONVIFURL, Certificate: confirmed(cam)}
	for _, ch := range cam.Channels {
		source, ok := playback.Track(ch.MainURL)
		if ch.Channel != channel || !ok || replay {
			continue
		}
		source.Username, source.Password, source.Certificate = cam.Username, cam.Password, confirmed(cam)
		source.Ahead, source.Zone, err = r.clock(ctx, id, asked)
		return source, err
	}
	missing := playback.ErrNoRecorder
	if replay {
		missing = playback.ErrNoReplay
	}
	if asked.ONVIFURL == "" {
		return playback.Source{}, missing
	}
	address, ahead, err := r.client.Replay(ctx, asked, channel)
	var failure *device.Failure
	if errors.As(err, &failure) && (failure.Kind == device.Unsupported || failure.Kind == device.Refused) {
		return playback.Source{}, missing
	}
	if err != nil {
		return playback.Source{}, fmt.Errorf("asking a device where it replays: %w", err)
	}
	return playback.Source{URL: address, Username: cam.Username, Password: cam.Password, Certificate: confirmed(cam), Replay: true, Ahead: ahead}, nil
}

// clock asks a device for its clock, once a minute.
func (r *recordings) clock(ctx context.Context, id ids.Device, cam device.Camera) (ahead, zone time.Duration, err error) {
	r.mu.Lock()
	c := r.clocks[id]
	r.mu.Unlock()
	if c.camera == cam && time.Since(c.asked) < clockFor {
		return c.ahead, c.zone, nil
	}
	c = recorderClock{camera: cam, asked: time.Now()}
	if c.ahead, c.zone, err = r.client.Clock(ctx, cam); err != nil {
		return 0, 0, fmt.Errorf("asking a recorder for its clock: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clocks == nil || len(r.clocks) >= maxClocks {
		r.clocks = map[ids.Device]recorderClock{}
	}
	r.clocks[id] = c
	return c.ahead, c.zone, nil
}
