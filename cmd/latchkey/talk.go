package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"latchkey/api"
	"latchkey/domain/ids"
	"latchkey/internal/vault"
	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/device"
	"latchkey/streaming/notes"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/talk"
	"latchkey/streaming/upstream"
)

// talkNotes is the folder with the channels that may be talked to now, in the data folder.
const talkNotes = "talk"

// mouth is how cameras are talked to, by whatever door.
type mouth struct {
	lines *backchannel.Lines // closed with the RTSP door
	floor *talk.Floor
}

func newMouth(o options, x *access.Index, p *opened, u *upstream.Pool, client *device.Client, logger *slog.Logger) (mouth, error) {
	open, err := notes.OpenFolder(filepath.Join(o.Data, talkNotes))
	if err != nil {
		return mouth{}, err
	}
	lines := backchannel.New(backchannel.Config{Sources: talkSources{p.vault}, Contact: u.Contact, ISAPI: client, Notes: open, Logger: logger})
	return mouth{lines, talk.New(x)}, nil
}

// talkAPI tells of talk for the API.
type talkAPI struct{ mouth }

func (a talkAPI) Codec(ctx context.Context, device ids.Device, channel int) (string, error) {
	codec, err := a.lines.Codec(ctx, device, channel)
	if err != nil {
		return "", talkTold(err)
	}
	return string(codec), nil
}

func (a talkAPI) Talker(device ids.Device, channel int) (ids.Account, bool) {
	return a.floor.On(device, channel)
}

// talkTold converts an error of talk; others stay.
func talkTold(err error) error {
	if codec, ok := errors.AsType[*backchannel.CodecError](err); ok {
		return &api.TalkCodec{Name: codec.Name}
	}
	for _, pair := range []struct{ is, becomes error }{{backchannel.ErrNone, api.ErrNoBackChannel}, {talk.ErrBusy, api.ErrTalkBusy}} {
		if errors.Is(err, pair.is) {
			return fmt.Errorf("%w: %w", pair.becomes, err)
		}
	}
	away, _ := errors.AsType[*upstream.AwayError](err)
	camera, ok := errors.AsType[*backchannel.CameraError](err)
	switch {
	case away != nil:
		return streamFault(err)
	case !ok:
		return deviceFault(err)
	case errors.Is(camera, rtspclient.ErrWrongPassword), errors.Is(camera, rtspclient.ErrNoCredentials):
		return &api.DeviceFault{Reason: string(device.WrongPassword)}
	}
	return &api.DeviceFault{Reason: string(device.NotReachable)}
}

// talkSources returns where channels are talked to.
type talkSources struct{ vault *vault.Vault }

func (s talkSources) Source(ctx context.Context, device ids.Device, channel int) (backchannel.Source, error) {
	cam, err := s.vault.Camera(ctx, string(device))
	if errors.Is(err, vault.ErrNotFound) {
		return backchannel.Source{}, backchannel.ErrNone
	}
	if err != nil {
		return backchannel.Source{}, err
	}
	source := backchannel.Source{Username: cam.Username, Password: cam.Password, ISAPIURL: cam.ISAPIURL, Certificate: confirmed(cam)}
	for _, ch := range cam.Channels {
		if ch.Channel == channel {
			source.URL = ch.MainURL
		}
	}
	return source, nil
}
