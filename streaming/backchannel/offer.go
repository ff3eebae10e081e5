package backchannel

import (
	"context"
	"errors"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/domain/ids"
	"latchkey/streaming/device"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// offer is what is known of what a channel takes.
type offer struct {
	turn chan struct{} // held while the camera is asked

	// Guarded by turn.
	source Source
	at     time.Time
	way    way
	err    error
}

// way is how a channel is talked to.
type way struct {
	codec Codec
	isapi bool
}

// Codec returns what a channel takes. It asks the camera at the first use, and again after
// a while. It fails with ErrNone, a CodecError, or an error of reaching the camera.
func (l *Lines) Codec(ctx context.Context, device ids.Device, channel int) (Codec, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	at := place{device, channel}
	source, err := l.cfg.Sources.Source(ctx, device, channel)
	if err != nil {
		return "", err
	}
	way, err := l.way(ctx, at, source)
	return way.codec, err
}

// way returns how a channel is talked to at a source.
func (l *Lines) way(ctx context.Context, at place, source Source) (way, error) {
	o := l.offer(at)
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return way{}, ctx.Err()
	}
	defer func() { <-o.turn }()
	keep := offerFor
	if o.err != nil {
		keep = noneFor
	}
	if o.source == source && !o.at.IsZero() && time.Since(o.at) < keep {
		return o.way, o.err
	}
	found, err := l.ask(ctx, at, source)
	var codec *CodecError
	if err == nil || errors.Is(err, ErrNone) || errors.As(err, &codec) {
		o.source, o.at, o.way, o.err = source, time.Now(), found, err
	}
	return found, err
}

func (l *Lines) offer(at place) *offer {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.offers[at]
	if o == nil {
		if len(l.offers) >= maxOffers {
			clear(l.offers)
		}
		o = &offer{turn: make(chan struct{}, 1)}
		l.offers[at] = o
	}
	return o
}

// forget makes the next question go to the camera.
func (l *Lines) forget(at place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.offers, at)
}

// ask asks the camera what it takes: by RTSP, then by ISAPI if it has that.
func (l *Lines) ask(ctx context.Context, at place, source Source) (way, error) {
	found, err := way{}, ErrNone
	if source.URL != "" {
		found.codec, err = l.askRTSP(ctx, at, source)
	}
	var codec *CodecError
	if source.ISAPIURL == "" || err != nil && !errors.Is(err, ErrNone) && !errors.As(err, &codec) || err == nil {
		return found, err
	}
	other, otherErr := l.cfg.ISAPI.TalkCodec(ctx, source.target(at.channel))
	if otherErr == nil {
		return way{codec: Codec(other), isapi: true}, nil
	}
	if errors.Is(err, ErrNone) {
		err = errorOfISAPI(otherErr)
	}
	return way{}, err
}

func (s Source) target(channel int) device.TalkTarget {
	return device.TalkTarget{Username: s.Username, Password: s.Password, ISAPIURL: s.ISAPIURL, Certificate: s.Certificate, Channel: channel}
}

// errorOfISAPI tells what a device takes from why it is not reached.
func errorOfISAPI(err error) error {
	var failure *device.Failure
	if !errors.As(err, &failure) {
		return err
	}
	switch failure.Kind {
	case device.UnsupportedCodec:
		return &CodecError{Name: failure.Codec}
	case device.Refused, device.Unsupported:
		return ErrNone
	}
	return failure
}

func (l *Lines) askRTSP(ctx context.Context, at place, source Source) (codec Codec, err error) {
	err = l.cfg.Contact(ctx, at.device, source.URL, func(ctx context.Context, dial upstream.DialFunc) error {
		client, err := dialRTSP(ctx, source, dial)
		if err != nil {
			return err
		}
		defer client.Close()
		back, err := describe(ctx, client)
		codec = back.codec
		return err
	})
	var other *CodecError
	if err != nil && !errors.Is(err, ErrNone) && !errors.As(err, &other) {
		err = &CameraError{err}
	}
	return codec, err
}

// require is the header with which a camera offers its back channel.
var require = base.Header{"Require": {rtspclient.BackChannel}}

// back is the back channel of a description.
type back struct {
	track *rtspclient.Track
	codec Codec
	pt    uint8
}

// describe finds the back channel. A camera that refuses the requirement, in whatever way,
// has none.
func describe(ctx context.Context, client *rtspclient.Client) (back, error) {
	d, err := client.Describe(ctx, require)
	if refusesOption(err) {
		return back{}, ErrNone
	}
	if err != nil {
		return back{}, err
	}
	return backOf(d)
}

// refusesOption reports whether a camera does not do what is required: by any status that
// is about the request, by hanging up, or with a description of nothing.
func refusesOption(err error) bool {
	var status *rtspclient.StatusError
	if !errors.As(err, &status) {
		return errors.Is(err, rtspclient.ErrEnded) || errors.Is(err, rtspclient.ErrNoTracks) || errors.Is(err, rtspclient.ErrDescription)
	}
	switch status.Code {
	case base.StatusUnauthorized, base.StatusForbidden, base.StatusServiceUnavailable:
		return false
	}
	return true
}

// backOf returns the first back channel that takes G.711.
func backOf(d *rtspclient.Description) (back, error) {
	none := ErrNone
	for _, t := range d.Tracks {
		if !t.Media.IsBackChannel {
			continue
		}
		for _, f := range t.Media.Formats {
			if g, ok := f.(*format.G711); ok && g.SampleRate == 8000 && g.ChannelCount == 1 {
				b := back{track: t, codec: PCMA, pt: f.PayloadType()}
				if g.MULaw {
					b.codec = PCMU
				}
				return b, nil
			}
			if errors.Is(none, ErrNone) {
				none = &CodecError{Name: nameOf(f)}
			}
		}
	}
	return back{}, none
}

// nameOf returns the name of a codec that the library knows, "" for others: what a camera
// calls them is not told.
func nameOf(f format.Format) string {
	switch f.(type) {
	case *format.Generic:
		return ""
	case *format.MPEG4Audio, *format.MPEG4AudioLATM:
		return "AAC"
	}
	return f.Codec()
}
