package rtsp

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtp"

	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/upstream"
)

// Talk: the ONVIF back channel (ONVIF Streaming Specification, 5.3). The library's stream
// of each flow has a back channel that it never describes. It is described here, to those
// who require it and may talk; a viewer that sets it up needs a permit of its own.

// onvifBackChannel is what a player requires to talk.
const onvifBackChannel = "www.onvif.org/ver20/backchannel"

// known are the options that a player may require.
var known = []string{onvifBackChannel, onvifReplay}

var (
	errTalkBusy   = &refusal{status: base.StatusNotEnoughBandwidth, reason: "talk busy", header: warning("somebody else is talking")}
	errNoTalkPath = &refusal{status: base.StatusUnsupportedTransport, reason: "transport", header: warning("within TLS sound is accepted over TCP only")}
)

// warning returns a header that tells a person why (RFC 2616, section 14.46).
func warning(text string) base.Header {
	return base.Header{"Warning": base.HeaderValue{`399 latchkey "` + text + `"`}}
}

// required returns what a request requires.
func required(req *base.Request) []string {
	return strings.FieldsFunc(strings.Join(req.Header["Require"], ","), func(r rune) bool { return r == ',' || r == ' ' })
}

// requires reports whether a request requires an option.
func requires(req *base.Request, option string) bool {
	return slices.ContainsFunc(required(req), func(name string) bool { return strings.EqualFold(name, option) })
}

// requiresTalk reports whether a request requires the back channel.
func requiresTalk(req *base.Request) bool { return requires(req, onvifBackChannel) }

// unknownOptions refuses what nobody here can do (RFC 2326, section 12.32).
func unknownOptions(req *base.Request) *refusal {
	list := slices.DeleteFunc(required(req), func(name string) bool {
		return slices.ContainsFunc(known, func(option string) bool { return strings.EqualFold(option, name) })
	})
	if len(list) == 0 {
		return nil
	}
	return &refusal{status: base.StatusOptionNotSupported, reason: "option", header: base.Header{"Unsupported": base.HeaderValue{strings.Join(list, ", ")}}}
}

// refusalOfTalk returns the refusal for a camera that cannot be talked to.
func refusalOfTalk(err error) *refusal {
	var codec *backchannel.CodecError
	var away *upstream.AwayError
	switch {
	case errors.Is(err, backchannel.ErrNone):
		return &refusal{status: base.StatusNotFound, reason: "no back channel", header: warning(backchannel.ErrNone.Error())}
	case errors.As(err, &codec):
		return &refusal{status: base.StatusUnsupportedMediaType, reason: "codec", header: warning(codec.Error() + "; only G.711 is passed on")}
	case errors.As(err, &away):
		return refusalOfAway(err)
	}
	return errUnavailable
}

func g711(pt uint8) *format.G711 {
	return &format.G711{PayloadTyp: pt, MULaw: pt == 0, SampleRate: 8000, ChannelCount: 1}
}

// payloadTypes are those of sound from viewers (RFC 3551, section 6).
var payloadTypes = map[backchannel.Codec]uint8{backchannel.PCMU: 0, backchannel.PCMA: 8}

// withBackChannel returns a description with a back channel at its end.
func withBackChannel(desc *description.Session) *description.Session {
	own := *desc
	own.Medias = append(slices.Clone(desc.Medias), &description.Media{
		Type: description.MediaTypeAudio, IsBackChannel: true, Formats: []format.Format{g711(0), g711(8)},
	})
	return &own
}

// isBack reports whether a track is the back channel.
func (st *stream) isBack(track int) bool {
	return track >= 0 && track < len(st.Desc.Medias) && st.Desc.Medias[track].IsBackChannel
}

// openForTalk makes the stream of those who only talk.
func (d *Door) openForTalk() error {
	d.alone = &stream{door: d, ServerStream: &gortsplib.ServerStream{Server: d.server, Desc: withBackChannel(&description.Session{})}}
	return d.alone.Initialize()
}

