package rtsp

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtcp"

	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/upstream"
)

// handler has the callbacks of the RTSP server.
//
// OnDescribe runs in the goroutine of its connection; OnSetup, OnPlay and OnSessionClose
// in that of the session, which is only ever driven by the connection that created it
// (see OnRequest).
type handler struct{ *Door }

var (
	errNotFound      = &refusal{status: base.StatusNotFound, reason: "not found"}
	errForbidden     = &refusal{status: base.StatusForbidden, reason: "forbidden"}
	errNoPlayback    = &refusal{status: base.StatusNotImplemented, reason: "playback"}
	errBadRange      = &refusal{status: base.StatusInvalidRange, reason: "bad range"}
	errBadTransport  = &refusal{status: base.StatusBadRequest, reason: "bad transport"}
	errLoop          = &refusal{status: base.StatusForbidden, reason: "loop", close: true}
	errOtherSession  = &refusal{status: base.StatusSessionNotFound, reason: "session"}
	errInternalFault = &refusal{status: base.StatusInternalServerError, reason: "internal", close: true}
)

// errEnd makes the server close the connection after the response.
var errEnd = errors.New("refused")

// refuse returns the response for a refusal.
func (h *handler) refuse(r *refusal) (*base.Response, error) {
	h.metrics.refused.WithLabelValues(r.reason).Inc()
	res := &base.Response{StatusCode: r.status, Header: base.Header{}}
	for name, value := range r.header {
		res.Header[name] = value
	}
	if r.close {
		return res, errEnd
	}
	return res, nil
}

// guard turns a panic into a 500: a bug must not end everybody's streams.
func (h *handler) guard(where string, r **refusal) {
	if p := recover(); p != nil {
		h.log.Error("a request panicked", "where", where, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*r = errInternalFault
	}
}

func wireOf(c *gortsplib.ServerConn) *wire { return c.NetConn().(*wire) }

// OnRequest is called before each request is handled. A request that is refused here goes
// to the server as one that it answers with an error, which OnResponse replaces.
func (h *handler) OnRequest(c *gortsplib.ServerConn, req *base.Request) {
	if upstream.IsAgent(req.Header["User-Agent"]) {
		wireOf(c).isDoor = true
	}
	// The server delays each SETUP of a GStreamer client by a second, because of a bug in
	// GStreamer publishers.
	delete(req.Header, "User-Agent")
	if req.URL != nil {
		req.URL.User = nil // otherwise it would appear in Content-Base
	}
	if refused := h.tolerate(c, req); refused != nil {
		wireOf(c).refusal = refused
		req.Method, req.URL = refusedMethod, &base.URL{}
	}
}

// OnResponse is called before each response is sent.
func (h *handler) OnResponse(c *gortsplib.ServerConn, res *base.Response) {
	w := wireOf(c)
	if r := w.refusal; r != nil {
		w.refusal, w.ending = nil, r.close
		cseq := res.Header["CSeq"]
		refused, _ := h.refuse(r)
		*res = *refused
		res.Header["CSeq"] = cseq
	}
	res.Header["Server"] = base.HeaderValue{upstream.Agent}
	if v := res.Header["Content-Base"]; len(v) == 1 {
		res.Header["Content-Base"] = base.HeaderValue{withoutQuery(v[0])}
	}
	if w.settingUp {
		h.subscribe(c, res)
		w.settingUp = false
		h.setups.Unlock()
	}
	w.addLength(res)
	w.noteSession(c.Session(), res)
	if v := w.begins; v != nil && res.StatusCode == base.StatusOK {
		if !v.udp {
			w.boxed.Store(true)
		}
		withoutBack(res, v.lease.stream)
		if v.replay != nil {
			v.replay.respond(res)
		} else {
			setStart(res, v.order, v.lease.stream.join(v))
		}
	} else {
		w.begins = nil
	}
	if c.Session() == nil { // torn down, if it existed
		w.setPlaying(false)
	}
	w.expect(c.Session() != nil)
}

// subscribe notes which track was set up, and where it is sent.
func (h *handler) subscribe(c *gortsplib.ServerConn, res *base.Response) {
	session := c.Session()
	var to headers.Transport
	if res.StatusCode != base.StatusOK || session == nil || to.Unmarshal(res.Header["Transport"]) != nil {
		return
	}
	v := session.UserData().(*viewer)
	medias := session.SetuppedMedias()
	track := slices.Index(v.lease.stream.Desc.Medias, medias[len(medias)-1])
	if v.lease.stream.isBack(track) {
		h.listenTo(v, session, medias[len(medias)-1], to)
		return
	}
	s := &v.subs[track]
	*s = sub{}
	if v.replay != nil {
		s.report = never
	}
	switch {
	case to.InterleavedIDs != nil:
		s.channel = byte(to.InterleavedIDs[0])
	case v.group != nil:
		v.group.answer(res, to, track)
	case to.ClientPorts != nil:
		v.reportPorts.add(to.ClientPorts[1])
		s.rtp, s.rtcp = h.udp.address(v.wire.endpoint(to.ClientPorts[0])), h.udp.address(v.wire.endpoint(to.ClientPorts[1]))
	}
	if v.keys != nil {
		if err := v.answerSRTP(res, track, v.wire.setup); err != nil {
			h.log.Error("answering for SRTP failed", "err", err)
			return // nothing is sent of this track
		}
	}
	s.on = true
	v.order = append(v.order, track)
}

// withoutQuery removes a query that says nothing from a Content-Base, and ends its path with
// a slash: players that resolve the track against it by RFC 3986 would lose the last part of
// the path.
func withoutQuery(contentBase string) string {
	path, query, ok := strings.Cut(contentBase, "?")
	if !ok {
		return contentBase
	}
	path = strings.TrimSuffix(path, "/") + "/"
	if strings.Contains(query, "starttime") { // players that append the track keep it
		return path + "?" + query
	}
	return path
}

// OnDescribe returns the description, and starts the upstream.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	stream, refused := h.describe(ctx)
	if refused != nil {
		res, err := h.refuse(refused)
		return res, nil, err
	}
	switch w := wireOf(ctx.Conn); {
	case w.wantsSRTP(ctx.Query) && stream.live():
		body, err := w.describeSRTP(stream)
		if err != nil {
			h.log.Error("describing a stream for SRTP failed", "err", err)
			res, err := h.refuse(errInternalFault)
			return res, nil, err
		}
		return &base.Response{StatusCode: base.StatusOK, Body: body}, nil, nil
	case requiresTalk(ctx.Request):
		return h.answerTalk(ctx, stream)
	}
	return &base.Response{StatusCode: base.StatusOK}, stream.ServerStream, nil
}

