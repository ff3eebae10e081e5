package webrtc

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/speech"
	"latchkey/streaming/talk"
)

// talker is what a viewer that talks to a camera has instead of a stream (WHIP, RFC 9725).
// Its permit is for two-way audio, and is checked for each packet when it comes and before it
// is sent to the camera.
type talker struct {
	*speech.Speech
	viewer  *viewer
	codec   backchannel.Codec
	payload uint8       // type
	hearing atomic.Bool // there is a track that is heard

	// Of the hearing goroutine.
	begun bool
	last  uint16 // number of the last packet
}

// StartTalk admits somebody who talks to a camera with an offer of sound, or refuses it as
// Start does. It also fails with talk.ErrBusy, and as backchannel.Lines.Codec does. The
// talker ends as viewers do, and when it has said nothing for SilentWithin.
func (d *Door) StartTalk(ctx context.Context, use Use, text []byte) (Answer, error) {
	offered, err := readTalk(text)
	if err != nil {
		return Answer{}, err
	}
	use.talk = true
	return d.admit(ctx, use, func(ctx context.Context, v *viewer) (string, error) { return v.prepareTalk(ctx, offered) })
}

// prepareTalk finds out what the camera takes, and answers the offer with that.
func (v *viewer) prepareTalk(ctx context.Context, offered *offer) (string, error) {
	if v.door.cfg.Lines == nil {
		return "", backchannel.ErrNone
	}
	takes, err := v.door.cfg.Lines.Codec(ctx, v.use.Device, v.use.Channel)
	if err != nil {
		return "", err
	}
	who := talk.Talker{Account: v.use.Account, Device: v.use.Device, Channel: v.use.Channel}
	if v.door.cfg.Floor.Busy(who) {
		return "", talk.ErrBusy
	}
	at := slices.IndexFunc(offered.audio, func(c codec) bool { return c.name == string(takes) && c.clock == 8000 && c.channels == 1 })
	if at < 0 {
		return "", &OfferError{"the camera takes only " + string(takes) + ", which it does not offer"}
	}
	t := &talker{viewer: v, codec: takes, payload: offered.audio[at].payloadType}
	t.Speech = speech.New(speech.Config{Talker: who, Floor: v.door.cfg.Floor, Lines: v.door.cfg.Lines, May: v.may, Began: t.began})
	v.talker = t
	media := &webrtc.MediaEngine{}
	if err := media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/" + string(takes), ClockRate: 8000}, PayloadType: webrtc.PayloadType(t.payload),
	}, webrtc.RTPCodecTypeAudio); err != nil {
		return "", fmt.Errorf("registering a codec: %w", err)
	}
	if err := v.makePeer(media); err != nil {
		return "", err
	}
	v.peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { t.hear(remote) })
	if _, err := v.peer.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return "", fmt.Errorf("adding a track: %w", err)
	}
	return v.negotiate(ctx, offered)
}

// began records that the talker has the floor.
func (t *talker) began(first bool) {
	if first {
		t.viewer.door.metrics.talks.Inc()
		t.viewer.log.Info("a viewer talks by WebRTC")
	}
	t.viewer.noteUse()
}

// serve looks after a talker that is connected, until it ends.
func (t *talker) serve() {
	v := t.viewer
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	used := time.Now()
	for v.ctx.Err() == nil {
		select {
		case now := <-tick.C:
			if now.Sub(time.Unix(0, v.heard.Load())) > v.door.cfg.SilentWithin {
				v.end(endedSilent)
			}
			if now.Sub(used) >= usedEvery && t.Talks() {
				v.noteUse()
				used = now
			}
		case <-v.ctx.Done():
		}
	}
}

// hear passes on what comes on a track, until it ends. It has been authenticated. One track
// is heard; there is no other in the answer.
func (t *talker) hear(track *webrtc.TrackRemote) {
	v := t.viewer
	defer func() {
		if fault := recover(); fault != nil {
			v.log.Error("hearing a viewer panicked", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
			v.end(access.Unknown)
		}
	}()
	if !t.hearing.CompareAndSwap(false, true) {
		return
	}
	data := make([]byte, maxSpoken)
	for {
		n, _, err := track.Read(data)
		if err != nil {
			return
		}
		v.heard.Store(time.Now().UnixNano())
		if t.take(data[:n]) {
			v.door.metrics.spoken.Inc()
		} else {
			v.door.metrics.unspoken.Inc()
		}
	}
}

// take passes on the sound of a packet, and reports whether it did. What is older than the
// last one is left out: it would be heard too late.
func (t *talker) take(packet []byte) bool {
	var p rtp.Packet
	if err := p.Unmarshal(packet); err != nil || p.PayloadType != t.payload {
		return false
	}
	if behind := int16(p.SequenceNumber - t.last); t.begun && behind <= 0 && behind > -maxGap {
		return false
	}
	t.begun, t.last = true, p.SequenceNumber
	return t.Say(t.codec, slices.Clone(p.Payload))
}
