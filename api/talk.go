package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"latchkey/api/internal/rest"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// Talk knows which channels can be talked to. It does not know who may: its callers hold a
// permit.
type Talk interface {
	// Codec returns what the camera of a channel takes: PCMA or PCMU. It fails with
	// ErrNoBackChannel, a *TalkCodec, or a *DeviceFault.
	Codec(ctx context.Context, device ids.Device, channel int) (string, error)
	// Talker returns which account talks on a channel now; false if none does.
	Talker(device ids.Device, channel int) (ids.Account, bool)
}

// The errors of Talk.
var (
	ErrNoBackChannel = errors.New("the channel cannot be talked to")
	ErrTalkBusy      = errors.New("somebody else talks on the channel")
)

// TalkCodec is what a camera takes that is not passed on.
type TalkCodec struct{ Name string } // "": unknown

// Error names the codec.
func (c *TalkCodec) Error() string { return "the camera takes only the codec " + c.Name }

// notTalked converts an error of Talk; nil for others.
func notTalked(err error) *problem {
	if codec, ok := errors.AsType[*TalkCodec](err); ok {
		p := &problem{status: http.StatusConflict, code: "talk_codec_not_supported", cause: err}
		p.detail = "The camera takes no G.711 sound. Set its audio to G.711 if it has that."
		if codec.Name != "" {
			p.detail = "The camera takes only " + codec.Name + " sound, which is not passed on. Set its audio to G.711."
		}
		return p
	}
	switch {
	case errors.Is(err, ErrNoBackChannel):
		return &problem{status: http.StatusConflict, code: "talk_not_available", detail: "This channel cannot be talked to.", cause: err}
	case errors.Is(err, ErrTalkBusy):
		return &problem{status: http.StatusConflict, code: "talk_busy", detail: "Somebody else is talking on this channel.", cause: err}
	}
	return nil
}

// StartWebRTCTalker answers the offer of somebody who talks.
func (h handlers) StartWebRTCTalker(ctx context.Context, r rest.StartWebRTCTalkerRequestObject) (rest.StartWebRTCTalkerResponseObject, error) {
	if err := h.indexAt(ctx, r.Params.LatchkeyMinPosition); err != nil {
		return nil, err
	}
	answer, err := h.offered(ctx, r.Device, r.Channel, privilege.TwoWayAudio, r.Body, func(ctx context.Context, u WebRTCUse, offer []byte) (WebRTCAnswer, error) {
		return h.cfg.WebRTC.StartTalk(ctx, u, offer)
	})
	if err != nil {
		return nil, err
	}
	return rest.StartWebRTCTalker201ApplicationSdpResponse{
		Body: bytes.NewReader(answer.SDP), ContentLength: int64(len(answer.SDP)),
		Headers: rest.StartWebRTCTalker201ResponseHeaders{Location: viewerPath + answer.Viewer},
	}, nil
}

// GetTalk tells whether a channel can be talked to, and who talks.
func (h handlers) GetTalk(ctx context.Context, r rest.GetTalkRequestObject) (rest.GetTalkResponseObject, error) {
	if err := h.indexAt(ctx, r.Params.LatchkeyMinPosition); err != nil {
		return nil, err
	}
	ctx, u, err := h.use(ctx, r.Device, r.Channel, privilege.TwoWayAudio)
	if err != nil {
		return nil, err
	}
	out, err := h.talk(ctx, u)
	if refused := h.stillPermitted(ctx, u); refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, h.notGiven(ctx, u, err, &problem{code: "camera_unavailable", detail: "The camera does not respond."})
	}
	return out, nil
}

func (h handlers) talk(ctx context.Context, u *using) (out rest.GetTalk200JSONResponse, err error) {
	out = rest.GetTalk200JSONResponse{Talker: rest.TalkTalkerNobody, Webrtc: h.cfg.WebRTC != nil}
	if h.cfg.Talk == nil {
		out.Reason = rest.NoBackChannel
		return out, nil
	}
	out.Codec, err = h.cfg.Talk.Codec(ctx, u.of.Device, u.of.Channel)
	codec, other := errors.AsType[*TalkCodec](err)
	switch {
	case other:
		out.Reason, out.Codec = rest.CodecNotSupported, codec.Name
	case errors.Is(err, ErrNoBackChannel):
		out.Reason, out.Codec = rest.NoBackChannel, ""
	case err != nil:
		return out, err
	default:
		out.Available = true
	}
	switch who, talks := h.cfg.Talk.Talker(u.of.Device, u.of.Channel); {
	case !talks:
	case who == u.of.Account:
		out.Talker = rest.TalkTalkerYou
	default:
		out.Talker = rest.TalkTalkerOther
	}
	return out, nil
}