func (h *handler) describe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (_ *stream, refused *refusal) {
	defer h.guard("describe", &refused)
	w := wireOf(ctx.Conn)
	key, refused := h.authenticate(w.ctx, w, ctx.Request)
	if refused != nil {
		return nil, refused
	}
	v, t, refused := h.admit(key, ctx.Path, ctx.Query)
	if refused != nil {
		return nil, refused
	}
	if t.playback {
		return h.describePlayback(ctx, v, t)
	}
	// The camera's description is sent once, so nothing has to end on revocation.
	refused = h.acquirePermit(v, func(access.Reason) {})
	if refused = h.talkAlone(v, t, requiresTalk(ctx.Request), refused, func(access.Reason) {}); refused != nil {
		return nil, refused
	}
	defer v.permit.Release()
	if requiresReplay(ctx.Request) {
		return nil, errNoReplay
	}
	if v.alone {
		return h.describeAlone(w, v, ctx.Query)
	}
	lease, refused := h.lease(w.ctx, v, t)
	if refused != nil {
		return nil, refused
	}
	defer lease.Release()
	if requiresTalk(ctx.Request) && !w.wantsSRTP(ctx.Query) {
		w.talk.codec, w.talk.without = h.offerTalk(w.ctx, v)
	}
	// The camera may have taken seconds: check again before revealing anything about it.
	return lease.stream, h.verdict(v)
}

// OnSetup prepares one media. The first one of a session pins its target.
func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if p, ok := ctx.Session.UserData().(*publisher); ok {
		return h.setupPublisher(p, ctx)
	}
	stream, refused := h.setup(ctx)
	if refused != nil {
		res, err := h.refuse(refused)
		return res, nil, err
	}
	h.setups.Lock() // until OnResponse
	w := wireOf(ctx.Conn)
	w.settingUp, w.setup = true, ctx.Request.URL
	return &base.Response{StatusCode: base.StatusOK}, stream.ServerStream, nil
}

