package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	"latchkey/api/internal/rest"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

const (
	// sdpType is the media type of offers and answers.
	sdpType = "application/sdp"
	// MaxOffer is the largest offer, in bytes.
	MaxOffer = 64 << 10
	// viewerPath is where a viewer by WebRTC is ended.
	viewerPath = "/api/v1/webrtc/"
)

// WebRTC shows live streams to browsers. What the privilege index refuses is a *Denied, a
// stream that cannot be played an *Unplayable, an offer that cannot be answered an
// *OfferFault, and what the camera is the reason for a *DeviceFault.
type WebRTC interface {
	// Start answers an offer. The viewer holds a permit of its own until it ends.
	Start(ctx context.Context, u WebRTCUse, offer []byte) (WebRTCAnswer, error)
	// StartTalk answers the offer of somebody who talks; it is a viewer in all else. It also
	// fails as Talk does, and with ErrTalkBusy.
	StartTalk(ctx context.Context, u WebRTCUse, offer []byte) (WebRTCAnswer, error)
	// End ends a viewer of an account, and returns when nothing more is sent to it.
	End(ctx context.Context, account ids.Account, viewer string) error
}

// WebRTCUse is who watches what.
type WebRTCUse struct {
	Account ids.Account
	Session string     // its token: the viewer ends with it
	Address netip.Addr // of the caller; the zero value if unknown
	Device  ids.Device
	Channel int
	Sub     bool // the smaller stream, if there is one
}

// WebRTCAnswer is the answer to an offer.
type WebRTCAnswer struct {
	Viewer string // its id
	SDP    []byte
}

// The errors of WebRTC.
var (
	ErrTooManyViewers = errors.New("too many viewers by WebRTC")
	ErrWebRTCNotNow   = errors.New("no viewer by WebRTC is admitted now")
	ErrNoViewer       = errors.New("there is no such viewer by WebRTC")
)

// Unplayable is a stream that WebRTC cannot carry to this player.
type Unplayable struct {
	Codec   string // of the video: H264, H265, ...; "": there is none
	BFrames bool   // it has them
}

// Error names the reason.
func (u *Unplayable) Error() string {
	return fmt.Sprintf("the stream cannot be played by WebRTC: codec %q, B-frames: %t", u.Codec, u.BFrames)
}

// OfferFault is why an offer is refused.
type OfferFault struct{ Reason string }

// Error names the reason.
func (f *OfferFault) Error() string { return "refusing an offer: " + f.Reason }

// StartWebRTCViewer answers the offer of a player.
func (h handlers) StartWebRTCViewer(ctx context.Context, r rest.StartWebRTCViewerRequestObject) (rest.StartWebRTCViewerResponseObject, error) {
	if err := h.indexAt(ctx, r.Params.LatchkeyMinPosition); err != nil {
		return nil, err
	}
	answer, err := h.offered(ctx, r.Device, r.Channel, privilege.LiveView, r.Body, func(ctx context.Context, u WebRTCUse, offer []byte) (WebRTCAnswer, error) {
		u.Sub = r.Params.Stream == rest.StartWebRTCViewerParamsStreamSub
		return h.cfg.WebRTC.Start(ctx, u, offer)
	})
	if err != nil {
		return nil, err
	}
	return rest.StartWebRTCViewer201ApplicationSdpResponse{
		Body: bytes.NewReader(answer.SDP), ContentLength: int64(len(answer.SDP)),
		Headers: rest.StartWebRTCViewer201ResponseHeaders{Location: viewerPath + answer.Viewer},
	}, nil
}

