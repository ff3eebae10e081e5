package main

import (
	"context"
	"errors"

	"latchkey/domain/ids"
	"latchkey/internal/vault"
	"latchkey/streaming/backchannel"
)

// talkNotes is the folder with the channels that may be talked to now, in the data folder.
const talkNotes = "talk"

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