// describeTalk returns a description in which the back channel takes only one codec.
func describeTalk(st *stream, codec backchannel.Codec) ([]byte, error) {
	out := &description.Session{Title: st.Desc.Title, FECGroups: st.Desc.FECGroups}
	for n, m := range st.Desc.Medias {
		formats := m.Formats
		if m.IsBackChannel {
			formats = []format.Format{g711(payloadTypes[codec])}
		}
		out.Medias = append(out.Medias, &description.Media{
			Type: m.Type, ID: m.ID, IsBackChannel: m.IsBackChannel, Control: controlOf(n), Formats: formats,
		})
	}
	return out.Marshal(false)
}

// talkOffer is what a description offers to who may talk.
type talkOffer struct {
	codec   backchannel.Codec // "": nothing
	without *refusal          // why
}

// answerTalk answers a request for a description that requires a back channel: with one if
// there is one for who asks.
func (h *handler) answerTalk(ctx *gortsplib.ServerHandlerOnDescribeCtx, st *stream) (*base.Response, *gortsplib.ServerStream, error) {
	w := wireOf(ctx.Conn)
	offer := w.talk
	w.talk = talkOffer{}
	w.wantsTalk = offer.codec != ""
	delete(ctx.Request.Header, "Require") // the server would add a back channel for anybody
	res := &base.Response{StatusCode: base.StatusOK, Header: base.Header{}}
	if offer.codec == "" {
		if offer.without != nil && offer.without.header["Warning"] != nil {
			res.Header["Warning"] = offer.without.header["Warning"]
		}
		return res, st.ServerStream, nil
	}
	body, err := describeTalk(st, offer.codec)
	if err != nil {
		h.log.Error("describing a back channel failed", "err", err)
		res, err := h.refuse(errInternalFault)
		return res, nil, err
	}
	res.Body = body
	return res, nil, nil
}

// describeAlone is for a viewer that only talks.
func (h *handler) describeAlone(w *wire, v *viewer, query string) (*stream, *refusal) {
	if w.wantsSRTP(query) {
		return nil, errNoTalkPath
	}
	codec, err := h.cfg.Lines.Codec(w.ctx, v.device, v.channel)
	if refused := h.verdict(v); refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, refusalOfTalk(err)
	}
	w.talk = talkOffer{codec: codec}
	return h.alone, nil
}

// take records that the viewer sets up a track, or refuses that.
func (h *handler) take(v *viewer, track int) *refusal {
	if v.multicast && v.lease.stream.isBack(track) {
		return errNoTransport
	}
	if v.talks.Load() && !v.lease.stream.isBack(track) {
		return errState // nothing of the camera is shown without a permit
	}
	if refused := v.take(track); refused != nil || !v.lease.stream.isBack(track) {
		return refused
	}
	refused := h.setupTalk(v.wire.ctx, v)
	if refused != nil { // it may be tried again
		v.tracks = v.tracks[:len(v.tracks)-1]
	}
	return refused
}

// offerTalk finds out what a viewer may say to the camera, for a description that requires
// a back channel: "" if nothing. reason says why, to those who may talk.
func (d *Door) offerTalk(ctx context.Context, v *viewer) (codec backchannel.Codec, reason *refusal) {
	if d.cfg.Lines == nil {
		return "", nil
	}
	permit, verdict := d.cfg.Access.Acquire(v.talkUse(""), func(access.Reason) {})
	if verdict != access.Allowed {
		return "", nil
	}
	defer permit.Release()
	codec, err := d.cfg.Lines.Codec(ctx, v.device, v.channel)
	if refused := refusalOf(permit.Check(d.cfg.Now())); refused != nil { // the camera may have taken seconds
		return "", nil
	}
	if err != nil {
		return "", refusalOfTalk(err)
	}
	return codec, nil
}

// talkUse is the use of a viewer that talks.
func (v *viewer) talkUse(transport string) access.Use {
	return access.Use{
		Subject: access.Subject{Account: v.key.Account, StreamKey: v.key.Name},
		Device:  v.device, Channel: v.channel, Privilege: privilege.TwoWayAudio, Transport: transport, Address: v.address(),
	}
}

// talkAlone makes a viewer that may not watch one that only talks, if it requires that and
// may. Otherwise it returns the refusal.
func (d *Door) talkAlone(v *viewer, t target, wants bool, refused *refusal, revoked func(access.Reason)) *refusal {
	if refused != errForbidden || !wants || t.playback || d.cfg.Lines == nil {
		return refused
	}
	v.alone, v.needs = true, privilege.TwoWayAudio
	return d.acquirePermit(v, revoked)
}