// offered begins a viewer by the offer in a body.
func (h handlers) offered(ctx context.Context, device string, channel int, needs privilege.Set, body io.Reader, start func(context.Context, WebRTCUse, []byte) (WebRTCAnswer, error)) (WebRTCAnswer, error) {
	offer, err := io.ReadAll(body)
	if err != nil {
		return WebRTCAnswer{}, malformed("The body could not be read to the end.", err)
	}
	ctx, u, err := h.use(ctx, device, channel, needs)
	if err != nil {
		return WebRTCAnswer{}, err
	}
	if h.cfg.WebRTC == nil {
		return WebRTCAnswer{}, &problem{status: http.StatusConflict, code: "webrtc_not_available", detail: "This server has no WebRTC. Its operator can turn it on."}
	}
	req := requestOf(ctx)
	answer, err := start(ctx, WebRTCUse{Account: u.of.Account, Session: req.token, Address: req.address, Device: u.of.Device, Channel: channel}, offer)
	if refused := h.stillPermitted(ctx, u); refused != nil {
		if err == nil { // it has a permit of its own, but the session may have ended before it was known
			_ = h.cfg.WebRTC.End(context.WithoutCancel(ctx), u.of.Account, answer.Viewer)
		}
		return WebRTCAnswer{}, refused
	}
	if err != nil {
		return WebRTCAnswer{}, h.webRTCProblem(ctx, u, err)
	}
	return answer, nil
}

// webRTCProblem converts an error of WebRTC.
func (h handlers) webRTCProblem(ctx context.Context, u *using, err error) error {
	if denied, ok := errors.AsType[*Denied](err); ok {
		return notPermitted(denied.Verdict)
	}
	if fault, ok := errors.AsType[*OfferFault](err); ok {
		return &problem{status: http.StatusUnprocessableEntity, code: "invalid_offer", detail: "The offer cannot be answered: " + fault.Reason + ".", cause: err}
	}
	if stream, ok := errors.AsType[*Unplayable](err); ok {
		return notPlayable(stream)
	}
	if p := notTalked(err); p != nil {
		return p
	}
	switch {
	case errors.Is(err, ErrTooManyViewers):
		return tooManyViewers(err)
	case errors.Is(err, ErrWebRTCNotNow):
		return unavailable("unavailable", "No more viewers can be admitted at the moment.", err)
	}
	if u.of.Privilege == privilege.TwoWayAudio {
		return h.notGiven(ctx, u, err, &problem{code: "camera_unavailable", detail: "The camera does not respond."})
	}
	return h.notGiven(ctx, u, err, &problem{code: "stream_not_available", detail: "The channel's stream cannot be played now."})
}

func tooManyViewers(cause error) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: "too_many_viewers", cause: cause, header: retryAfter(beatEvery),
		detail: "Your account, or your address, watches as many channels in browsers as it may. Close some.",
	}
}

// notPlayable names the reason and what helps.
func notPlayable(u *Unplayable) *problem {
	if u.BFrames {
		return &problem{
			status: http.StatusConflict, code: "stream_has_b_frames", cause: u,
			detail: "The camera sends B-frames, which WebRTC cannot carry. Use the sub stream, or turn B-frames off in the camera.",
		}
	}
	p := &problem{status: http.StatusConflict, code: "stream_not_playable", cause: u}
	const helps = " Use the sub stream, or set the camera to H.264."
	switch u.Codec {
	case "":
		p.detail = "The channel has no video that could be shown." + helps
	case "H265":
		p.detail = "The camera sends H.265, and the player offers no decoder for it." + helps
	case "H264":
		p.detail = "The camera sends H.264, and the player does not offer it with packetization-mode=1. Use a player that does."
	default:
		p.detail = "The camera sends a video codec that WebRTC does not have." + helps
	}
	return p
}

// EndWebRTCViewer ends a viewer of the caller.
func (h handlers) EndWebRTCViewer(ctx context.Context, r rest.EndWebRTCViewerRequestObject) (rest.EndWebRTCViewerResponseObject, error) {
	err := ErrNoViewer
	if h.cfg.WebRTC != nil {
		ctx, cancel := context.WithTimeout(ctx, confirmWithin)
		defer cancel()
		err = h.cfg.WebRTC.End(ctx, ids.Account(caller(ctx)), r.Viewer)
	}
	if errors.Is(err, ErrNoViewer) {
		return nil, &problem{status: http.StatusNotFound, code: "viewer_not_found", detail: "There is no such viewer now.", cause: err}
	}
	return rest.EndWebRTCViewer204Response{}, err
}
