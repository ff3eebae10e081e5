package rtsp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"

	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/playback"
	"latchkey/streaming/upstream"
)

const onvifReplay = "onvif-replay"

var (
	errNoReplay = &refusal{status: base.StatusOptionNotSupported, reason: "no replay", header: base.Header{"Unsupported": base.HeaderValue{onvifReplay}}}
	errNothing  = &refusal{status: base.StatusNotFound, reason: "nothing recorded"}
	errTooMuch  = &refusal{status: base.StatusNotEnoughBandwidth, reason: "too many playbacks"}
	errBadSpeed = &refusal{status: base.StatusBadRequest, reason: "bad scale"}
	errRecorder = &refusal{
		status: base.StatusServiceUnavailable, reason: "recorder",
		header: base.Header{"Retry-After": base.HeaderValue{"1"}},
	}
)

// refusalOfPlayback returns the refusal for an error of a playback.
func refusalOfPlayback(err error) *refusal {
	var away *upstream.AwayError
	switch {
	case errors.Is(err, playback.ErrRange):
		return errBadRange
	case errors.Is(err, playback.ErrNothing), errors.Is(err, playback.ErrNoRecorder):
		return errNothing
	case errors.Is(err, playback.ErrNoReplay):
		return errNoReplay
	case errors.Is(err, playback.ErrBusy):
		return errTooMuch
	case errors.As(err, &away):
		return refusalOfAway(err)
	default:
		return errRecorder
	}
}

// openPlayback opens a session with the recorder, for a viewer that has a permit.
func (d *Door) openPlayback(ctx context.Context, v *viewer, t target, replay bool) (*playback.Session, *stream, *refusal) {
	switch {
	case t.from.Unix() < 0 || !t.to.IsZero() && !t.to.After(t.from):
		return nil, nil, errBadRange
	case d.cfg.Recorders == nil:
		return nil, nil, errNoPlayback
	}
	s, err := d.cfg.Recorders.Open(ctx, playback.Use{
		Account: v.key.Account, Device: v.device, Channel: v.channel, From: t.from, To: t.to, Replay: replay,
		Playable: func(within privilege.Interval, now time.Time) (privilege.Interval, bool) {
			return d.cfg.Access.Playable(v.key.Account, v.device, v.channel, within, now, d.cfg.PlaybackDelay)
		},
	})
	if err != nil {
		d.log.Info("a recording was not opened", "device", v.device, "channel", v.channel, "reason", refusalOfPlayback(err).reason)
		return nil, nil, refusalOfPlayback(err)
	}
	st := &stream{door: d, ServerStream: &gortsplib.ServerStream{Server: d.server, Desc: s.Description()}}
	if err := st.Initialize(); err != nil {
		s.Close()
		return nil, nil, errUnavailable
	}
	stats := st.Stats()
	for _, m := range st.Desc.Medias {
		st.tracks = append(st.tracks, &track{ssrc: stats.Medias[m].Formats[m.Formats[0]].LocalSSRC})
	}
	return s, st, nil
}

// prepared is a playback that was described and not set up yet.
type prepared struct {
	door   *Door
	viewer *viewer // of the description; it holds the permit
	target target
	timer  *time.Timer

	mu      sync.Mutex
	session *playback.Session
	stream  *stream
	over    bool // taken or closed
}

// preparedFor is how long a player may take from DESCRIBE to SETUP.
const preparedFor = 10 * time.Second

// describePlayback returns the description of a recording, and keeps the session for the
// SETUP that follows.
func (h *handler) describePlayback(ctx *gortsplib.ServerHandlerOnDescribeCtx, v *viewer, t target) (*stream, *refusal) {
	w := wireOf(ctx.Conn)
	w.prepared.close()
	w.prepared = nil
	p := &prepared{door: h.Door, viewer: v, target: t}
	if refused := h.acquirePermit(v, func(access.Reason) { p.close() }); refused != nil {
		return nil, refused
	}
	s, st, refused := h.openPlayback(w.ctx, v, t, requiresReplay(ctx.Request))
	if refused != nil {
		v.permit.Release()
		return nil, refused
	}
	p.mu.Lock()
	p.session, p.stream = s, st
	revoked := p.over
	p.timer = time.AfterFunc(preparedFor, p.close)
	p.over = false // now there is something to close
	p.mu.Unlock()
	w.prepared = p
	if refused = h.verdict(v); refused == nil && revoked {
		refused = errNotFound
	}
	if refused != nil {
		p.close()
		return nil, refused
	}
	w.length = "npt=0.000-"
	if d, ok := s.Length(); ok {
		w.length += strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
	}
	return st, nil
}

