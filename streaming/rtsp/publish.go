package rtsp

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/upstream"
)

const (
	maxAnnounced = 64 << 10 // bytes of a description
	maxMedias    = 16       // of one
)

var (
	errNoViewing    = &refusal{status: base.StatusForbidden, reason: "publishing key"}
	errNoPublishing = &refusal{status: base.StatusForbidden, reason: "stream key"}
	errAnnounced    = &refusal{status: base.StatusRequestEntityTooLarge, reason: "description"}
	errUnusable     = &refusal{status: base.StatusUnsupportedMediaType, reason: "description"}
	errTaken        = &refusal{
		status: base.StatusServiceUnavailable, reason: "published already", header: base.Header{"Retry-After": base.HeaderValue{"10"}},
	}
)

// publisher is a camera that brings its stream (ANNOUNCE and RECORD), from its ANNOUNCE to
// its end. Its key is bound to the channel.
//
// It holds a permit of its owner, so that whatever ends that ends the publisher: the key
// that is revoked or runs out, the device that is removed, knowledge that is stale. A device
// that changes hands is removed: its new owner's has another id.
type publisher struct {
	key     access.Key
	of      upstream.Stream
	desc    *description.Session
	permit  *access.Permit
	session *gortsplib.ServerSession
	wire    *wire

	cut         atomic.Bool
	publication atomic.Pointer[upstream.Publication] // nil: it does not record
	watched     sync.WaitGroup                       // until the end of the publication is dealt with
}

// publishers has who records, by stream.
type publishers struct {
	mu  sync.Mutex
	all map[upstream.Stream]*publisher
}

// claim makes a publisher the one of its stream, and returns the one that was.
func (l *publishers) claim(p *publisher) (before *publisher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before = l.all[p.of]; before == nil || before.key.Name == p.key.Name {
		if l.all == nil {
			l.all = map[upstream.Stream]*publisher{}
		}
		l.all[p.of] = p
	}
	return before
}

func (l *publishers) release(p *publisher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all[p.of] == p {
		delete(l.all, p.of)
	}
}

