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
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// cameras asks devices for the API.
type cameras struct {
	pictures  *device.Pictures
	searches  *device.Searches
	upstreams *upstream.Pool
}

// newCameras takes the client of devices, the vault that has their addresses, and the index
// that knows their owners.
func newCameras(client *device.Client, v *vault.Vault, x *access.Index, u *upstream.Pool) cameras {
	camera := func(ctx context.Context, id string) (device.Camera, string, error) {
		cam, err := askedCamera(ctx, v, id)
		return cam, strconv.FormatUint(uint64(x.Owner(ids.Device(id))), 10), err
	}
	return cameras{
		pictures:  device.NewPictures(device.PicturesConfig{Fetch: client.Picture, Camera: camera}),
		searches:  device.NewSearches(device.SearchesConfig{Search: client.Recordings, Camera: camera}),
		upstreams: u,
	}
}

// confirmed returns the certificate that the owner has confirmed. What cannot be read is
// none: then the certificate must be valid.
func confirmed(cam vault.Camera) rtspclient.Fingerprint {
	pin, _ := rtspclient.ParseFingerprint(cam.Certificate)
	return pin
}

// askedCamera returns how a device is asked. One that has no address has nothing.
func askedCamera(ctx context.Context, v *vault.Vault, id string) (device.Camera, error) {
	cam, err := v.Camera(ctx, id)
	if errors.Is(err, vault.ErrNotFound) {
		return device.Camera{}, nil
	}
	return device.Camera{Username: cam.Username, Password: cam.Password, ISAPIURL: cam.ISAPIURL, ONVIFURL: cam.ONVIFURL, Certificate: confirmed(cam)}, err
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
	out := api.Recorded{Zone: found.Zone, Clock: found.Clock, List: make([]privilege.Interval, len(found.List))}
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

// Streams looks at both streams of a channel at once. A channel without a sub stream has
// one.
func (c cameras) Streams(ctx context.Context, id ids.Device, channel int, permitted func() bool) (api.ChannelStreams, error) {
	look := func(q upstream.Quality) (api.ChannelStream, error) {
		f, err := c.upstreams.Look(ctx, upstream.Stream{Device: id, Channel: channel, Quality: q}, permitted)
		return streamOf(f), err
	}
	var sub api.ChannelStream
	var noSub error
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		sub, noSub = look(upstream.Sub)
	}()
	main, err := look(upstream.Main)
	<-looked
	if err != nil {
		return api.ChannelStreams{}, streamFault(err)
	}
	if noSub != nil {
		return api.ChannelStreams{Main: main}, nil
	}
	return api.ChannelStreams{Main: main, Sub: &sub}, nil
}

// Seen returns what the streams of a channel were seen to be since the start.
func (c cameras) Seen(id ids.Device, channel int) (api.ChannelStreams, bool) {
	main, ok := c.upstreams.Seen(upstream.Stream{Device: id, Channel: channel, Quality: upstream.Main})
	sub, hasSub := c.upstreams.Seen(upstream.Stream{Device: id, Channel: channel, Quality: upstream.Sub})
	s := api.ChannelStreams{Main: streamOf(main)}
	if hasSub {
		small := streamOf(sub)
		s.Sub = &small
	}
	return s, ok || hasSub
}

func streamOf(f upstream.Facts) api.ChannelStream {
	s := api.ChannelStream{Pulled: f.Pulled, SeenAt: f.Seen}
	if v := f.Video; v.Codec != "" {
		s.Video = &api.VideoStream{
			Codec: v.Codec, Profile: v.Profile, Level: v.Level, Width: v.Width, Height: v.Height, FrameRate: v.FrameRate,
			GOP: v.GOP, GOPFrames: v.GOPFrames, BFrames: v.BFrames, VaryingGOP: v.VaryingGOP, GOPTooLong: v.GOPTooLong,
		}
	}
	if a := f.Audio; a.Codec != "" {
		s.Audio = &api.AudioStream{Codec: a.Codec, SampleRate: a.SampleRate, Channels: a.Channels}
	}
	return s
}

// streamFault puts a camera that cannot be pulled into the API's words.
func streamFault(err error) error {
	var away *upstream.AwayError
	switch {
	case errors.Is(err, upstream.ErrNoCamera), errors.Is(err, upstream.ErrNoStream):
		return &api.DeviceFault{Reason: "unsupported"}
	case errors.As(err, &away):
		return &api.DeviceFault{Reason: "not_reachable", RetryAfter: away.Wait}
	case errors.Is(err, upstream.ErrLeft), errors.Is(err, upstream.ErrEnded):
		return &api.DeviceFault{Reason: "not_reachable"}
	}
	return err
}