func (h *handler) setup(ctx *gortsplib.ServerHandlerOnSetupCtx) (_ *stream, refused *refusal) {
	defer h.guard("setup", &refused)
	w := wireOf(ctx.Conn)
	key, refused := h.authenticate(w.ctx, w, ctx.Request)
	if refused != nil {
		return nil, refused
	}
	if v, ok := ctx.Session.UserData().(*viewer); ok {
		if v.key.Name != key.Name {
			return nil, errOtherSession
		}
		if refused = h.take(v, trackOf(ctx.Request.URL)); refused != nil {
			return nil, refused
		}
		v.replay.wants(trackOf(ctx.Request.URL))
		h.claimPort(v, ctx.Request)
		return v.lease.stream, h.verdict(v)
	}
	v, t, refused := h.admit(key, ctx.Path, ctx.Query)
	if refused != nil {
		return nil, refused
	}
	v.session, v.wire, v.udp, v.multicast = ctx.Session, w, ctx.Transport != gortsplib.TransportTCP, w.multicast
	v.box = &w.box
	if v.udp {
		v.box, v.reports = h.datagramBox(w), newReportLimit()
	}
	h.viewers.add(v) // before it can be cut: AwaitCuts must find it
	kept := false
	defer func() {
		if !kept { // refused, or in a panic
			h.forget(v)
		}
	}()
	h.claimPort(v, ctx.Request)
	cut := func(r access.Reason) { h.cut(v, r) }
	refused = h.acquirePermit(v, cut)
	if refused = h.talkAlone(v, t, requiresTalk(ctx.Request) || w.wantsTalk, refused, cut); refused != nil {
		return nil, refused
	}
	if refused = h.mayJoin(v, t); refused != nil {
		return nil, refused
	}
	switch _, secret := v.box.way.(*srtpWay); {
	case !t.playback && requiresReplay(ctx.Request):
		return nil, errNoReplay
	case t.playback && secret:
		return nil, errNoTransport // a seek might use a key stream twice
	case t.playback:
		refused = h.setupPlayback(ctx, v, t)
	case v.alone:
		v.lease = &lease{stream: h.alone}
	default:
		v.lease, refused = h.lease(w.ctx, v, t)
	}
	if refused != nil {
		return nil, refused
	}
	if refused = h.take(v, trackOf(ctx.Request.URL)); refused != nil {
		return nil, refused
	}
	if refused = h.verdict(v); refused != nil {
		return nil, refused
	}
	v.replay.wants(trackOf(ctx.Request.URL))
	if secret, ok := v.box.way.(*srtpWay); ok {
		if secret.keys, refused = w.protectionFor(v.lease.stream); refused != nil {
			return nil, refused
		}
		v.keys = secret.keys
	}
	if v.multicast {
		if v.group, refused = v.lease.stream.group(v); refused != nil {
			return nil, refused
		}
	}
	v.subs = make([]sub, len(v.lease.stream.Desc.Medias))
	ctx.Session.SetUserData(v)
	kept = true
	return v.lease.stream, nil
}

// portWait is how long a SETUP waits for another viewer to release its UDP ports.
const portWait = time.Second

// claimPort records the UDP port that the viewer requests. A player that was killed and
// restarted may be faster than the end of its old session: then it waits, as the server
// would refuse the ports.
func (h *handler) claimPort(v *viewer, req *base.Request) {
	port, ok := clientPort(req.Header["Transport"])
	if !v.udp || !ok {
		return
	}
	other := h.viewers.claim(v, port)
	if other == nil {
		return
	}
	timeout := time.NewTimer(portWait)
	defer timeout.Stop()
	select {
	case <-other.done:
	case <-timeout.C:
	case <-v.wire.ctx.Done():
	}
}

// clientPort returns the RTP port of the first transport over UDP.
func clientPort(transport base.HeaderValue) (int, bool) {
	var list headers.Transports
	if list.Unmarshal(transport) != nil {
		return 0, false
	}
	for _, t := range list {
		if t.Protocol == headers.TransportProtocolUDP && t.ClientPorts != nil {
			return t.ClientPorts[0], true
		}
	}
	return 0, false
}