// OnAnnounce lets a camera publish the channel that its key is bound to. The request has
// proven the key already: see tolerate.
func (h *handler) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	if refused := h.announce(ctx); refused != nil {
		return h.refuse(refused)
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (h *handler) announce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (refused *refusal) {
	defer h.guard("announce", &refused)
	w := wireOf(ctx.Conn)
	key, refused := h.authenticate(w.ctx, w, ctx.Request)
	if refused != nil {
		return refused
	}
	if len(ctx.Request.Body) > maxAnnounced || len(ctx.Description.Medias) > maxMedias {
		return errAnnounced
	}
	p := &publisher{key: key, desc: ctx.Description, session: ctx.Session, wire: w}
	if p.of, refused = h.published(key, ctx.Path); refused != nil {
		return refused
	}
	var verdict access.Verdict
	p.permit, verdict = h.cfg.Access.Acquire(access.Use{
		Subject: access.Subject{Account: key.Account, StreamKey: key.Name},
		Device:  p.of.Device, Channel: p.of.Channel, Privilege: privilege.LiveView, // a publishing key is its owner's, who has all of them
	}, func(r access.Reason) { h.cutPublisher(p, r) })
	if verdict != access.Allowed {
		return refusalOf(verdict)
	}
	ctx.Session.SetUserData(p)
	return nil
}

// published returns the stream at a path, if the key is bound to its channel and its account
// owns the device: one that sees the channel by a share may not say what is seen there.
func (d *Door) published(key access.Key, path string) (upstream.Stream, *refusal) {
	channel := key.Name.Publishes()
	if channel == 0 {
		return upstream.Stream{}, errNoPublishing
	}
	t, ok := parseTarget(path, "")
	if !ok || t.playback || t.channel != channel {
		return upstream.Stream{}, errNotFound
	}
	device, ok := d.cfg.Access.Resolve(key.Account, t.device)
	if !ok && !d.live() {
		return upstream.Stream{}, errUnavailable
	}
	if !ok || device != key.Device || !d.cfg.Access.Owns(key.Account, device) {
		return upstream.Stream{}, errNotFound
	}
	return upstream.Stream{Device: device, Channel: channel, Quality: t.quality}, nil
}

// setupPublisher lets a publisher send a track.
func (h *handler) setupPublisher(p *publisher, ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if refused := h.mayPublish(p, ctx.Conn, ctx.Request); refused != nil {
		res, err := h.refuse(refused)
		return res, nil, err
	}
	return &base.Response{StatusCode: base.StatusOK}, nil, nil
}

// mayPublish checks a request of a publisher.
func (h *handler) mayPublish(p *publisher, c *gortsplib.ServerConn, req *base.Request) (refused *refusal) {
	defer h.guard("publish", &refused)
	w := wireOf(c)
	key, refused := h.authenticate(w.ctx, w, req)
	if refused != nil {
		return refused
	}
	if key.Name != p.key.Name || p.wire != w || p.cut.Load() {
		return errOtherSession
	}
	return refusalOf(p.permit.Check(h.cfg.Now()))
}

// OnRecord begins a publication. A publisher with the same key is replaced: it may be a
// connection whose camera has gone.
func (h *handler) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	p, ok := ctx.Session.UserData().(*publisher)
	if !ok {
		return h.refuse(errOtherSession)
	}
	refused := h.mayPublish(p, ctx.Conn, ctx.Request)
	if refused == nil {
		refused = h.record(p)
	}
	if refused != nil {
		return h.refuse(refused)
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// replacedBySame is why a publisher is cut if another one with its key records.
const replacedBySame access.Reason = "replaced"

// recordWithin limits the wait for a pull that the publication replaces.
const recordWithin = 5 * time.Second

func (h *handler) record(p *publisher) (refused *refusal) {
	defer h.guard("record", &refused)
	before := h.publishers.claim(p)
	if before != nil && before.key.Name != p.key.Name {
		return errTaken
	}
	if before != nil && before != p {
		replaced := before.publication.Load()
		h.cutPublisher(before, replacedBySame)
		if replaced = cmp.Or(replaced, before.publication.Load()); replaced != nil {
			<-replaced.Done()
			defer func() {
				if refused != nil {
					replaced.Missed()
				}
			}()
		}
	}
	ctx, cancel := context.WithTimeout(p.wire.ctx, recordWithin)
	defer cancel()
	pub, err := h.cfg.Upstreams.Publish(ctx, p.of, p.desc)
	switch {
	case err == nil:
	case errors.Is(err, upstream.ErrUnusable):
		h.publishers.release(p)
		return errUnusable
	default:
		h.publishers.release(p)
		return errUnavailable
	}
	p.publication.Store(pub)
	if p.cut.Load() { // in between
		pub.End()
		return errNotFound
	}
	p.receive(pub)
	p.wire.recording.Store(true)
	h.metrics.publishes.Inc()
	h.log.Info("a camera publishes", "account", p.key.Account, "key", p.key.Name, "device", p.of.Device, "channel", p.of.Channel, "quality", p.of.Quality.String())
	p.watched.Add(1)
	h.sweep.Go(func() {
		defer p.watched.Done()
		<-pub.Done()
		h.publishers.release(p)
		if !p.wire.recording.Swap(false) { // it ended by itself
			return
		}
		p.wire.cut()
		p.session.Close()
	})
	return nil
}

// receive passes on what the publisher sends.
func (p *publisher) receive(pub *upstream.Publication) {
	for _, m := range p.desc.Medias {
		for _, f := range m.Formats {
			p.session.OnPacketRTP(m, f, func(packet *rtp.Packet) {
				if data, err := packet.Marshal(); err == nil {
					pub.Packet(m, data, time.Now())
				}
			})
		}
		p.session.OnPacketRTCP(m, func(packet rtcp.Packet) {
			if r, ok := packet.(*rtcp.SenderReport); ok {
				pub.Report(m, r.SSRC, r.NTPTime, r.RTPTime)
			}
		})
	}
}

// stop ends a publication whose publisher pauses, or is gone: lost, if it did not say so.
// Until it has ended, cutPublisher finds it.
func (p *publisher) stop(lost bool) {
	p.wire.recording.Store(false)
	if pub := p.publication.Load(); pub != nil {
		if lost {
			pub.Lose()
		} else {
			pub.End()
		}
		p.watched.Wait() // a RECORD that follows is another publication
		p.publication.Store(nil)
	}
}

// cutPublisher ends a publisher, without waiting: nothing that it sends is passed on when
// cutPublisher has returned.
func (d *Door) cutPublisher(p *publisher, reason access.Reason) {
	if p.cut.CompareAndSwap(false, true) {
		d.metrics.cut.WithLabelValues(string(reason)).Inc()
		d.log.Info("a publisher was cut", "account", p.key.Account, "device", p.of.Device, "channel", p.of.Channel, "reason", reason)
	}
	if pub := p.publication.Load(); pub != nil {
		if reason == replacedBySame {
			pub.Replace()
		} else {
			pub.Cut()
		}
	}
	p.wire.cut()
	p.session.Close()
}

// forgetPublisher undoes announce. why ended the session.
func (h *handler) forgetPublisher(p *publisher, why error) {
	p.stop(!errors.As(why, new(liberrors.ErrServerSessionTornDown)))
	h.publishers.release(p)
	p.permit.Release()
}

// mayAnnounce refuses an ANNOUNCE before its description is read, unless the request
// proves a publishing key.
func (h *handler) mayAnnounce(w *wire, req *base.Request) *refusal {
	key, refused := h.authenticate(w.ctx, w, req)
	if refused != nil {
		return refused
	}
	if key.Name.Publishes() == 0 {
		return errNoPublishing
	}
	return nil
}