// close ends what was prepared, unless it was taken.
func (p *prepared) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.over = true
	if p.session == nil { // it is being opened
		return
	}
	p.timer.Stop()
	p.door.sweep.Go(func() {
		p.stream.ServerStream.Close()
		p.session.Close()
		p.viewer.permit.Release()
	})
}

// take returns what was prepared if it is what a viewer sets up.
func (p *prepared) take(v *viewer, t target, replay bool) (*playback.Session, *stream) {
	if p == nil {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	same := p.viewer.key.Name == v.key.Name && p.viewer.device == v.device && p.viewer.channel == v.channel &&
		(t.from.IsZero() || t.from.Equal(p.target.from) && t.to.Equal(p.target.to)) // some players lose the query
	if p.over || !same || replay && !p.session.Replays() {
		return nil, nil
	}
	p.over = true
	p.timer.Stop()
	p.viewer.permit.Release() // the one who takes it has one
	return p.session, p.stream
}

// requiresReplay reports whether a request requires ONVIF replay.
func requiresReplay(req *base.Request) bool { return requires(req, onvifReplay) }

// replay is the playback of one viewer: it sends what the session with the recorder
// passes on.
type replay struct {
	*playback.Session
	door   *Door
	viewer *viewer
	cname  string
	urls   []string // of the SETUPs, by track

	answer playback.Playing // of the PLAY that is being answered

	mu      sync.Mutex
	leaving *time.Timer // ends a player that stays after the end
}

// setupPlayback gives the viewer a session with the recorder: the one that it was
// described, or a new one.
func (h *handler) setupPlayback(ctx *gortsplib.ServerHandlerOnSetupCtx, v *viewer, t target) *refusal {
	replays := requiresReplay(ctx.Request)
	s, st := v.wire.prepared.take(v, t, replays)
	if s == nil {
		v.wire.prepared.close()
		var refused *refusal
		if s, st, refused = h.openPlayback(v.wire.ctx, v, t, replays); refused != nil {
			return refused
		}
	}
	v.wire.prepared = nil
	r := &replay{Session: s, door: h.Door, viewer: v, urls: make([]string, len(st.Desc.Medias)), cname: fmt.Sprintf("%016x", rand.Uint64())}
	v.replay, v.lease = r, &lease{stream: st}
	v.box.patience = playbackPatience
	s.Begin(r)
	return nil
}

// wants notes that the viewer sets up a track.
func (r *replay) wants(track int) {
	if r != nil && track >= 0 && track < len(r.urls) {
		r.Want(track)
		r.urls[track] = r.viewer.wire.asked // players compare it with what they have sent
	}
}

// close ends the playback: nothing is sent to the viewer after it returns.
func (r *replay) close() {
	r.stay()
	r.viewer.box.stop()
	r.Stop()
	r.door.sweep.Go(func() {
		r.viewer.lease.stream.ServerStream.Close()
		r.Close()
	})
}

// passed are the headers of a PLAY that are passed on, and what they may be (ONVIF
// Streaming Specification, 6.4 and 6.5).
var passed = map[string]*regexp.Regexp{
	"Rate-Control": regexp.MustCompile(`^(?i:yes|no)$`),
	"Immediate":    regexp.MustCompile(`^(?i:yes|no)$`),
	"Frames":       regexp.MustCompile(`^(?i:all|predicted|intra(/[0-9]{1,9})?)$`),
}

// play plays what a PLAY requests.
func (r *replay) play(ctx context.Context, req *base.Request) *refusal {
	if requiresReplay(req) && !r.Replays() {
		return errNoReplay
	}
	asked := playback.Request{Header: base.Header{}}
	var ok bool
	for name, to := range map[string]*float64{"Scale": &asked.Scale, "Speed": &asked.Speed} {
		if v := req.Header[name]; len(v) > 0 {
			if *to, ok = playback.ParseSpeed(v[0]); !ok {
				return errBadSpeed
			}
		}
	}
	if asked.Speed < 0 {
		return errBadSpeed
	}
	for name, valid := range passed {
		v := req.Header[name]
		// A recorder that is not paced would flood a viewer over UDP.
		if len(v) > 0 && valid.MatchString(v[0]) && !(name == "Rate-Control" && r.viewer.udp) {
			asked.Header[name] = base.HeaderValue{v[0]}
		}
	}
	if v := req.Header["Range"]; len(v) > 0 {
		asked.Range = v[0]
	}
	if v := req.Header["CSeq"]; len(v) > 0 {
		n, _ := strconv.ParseUint(v[0], 10, 64)
		asked.CSeq = byte(n)
	}
	r.stay()
	answer, err := r.Play(ctx, asked)
	if err != nil {
		refused := refusalOfPlayback(err)
		if !r.Plays() {
			r.viewer.wire.setPlaying(false) // what it played before is over
		}
		r.door.log.Info("a recording is not played", "viewer", r.viewer.id, "device", r.viewer.device, "channel", r.viewer.channel, "reason", refused.reason)
		return refused
	}
	r.answer = answer
	r.viewer.box.start(r.viewer.lease.stream, r.viewer.subs, nil, nil) // until the response was sent
	r.Release()
	return nil
}

// respond completes the response to PLAY.
func (r *replay) respond(res *base.Response) {
	set := func(name, value string) {
		if value != "" {
			res.Header[name] = base.HeaderValue{value}
		}
	}
	set("Range", r.answer.Range)
	set("Scale", r.answer.Scale)
	set("Speed", r.answer.Speed)
	set("Rate-Control", r.answer.RateControl)
	var info headers.RTPInfo
	for _, track := range r.viewer.order {
		start := r.answer.Starts[track]
		info = append(info, &headers.RTPInfoEntry{URL: r.urls[track], SequenceNumber: &start.Sequence, Timestamp: &start.Timestamp})
	}
	res.Header["RTP-Info"] = info.Marshal()
}

// Permitted reports whether the viewer's permit holds.
func (r *replay) Permitted() bool { return r.door.verdict(r.viewer) == nil && r.door.live() }

// Send sends a packet, as soon as the viewer has taken those before.
func (r *replay) Send(track int, data []byte) error {
	if !r.viewer.subs[track].on {
		return nil
	}
	b := &burst{track: track, first: true, key: true}
	b.add(data, r.ssrc(track), upstream.Timestamp(data))
	if err := r.await(); err != nil {
		return err
	}
	b.at = monotonic()
	box := r.viewer.box
	switch what, s := box.offer(b, nil); what {
	case refused:
		return net.ErrClosed
	case begun:
		box.again()
	case together, reported:
		u := box.way.(*udpWay)
		if done := u.ports.send(b, s.rtp, 0, len(b.ends), &u.alone); done < len(b.ends) {
			box.requeue(b, done, false)
		}
	}
	r.door.streams.count(1, len(data))
	return nil
}

// await waits until nothing waits for the viewer.
func (r *replay) await() error {
	for pause := chaseFirst / 2; ; pause = min(2*pause, chaseMost) {
		if r.viewer.box.ready() {
			return nil
		}
		if err := r.rest(pause); err != nil {
			return err
		}
	}
}

// rest waits for a moment, unless the viewer has ended.
func (r *replay) rest(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.viewer.wire.ctx.Done():
		return net.ErrClosed
	}
	if r.viewer.cutFor.Load() != nil || r.viewer.box.isClosed() {
		return net.ErrClosed
	}
	return nil
}