// OnPlay checks again, at every PLAY, what the session was set up for.
func (h *handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	if refused := h.play(ctx); refused != nil {
		return h.refuse(refused)
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (h *handler) play(ctx *gortsplib.ServerHandlerOnPlayCtx) (refused *refusal) {
	defer h.guard("play", &refused)
	v, ok := ctx.Session.UserData().(*viewer)
	if !ok {
		return errOtherSession
	}
	w := wireOf(ctx.Conn)
	key, refused := h.authenticate(w.ctx, w, ctx.Request)
	if refused != nil {
		return refused
	}
	if v.key.Name != key.Name || v.wire != w {
		return errOtherSession
	}
	if refused = h.verdict(v); refused != nil {
		if v.playing.Load() { // otherwise the server would continue
			v.held().Recheck()
			h.cut(v, access.PrivilegeGone)
		}
		return refused
	}
	if isElsewhere(ctx.Session, ctx.Request) {
		return errOtherAddress
	}
	if refused = h.talkOnly(v); refused != nil {
		return refused
	}
	h.noteUse(v) // before the first packet
	switch {
	case v.replay != nil:
		if refused = v.replay.play(w.ctx, ctx.Request); refused != nil {
			return refused
		}
		w.begins = v
	case !w.playing.Load():
		v.lease.stream.awaitHeard(w.ctx.Done())
		w.begins = v
	}
	w.setPlaying(true)
	if v.playing.CompareAndSwap(false, true) {
		if v.udp {
			ctx.Session.OnPacketRTCPAny(func(*description.Media, rtcp.Packet) { h.heard(v) })
		}
		h.metrics.plays.Inc()
		h.log.Info("a viewer started watching", "viewer", v.id, "account", v.key.Account, "key", v.key.Name,
			"device", v.device, "channel", v.channel, "udp", v.udp)
	}
	return nil
}

// OnPause lets a player pause; PLAY is checked again.
func (h *handler) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	w := wireOf(ctx.Conn)
	v, ok := ctx.Session.UserData().(*viewer)
	if ok && isElsewhere(ctx.Session, ctx.Request) {
		return h.refuse(errOtherAddress)
	}
	w.setPlaying(false)
	if p, ok := ctx.Session.UserData().(*publisher); ok {
		p.stop(false)
	}
	switch {
	case !ok:
	case v.replay != nil:
		v.replay.Pause(w.ctx)
	default:
		v.lease.stream.leave(v, false)
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnGetParameter is a ping. It reveals nothing, so it needs no check.
func (h *handler) OnGetParameter(*gortsplib.ServerHandlerOnGetParameterCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK, Header: base.Header{"Content-Type": base.HeaderValue{"text/parameters"}}}, nil
}

// OnConnClose ends the session of a closed connection. The server would keep one that
// plays over UDP for a minute more, and send packets to an address where nobody may be,
// although no other connection can use it (see OnRequest).
func (h *handler) OnConnClose(ctx *gortsplib.ServerHandlerOnConnCloseCtx) {
	if session := ctx.Conn.Session(); session != nil {
		session.Close()
	}
	wireOf(ctx.Conn).prepared.close()
}

// OnSessionClose is called when nothing more is sent to the session.
func (h *handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	if p, ok := ctx.Session.UserData().(*publisher); ok {
		h.forgetPublisher(p, ctx.Error)
	}
	v, ok := ctx.Session.UserData().(*viewer)
	if !ok {
		return
	}
	h.forget(v)
	if v.playing.Load() {
		h.noteUse(v)
		h.log.Info("a viewer ended", "viewer", v.id, "account", v.key.Account, "device", v.device)
	}
}

// forget undoes setup.
func (h *handler) forget(v *viewer) {
	h.hear(v)
	v.speech.Load().close()
	switch {
	case v.replay != nil:
		v.replay.close()
	case v.lease != nil:
		v.lease.stream.leave(v, true)
		if v.udp {
			v.box.close()
		}
		v.lease.release()
	}
	// After nothing more is sent: until then a revocation has to find the viewer.
	if v.permit != nil {
		v.permit.Release()
	}
	h.viewers.remove(v)
	close(v.done)
}

// OnPacketsLost concerns packets from viewers: what is lost of what they say is not heard.
func (h *handler) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnDecodeError counts packets from viewers that are not RTCP.
func (h *handler) OnDecodeError(ctx *gortsplib.ServerHandlerOnDecodeErrorCtx) {
	h.cfg.Upstreams.Dropped(droppedSent)
	if v, ok := ctx.Session.UserData().(*viewer); ok && v.reports != nil {
		h.heard(v)
	}
}

// admit determines the target and the key of a request. It does not check yet whether the
// account may see it.
func (d *Door) admit(key access.Key, path, query string) (*viewer, target, *refusal) {
	t, ok := parseTarget(path, query)
	if key.Name.Publishes() != 0 {
		return nil, t, errNoViewing
	}
	if !ok {
		return nil, t, errNotFound
	}
	device, ok := d.cfg.Access.Resolve(key.Account, t.device)
	if !ok {
		if !d.live() {
			return nil, t, errUnavailable
		}
		return nil, t, errNotFound
	}
	v := &viewer{key: key, device: device, channel: t.channel, needs: t.privilege(), done: make(chan struct{})}
	return v, t, nil
}

// noteUse records that the viewer watches, or watched until now. A key that was revoked is
// forgotten: its use ended when it was.
func (d *Door) noteUse(v *viewer) {
	if d.cfg.Uses == nil {
		return
	}
	needs := v.needs
	if v.talks.Load() {
		needs = privilege.TwoWayAudio
	}
	if _, live := d.cfg.Access.Key(v.key.Name); live {
		d.cfg.Uses.Used(access.Use{
			Subject: access.Subject{Account: v.key.Account, StreamKey: v.key.Name},
			Device:  v.device, Channel: v.channel, Privilege: needs, Transport: v.transport(),
		}, d.cfg.Now())
	}
}

// verdict checks whether the viewer may still see its target.
func (d *Door) verdict(v *viewer) *refusal {
	if v.cutFor.Load() != nil {
		return errNotFound
	}
	return refusalOf(v.held().Check(d.cfg.Now()))
}

// held returns the permit that the viewer's session needs.
func (v *viewer) held() *access.Permit {
	if v.talks.Load() {
		return v.speech.Load().permit
	}
	return v.permit
}
