package main

import (
	"context"
	"errors"
	"strconv"

	"latchkey/api"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/internal/vault"
	"latchkey/projections/access"
	"latchkey/streaming/device"
)

// cameras asks devices for the API.
type cameras struct {
	pictures *device.Pictures
	searches *device.Searches
}

// newCameras takes the client of devices, the vault that has their addresses, and the index
// that knows their owners.
func newCameras(client *device.Client, v *vault.Vault, x *access.Index) cameras {
	camera := func(ctx context.Context, id string) (device.Camera, string, error) {
		cam, err := askedCamera(ctx, v, id)
		return cam, strconv.FormatUint(uint64(x.Owner(ids.Device(id))), 10), err
	}
	return cameras{
		pictures: device.NewPictures(device.PicturesConfig{Fetch: client.Picture, Camera: camera}),
		searches: device.NewSearches(device.SearchesConfig{Search: client.Recordings, Camera: camera}),
	}
}

// askedCamera returns how a device is asked. One that has no address has nothing.
func askedCamera(ctx context.Context, v *vault.Vault, id string) (device.Camera, error) {
	cam, err := v.Camera(ctx, id)
	if errors.Is(err, vault.ErrNotFound) {
		return device.Camera{}, nil
	}
	return device.Camera{Username: cam.Username, Password: cam.Password, ISAPIURL: cam.ISAPIURL, ONVIFURL: cam.ONVIFURL}, err
}

// Picture is a device's still picture of a channel.
func (c cameras) Picture(ctx context.Context, id ids.Device, channel int) ([]byte, error) {
	picture, err := c.pictures.Get(ctx, string(id), channel)
	return picture, deviceFault(err)
}

// Recordings are what a device has recorded of a channel.
func (c cameras) Recordings(ctx context.Context, id ids.Device, channel int, within privilege.Interval) (api.Recorded, error) {
	found, err := c.searches.Get(ctx, string(id), channel, within.From, within.To)
	if err != nil {
		return api.Recorded{}, deviceFault(err)
	}
	out := api.Recorded{Zone: found.Zone, List: make([]privilege.Interval, len(found.List))}
	for i, r := range found.List {
		out.List[i] = privilege.Interval(r)
	}
	return out, nil
}

// deviceFault puts a failure of a device into the API's words.
func deviceFault(err error) error {
	var failure *device.Failure
	if errors.As(err, &failure) {
		return &api.DeviceFault{Reason: string(failure.Kind), RetryAfter: failure.RetryAfter}
	}
	return err
}
