package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"latchkey/domain/ids"
	"latchkey/internal/vault"
	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/device"
	"latchkey/streaming/notes"
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
