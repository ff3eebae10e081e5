package webrtc

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"latchkey/streaming/upstream"
)

// prepare takes the stream that the viewer wants, and answers its offer.
func (v *viewer) prepare(ctx context.Context, offered *offer) (string, error) {
	if err := v.takeStream(ctx); err != nil {
		return "", err
	}
	codecs, err := v.chooseCodecs(offered)
	if err != nil {
		return "", err
	}
	return v.answer(ctx, offered, codecs)
}

// takeStream joins the upstream. A channel without a sub stream uses its main one.
func (v *viewer) takeStream(ctx context.Context) (err error) {
	of := upstream.Stream{Device: v.use.Device, Channel: v.use.Channel, Quality: v.use.Quality}
	permitted := func() bool { return v.may() }
	v.lease, err = v.door.cfg.Upstreams.Acquire(ctx, of, permitted)
	if of.Quality == upstream.Sub && errors.Is(err, upstream.ErrNoStream) {
		of.Quality = upstream.Main
		v.lease, err = v.door.cfg.Upstreams.Acquire(ctx, of, permitted)
	}
	if err != nil {
		return err
	}
	v.stream, err = v.door.streams.of(v.lease.Flow())
	return err
}

// chosen is a codec for one track of the flow.
type chosen struct {
	track  int
	format format.Format
	codec  codec
}

// chooseCodecs returns what is sent: the video, and the sound if the viewer takes it.
func (v *viewer) chooseCodecs(offered *offer) ([]chosen, error) {
	video := v.stream.format(v.stream.video)
	if video == nil {
		return nil, &UnplayableError{}
	}
	facts := v.stream.flow.Facts().Video
	if facts.BFrames {
		return nil, &UnplayableError{Codec: facts.Codec, BFrames: true}
	}
	c, ok := choose(video, offered.video)
	if !ok {
		return nil, &UnplayableError{Codec: facts.Codec}
	}
	list := []chosen{{v.stream.video, video, c}}
	if audio := v.stream.format(v.stream.audio); audio != nil {
		if c, ok := choose(audio, offered.audio); ok {
			list = append(list, chosen{v.stream.audio, audio, c})
		}
	}
	return list, nil
}

// answer makes the peer, which knows no other codecs, and returns its answer.
func (v *viewer) answer(ctx context.Context, offered *offer, codecs []chosen) (string, error) {
	media := &webrtc.MediaEngine{}
	v.tracks = make([]*track, len(v.stream.flow.Description().Medias))
	for _, c := range codecs {
		t := newTrack(c.track, mimeOf(c.format))
		v.tracks[c.track] = t
		if err := media.RegisterCodec(c.codec.parameters(t.mime), t.Kind()); err != nil {
			return "", fmt.Errorf("registering a codec: %w", err)
		}
	}
	if err := v.makePeer(media); err != nil {
		return "", err
	}
	for _, t := range v.tracks {
		if t == nil {
			continue
		}
		if _, err := v.peer.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
			return "", fmt.Errorf("adding a track: %w", err)
		}
	}
	return v.negotiate(ctx, offered)
}

// makePeer makes the peer, with these codecs.
func (v *viewer) makePeer(media *webrtc.MediaEngine) error {
	certificate, err := v.door.identity.at(v.door.cfg.Now())
	if err != nil {
		return err
	}
	engine, guard := v.door.engine, newGuard(v)
	engine.SetICEUDPMux(guard)
	engine.BufferFactory = guard.buffer
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(engine), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	peer, err := api.NewPeerConnection(webrtc.Configuration{
		Certificates: []webrtc.Certificate{certificate}, BundlePolicy: webrtc.BundlePolicyMaxBundle, RTCPMuxPolicy: webrtc.RTCPMuxPolicyRequire,
	})
	if err != nil {
		return fmt.Errorf("making a peer: %w", err)
	}
	v.peer = peer
	peer.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			v.connect.Do(func() { close(v.connected) })
		case webrtc.PeerConnectionStateFailed:
			v.end(endedSilent)
		case webrtc.PeerConnectionStateClosed:
			v.end(endedLeft)
		}
	})
	return nil
}

// negotiate returns the answer with all candidates.
func (v *viewer) negotiate(ctx context.Context, offered *offer) (string, error) {
	if err := v.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offered.sdp}); err != nil {
		return "", &OfferError{"it is not one that browsers make"}
	}
	answer, err := v.peer.CreateAnswer(nil)
	if err != nil {
		return "", &OfferError{"it is not one that browsers make"}
	}
	gathered := webrtc.GatheringCompletePromise(v.peer)
	if err := v.peer.SetLocalDescription(answer); err != nil {
		return "", &OfferError{"it is not one that browsers make"}
	}
	select {
	case <-gathered:
		return v.peer.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", fmt.Errorf("gathering candidates: %w", ctx.Err())
	}
}