// Report sends a sender report.
func (r *replay) Report(track int, ntp uint64, rtp uint32) {
	s := &r.viewer.subs[track]
	packets, octets := r.viewer.box.sentOf(s)
	r.tell(track, senderReport(r.ssrc(track), ntp, rtp, packets, octets, r.cname))
}

func (r *replay) ssrc(track int) uint32 { return r.viewer.lease.stream.tracks[track].ssrc }

// tell sends an RTCP packet, after what waits.
func (r *replay) tell(track int, rtcp []byte) {
	r.viewer.box.tell(r.viewer.subs[track].control(track, rtcp))
}

// playbackPatience is how long a player may take nothing: it may be the one that paces the
// recorder.
const playbackPatience = 30 * time.Second

// stayFor is how long a player may stay after the end of what it requested.
const stayFor = 3 * time.Second

// End says goodbye. A player that neither leaves nor plays something else is sent away.
func (r *replay) End() {
	for _, track := range r.viewer.order {
		r.tell(track, goodbye(r.ssrc(track)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaving = time.AfterFunc(stayFor, r.viewer.session.Close)
}

// stay stops sending the player away.
func (r *replay) stay() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaving != nil {
		r.leaving.Stop()
		r.leaving = nil
	}
}

// ready reports whether a packet would be sent at once.
func (o *outbox) ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.closed && o.quiet
}

// sentOf returns what was sent of a subscription.
func (o *outbox) sentOf(s *sub) (packets, octets uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.packets, s.octets
}

func (o *outbox) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// tell sends a report, after what waits.
func (o *outbox) tell(report *burst) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.held+len(report.data) > maxControl {
		return
	}
	o.push(item{burst: report})
	o.drain()
	o.chase()
}

// never is when a subscription without reports of the outbox gets one.
const never = math.MaxInt64

// addLength adds how long a recording is to its description, for players that show it.
func (w *wire) addLength(res *base.Response) {
	const before = "t=0 0\r\n"
	if w.length != "" && res.StatusCode == base.StatusOK {
		res.Body = bytes.Replace(res.Body, []byte(before), []byte(before+"a=range:"+w.length+"\r\n"), 1)
	}
	w.length = ""
}
