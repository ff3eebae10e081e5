package rtsp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtp"

	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/talk"
	"latchkey/streaming/upstream"
)

// Talk: the ONVIF back channel (ONVIF Streaming Specification, 5.3). The library's stream
// of each flow has a back channel that it never describes. It is described here, to those
// who require it and may talk; whoever sets it up needs a permit of its own.

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

// requiresTalk reports whether a request requires the back channel.
func requiresTalk(req *base.Request) bool {
	return slices.ContainsFunc(required(req), func(name string) bool { return strings.EqualFold(name, onvifBackChannel) })
}

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

// refusalOfTalk returns how it is told that a camera cannot be talked to.
func refusalOfTalk(err error) *refusal {
	var codec *backchannel.CodecError
	var away *upstream.AwayError
	switch {
	case errors.Is(err, backchannel.ErrNone):
		return &refusal{status: base.StatusNotFound, reason: "no back channel", header: warning(backchannel.ErrNone.Error())}
	case errors.As(err, &codec):
		return &refusal{status: base.StatusUnsupportedMediaType, reason: "codec", header: warning(codec.Error() + "; only G.711 is passed on")}
	case errors.As(err, &away):
		return &refusal{status: base.StatusServiceUnavailable, reason: "camera away", header: base.Header{"Retry-After": base.HeaderValue{retryAfter(err)}}}
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

// describeTalk returns a description in which the back channel takes a codec.
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

// speech is what a viewer says to a camera, from the SETUP of the back channel on.
type speech struct {
	door   *Door
	viewer *viewer
	codec  backchannel.Codec
	permit *access.Permit

	over    atomic.Bool   // nothing is passed on any more
	settled chan struct{} // closed when nothing is on its way to the camera

	mu    sync.Mutex
	floor *holding  // nil: somebody else may have it
	last  time.Time // when something was heard
	muted bool      // it has lost the floor, and has not been quiet since
	retry time.Time // when it may ask for the floor again
	said  bool      // it was noted that it talks
}

// holding is a turn on the floor, and the line for it. The speech's mutex guards them until it
// is the speech's floor.
type holding struct {
	turn *talk.Turn
	line *backchannel.Line
	lost bool
}

// setupTalk prepares the back channel of a viewer.
func (h *handler) setupTalk(ctx context.Context, v *viewer) (refused *refusal) {
	switch {
	case h.cfg.Lines == nil:
		return errNoTrack
	case v.speech.Load() != nil:
		return errState
	}
	s := &speech{door: h.Door, viewer: v, permit: v.permit, settled: make(chan struct{})}
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
		s.stop()
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

func (s *speech) talker() talk.Talker {
	return talk.Talker{Account: s.viewer.key.Account, Device: s.viewer.device, Channel: s.viewer.channel}
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

// hear takes an RTP packet.
func (s *speech) hear(packet []byte) {
	pt, sound, ok := soundOf(packet)
	if !ok {
		s.door.dropped(droppedTalk, 1)
		return
	}
	s.hearPacket(pt, sound)
}

// soundOf returns what an RTP packet of a viewer holds (RFC 3550, section 5.1).
func soundOf(packet []byte) (pt uint8, sound []byte, ok bool) {
	var p rtp.Packet
	if err := p.Unmarshal(packet); err != nil || p.Version != 2 {
		return 0, nil, false
	}
	return p.PayloadType, p.Payload, true
}

// hearPacket passes sound on, if the viewer has the floor or gets it. It does not block. It
// is not called concurrently.
func (s *speech) hearPacket(pt uint8, sound []byte) {
	defer s.survive()
	if pt != payloadTypes[s.codec] || len(sound) == 0 || !s.viewer.wire.playing.Load() || !s.may() || !s.speak(sound) {
		s.door.dropped(droppedTalk, 1)
	}
}

// survive ends the speech for a bug, and not everybody's streams.
func (s *speech) survive() {
	if p := recover(); p != nil {
		s.door.log.Error("hearing a viewer panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		s.stop()
	}
}

// may reports whether sound may be passed on now.
func (s *speech) may() bool {
	return !s.over.Load() && s.viewer.cutFor.Load() == nil && s.door.live() && s.permit.Check(s.door.cfg.Now()) == access.Allowed
}

func (s *speech) speak(sound []byte) bool {
	f := s.takeFloor(time.Now())
	return f != nil && f.turn.Speak() && f.line.Say(sound, func() bool { return f.turn.Speak() && s.may() })
}

const (
	// pauseOf is how long somebody who was interrupted must be quiet to be heard again.
	pauseOf = time.Second
	// askAgain is how often somebody who talks asks for a floor that another one has.
	askAgain = 250 * time.Millisecond
)

// takeFloor returns the viewer's turn, or nil if somebody else talks.
func (s *speech) takeFloor(now time.Time) *holding {
	has, ask := s.current(now)
	if !ask {
		return has
	}
	f := &holding{}
	turn, err := s.door.floor.Take(s.talker(), func(why talk.Reason) { s.lost(f, why) })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.retry = now.Add(askAgain)
		return nil
	case f.lost:
		return nil
	case s.over.Load():
		turn.Leave()
		return nil
	}
	f.turn, f.line = turn, s.door.cfg.Lines.Line(s.viewer.device, s.viewer.channel, s.codec)
	s.floor = f
	if !s.said {
		s.said = true
		s.door.metrics.talks.Inc()
		s.door.log.Info("a viewer talks", "viewer", s.viewer.id, "account", s.viewer.key.Account, "device", s.viewer.device, "channel", s.viewer.channel)
	}
	s.door.noteTalk(s)
	return f
}

// current returns the turn that the viewer has, or whether it may ask for one.
func (s *speech) current(now time.Time) (has *holding, ask bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) > pauseOf {
		s.muted = false
	}
	s.last = now
	return s.floor, s.floor == nil && !s.muted && !now.Before(s.retry)
}

// lost ends the viewer's turn, but not its speech: it may ask again. One who was
// interrupted must be quiet before, so that nobody is heard who does not know.
func (s *speech) lost(f *holding, why talk.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.lost, s.muted = true, why != talk.Silent
	if s.floor == f {
		s.floor = nil
		f.line.Leave(false)
	}
}

// revoked ends the speech, and nothing else of the viewer.
func (s *speech) revoked(reason access.Reason) {
	s.door.metrics.cut.WithLabelValues(string(reason)).Inc()
	s.door.log.Info("a viewer may not talk any more", "viewer", s.viewer.id, "account", s.viewer.key.Account, "device", s.viewer.device, "reason", reason)
	s.stop()
}

// stop ends the speech, without waiting: what is being sent to the camera is until
// settled.
func (s *speech) stop() {
	if !s.over.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	f := s.floor
	s.floor = nil
	s.mu.Unlock()
	if f == nil {
		close(s.settled)
		return
	}
	f.turn.Leave()
	f.line.Leave(true)
	go func() {
		defer close(s.settled)
		f.line.Settle()
	}()
}

// release ends the speech and gives its permit back.
func (s *speech) release() {
	s.stop()
	if !s.viewer.alone {
		s.permit.Release()
	}
}

// close ends the speech of a viewer that leaves.
func (s *speech) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	said := s.said
	s.mu.Unlock()
	if said && !s.over.Load() {
		s.door.noteTalk(s)
	}
	s.release()
	s.door.sweep.Go(func() {
		<-s.settled
		s.door.speeches.remove(s)
	})
}

// talks reports whether the viewer has the floor.
func (s *speech) talks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.floor != nil
}

// noteTalk records that a viewer talks.
func (d *Door) noteTalk(s *speech) {
	if d.cfg.Uses == nil {
		return
	}
	if _, live := d.cfg.Access.Key(s.viewer.key.Name); live {
		d.cfg.Uses.Used(s.viewer.talkUse(s.viewer.talkTransport()), d.cfg.Now())
	}
}

// noteTalks records who talks.
func (d *Door) noteTalks() {
	for _, s := range d.speeches.list() {
		if s.talks() {
			d.noteTalk(s)
		}
	}
}

// speeches are those that may be on their way to a camera.
type speeches struct {
	mu  sync.Mutex
	all map[*speech]struct{}
}

func (l *speeches) add(s *speech) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*speech]struct{}{}
	}
	l.all[s] = struct{}{}
}

func (l *speeches) remove(s *speech) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, s)
}

func (l *speeches) list() []*speech {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.all))
}

// awaitSpeeches returns when nothing more is sent to cameras of what was said by those who
// may no longer; or after cutTimeout, for a camera that hangs.
func (d *Door) awaitSpeeches(ctx context.Context) error {
	timeout := time.NewTimer(cutTimeout)
	defer timeout.Stop()
	for _, s := range d.speeches.list() {
		if !s.over.Load() {
			continue
		}
		select {
		case <-s.settled:
		case <-timeout.C:
			d.log.Error("a camera that was talked to did not let go in time", "device", s.viewer.device)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
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

// endSpeech ends what a viewer says, without waiting.
func (v *viewer) endSpeech() {
	if s := v.speech.Load(); s != nil {
		s.stop()
	}
}