// talkOnly makes a viewer that has set up the back channel, and nothing else, one that only
// talks: its session goes on without live view, and ends with two-way audio.
func (h *handler) talkOnly(v *viewer) *refusal {
	s := v.speech.Load()
	if s == nil || v.alone || v.talks.Load() || v.replay != nil || len(v.tracks) != 1 {
		return nil
	}
	v.talks.Store(true) // from now on a revocation of two-way audio cuts it
	if refused := h.verdict(v); refused != nil {
		h.cut(v, access.PrivilegeGone)
		return refused
	}
	v.permit.Release()
	return nil
}

// setupTalk prepares the back channel of a viewer.
func (h *handler) setupTalk(ctx context.Context, v *viewer) (refused *refusal) {
	switch {
	case h.cfg.Lines == nil:
		return errNoTrack
	case v.speech.Load() != nil:
		return errState
	}
	s := h.newSpeech(v)
	if !v.alone {
		permit, verdict := h.cfg.Access.Acquire(v.talkUse(v.talkTransport()), s.revoked)
		if refused := refusalOf(verdict); refused != nil {
			return refused
		}
		s.permit = permit
	}
	defer func() {
		if refused != nil {
			s.release()
		}
	}()
	if v.udp && v.wire.tls != nil {
		return errNoTalkPath
	}
	var err error
	if s.codec, err = h.cfg.Lines.Codec(ctx, v.device, v.channel); err != nil {
		h.log.Info("a camera cannot be talked to", "device", v.device, "channel", v.channel, "reason", refusalOfTalk(err).reason)
		return refusalOfTalk(err)
	}
	if refused := refusalOf(s.permit.Check(h.cfg.Now())); refused != nil {
		return refused
	}
	if h.floor.Busy(s.talker()) {
		return errTalkBusy
	}
	h.speeches.add(s)
	v.speech.Store(s)
	if v.cutFor.Load() != nil { // in the meantime
		s.Stop()
	}
	return nil
}

// talkTransport names how the viewer's sound comes.
func (v *viewer) talkTransport() string {
	if v.wire.tls != nil {
		return "rtsps-talk"
	}
	return "rtsp-talk"
}

// listenTo passes on what a player sends to the back channel that it has set up.
func (h *handler) listenTo(v *viewer, session *gortsplib.ServerSession, m *description.Media, to headers.Transport) {
	s := v.speech.Load()
	if s == nil {
		return
	}
	if to.InterleavedIDs != nil {
		v.wire.hears.Store(&hears{channel: byte(to.InterleavedIDs[0]), hear: s.hear})
		return
	}
	for _, f := range m.Formats {
		session.OnPacketRTP(m, f, func(p *rtp.Packet) { s.hearPacket(p.PayloadType, p.Payload) })
	}
}

// withoutBack removes the back channel from the RTP-Info of a response to PLAY: it begins
// when the player says something.
func withoutBack(res *base.Response, st *stream) {
	var info headers.RTPInfo
	if info.Unmarshal(res.Header["RTP-Info"]) != nil {
		return
	}
	info = slices.DeleteFunc(info, func(e *headers.RTPInfoEntry) bool {
		u, err := base.ParseURL(e.URL)
		return err == nil && st.isBack(trackOf(u))
	})
	if len(info) == 0 {
		delete(res.Header, "RTP-Info")
		return
	}
	res.Header["RTP-Info"] = info.Marshal()
}

// hears is the interleaved channel on which a player talks.
type hears struct {
	channel byte
	hear    func(packet []byte)
}

// maxSpoken is the largest packet that is heard, in bytes: sound and a header with what
// hardly any player adds.
const maxSpoken = backchannel.MaxSound + 128

// heard returns what hears the frames of a channel; nil if nothing does.
func (w *wire) heard(channel byte, size int) func([]byte) {
	if h := w.hears.Load(); h != nil && h.channel == channel && size <= maxSpoken {
		return h.hear
	}
	return nil
}
