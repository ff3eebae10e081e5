package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/api"
	"latchkey/domain/ids"
	"latchkey/projections/access"
	"latchkey/streaming/upstream"
	"latchkey/streaming/webrtc"
)

// usualWebRTC is the default port of live view in browsers.
const usualWebRTC = "8189"

// newWebRTC opens the door for browsers; nil if it is off. A given address must be free; the
// default port may be taken by another service of this machine, which must not prevent the
// start.
func newWebRTC(o options, x *access.Index, p *opened, u *upstream.Pool, m mouth, metrics prometheus.Registerer, logger *slog.Logger) (*webrtc.Door, error) {
	if o.WebRTC == off {
		return nil, nil
	}
	config := webrtc.Config{
		Address: o.WebRTC, Public: o.webrtcAddresses, Access: x, Sessions: liveSessions{p.vault}, Upstreams: u, Uses: doorUses{p.vault}, Lines: m.lines, Floor: m.floor,
		Logger: logger, Metrics: metrics,
	}
	if o.WebRTC != "" {
		return webrtc.New(config)
	}
	host := "127.0.0.1"
	if o.strangers {
		host = "0.0.0.0"
	}
	config.Address = net.JoinHostPort(host, usualWebRTC)
	door, err := webrtc.New(config)
	if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
		return door, err
	}
	logger.Warn("the default port of live view in browsers cannot be opened, using another one; a firewall has to let it through: choose one with --webrtc", "error", err)
	config.Address = net.JoinHostPort(host, "0")
	return webrtc.New(config)
}

// webRTCAPI shows streams for the API.
type webRTCAPI struct{ door *webrtc.Door }

// webRTCOf returns nothing for no door.
func webRTCOf(d *webrtc.Door) api.WebRTC {
	if d == nil {
		return nil
	}
	return webRTCAPI{d}
}

func (a webRTCAPI) StartTalk(ctx context.Context, u api.WebRTCUse, offer []byte) (api.WebRTCAnswer, error) {
	answer, err := a.door.StartTalk(ctx, webrtc.Use{Account: u.Account, Session: u.Session, Address: u.Address, Device: u.Device, Channel: u.Channel}, offer)
	if err != nil {
		return api.WebRTCAnswer{}, talkTold(a.told(err))
	}
	return api.WebRTCAnswer{Viewer: answer.ID, SDP: answer.SDP}, nil
}

func (a webRTCAPI) Start(ctx context.Context, u api.WebRTCUse, offer []byte) (api.WebRTCAnswer, error) {
	use := webrtc.Use{Account: u.Account, Session: u.Session, Address: u.Address, Device: u.Device, Channel: u.Channel}
	if u.Sub {
		use.Quality = upstream.Sub
	}
	answer, err := a.door.Start(ctx, use, offer)
	if err != nil {
		return api.WebRTCAnswer{}, a.told(err)
	}
	return api.WebRTCAnswer{Viewer: answer.ID, SDP: answer.SDP}, nil
}

func (a webRTCAPI) End(ctx context.Context, account ids.Account, viewer string) error {
	return a.told(a.door.End(ctx, account, viewer))
}

// told converts an error of the door.
func (a webRTCAPI) told(err error) error {
	if denied, ok := errors.AsType[*webrtc.Denied](err); ok {
		return &api.Denied{Verdict: denied.Verdict}
	}
	if offer, ok := errors.AsType[*webrtc.OfferError](err); ok {
		return &api.OfferFault{Reason: offer.Reason}
	}
	if stream, ok := errors.AsType[*webrtc.UnplayableError](err); ok {
		return &api.Unplayable{Codec: stream.Codec, BFrames: stream.BFrames}
	}
	for _, pair := range []struct{ is, becomes error }{
		{webrtc.ErrTooMany, api.ErrTooManyViewers}, {webrtc.ErrFull, api.ErrWebRTCNotNow}, {webrtc.ErrNoViewer, api.ErrNoViewer},
	} {
		if errors.Is(err, pair.is) {
			return fmt.Errorf("%w: %w", pair.becomes, err)
		}
	}
	if err == nil {
		return nil
	}
	return streamFault(err)
}
