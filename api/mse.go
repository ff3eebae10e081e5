package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

const msePath = "/api/v1/devices/{device}/channels/{channel}/mse"

// transportMSE names how viewers receive, in lists of uses.
const transportMSE = "mse"

// Packed shows live streams as fragmented MP4. It does not know who may see them: its
// callers hold a permit. A stream that cannot be packed is an *Unplayable, and what the
// camera is the reason for a *DeviceFault.
type Packed interface {
	// Watch returns a viewer, who must be closed. The camera is dialed if permitted then.
	Watch(ctx context.Context, device ids.Device, channel int, sub bool, permitted func() bool) (PackedViewer, error)
	// Segments is Watch for a viewer by HLS.
	Segments(ctx context.Context, device ids.Device, channel int, sub bool, permitted func() bool) (PackedSegments, error)
}

// PackedViewer gets what a stream plays, from its last key frame on.
type PackedViewer interface {
	// Next waits for the next part. It fails with ErrStreamEnded, or the context's error.
	Next(ctx context.Context) (PackedPart, error)
	Close()
}

// PackedPart is what a viewer gets next. It must not be modified.
type PackedPart struct {
	// MIME and Init are what the player must have before the fragment; "" and nil: it has.
	MIME     string
	Init     []byte
	Fragment []byte
}

// ErrStreamEnded is returned when the camera's stream has ended.
var ErrStreamEnded = errors.New("the camera's stream has ended")

// watchByMSE shows a channel to a browser over a WebSocket, until one of the reasons for its
// end. A browser cannot read the answer to a request that is refused, so it is told over the
// WebSocket why nothing comes.
func (s *Server) watchByMSE(c echo.Context) error {
	h := handlers{Server: s}
	r := c.Request()
	name, err := pathParam(c, "device")
	if err != nil {
		return noSuchThing()
	}
	channel, err := strconv.Atoi(c.Param("channel"))
	if err != nil {
		return noSuchThing()
	}
	ctx, u, verdict := h.acquire(r.Context(), name, access.Use{Channel: channel, Privilege: privilege.LiveView, Transport: transportMSE, Address: requestOf(r.Context()).address})
	refused := notPermitted(verdict)
	if !upgrades(r) {
		u.end()
		if refused != nil {
			return refused
		}
		return needsSocket()
	}
	sock, err := acceptSocket(c)
	if err != nil {
		u.end()
		return nil // what is wrong with the request was answered
	}
	defer sock.reset()
	if refused == nil {
		refused = h.showByMSE(ctx, u, sock, r.URL.Query().Get("stream") == "sub")
	}
	if errors.Is(refused, errGone) {
		return nil
	}
	p := s.asProblem(refused)
	sock.bye(p)
	u.end() // nothing more of the camera is sent
	sock.close(p)
	return nil
}

// showByMSE sends what the camera plays, and returns why that has ended.
func (h handlers) showByMSE(ctx context.Context, u *using, sock *socket, sub bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(sock.gone, stop)()
	done := make(chan struct{})
	defer close(done)
	go h.watchSession(ctx, u, stop, done)
	req := requestOf(ctx)
	if err := h.crowd.enter(req.account, req.network); err != nil {
		return err
	}
	defer h.crowd.leave(req.account, req.network)
	viewer, err := h.packed(ctx, u, sub)
	if refused := h.stillPermitted(ctx, u); refused != nil {
		if err == nil {
			viewer.Close()
		}
		return refused
	}
	if err != nil {
		return h.packedProblem(ctx, u, err)
	}
	defer viewer.Close()
	u.mu.Lock()
	u.bye = func() { time.AfterFunc(byeWithin, sock.reset) } // if it does not take what is being sent
	u.mu.Unlock()
	if !u.send() {
		return h.takenBack(u)
	}
	used := time.Time{}
	defer func() { h.cfg.Uses.Used(u.of, h.cfg.Now()) }()
	for {
		if now := time.Now(); now.Sub(used) >= usedEvery {
			h.cfg.Uses.Used(u.of, h.cfg.Now())
			used = now
		}
		part, err := h.nextPart(ctx, viewer)
		switch {
		case u.wasCut() || err == nil && u.permit.Check(h.cfg.Now()) != access.Allowed:
			return h.takenBack(u)
		case sock.gone.Err() != nil:
			return errGone
		case err != nil:
			return err
		}
		if sock.part(part) != nil {
			if u.wasCut() {
				return h.takenBack(u)
			}
			return errGone // or too slow
		}
	}
}

// watchSession ends a viewer with its session, which may end by time or on another process,
// and when the server stops.
func (h handlers) watchSession(ctx context.Context, u *using, stop func(), done <-chan struct{}) {
	session := time.NewTicker(sessionEvery)
	defer session.Stop()
	for {
		select {
		case <-session.C:
			if _, err := h.cfg.Sessions.Session(ctx, u.session); errors.Is(err, ErrNoSession) {
				u.stop(true)
			}
		case <-h.stopping:
			stop()
			return
		case <-done:
			return
		}
	}
}

// part sends what a player needs, and a fragment.
func (s *socket) part(p PackedPart) error {
	if p.Init != nil {
		if err := s.tell(told{MIME: p.MIME}, messageWithin); err != nil {
			return err
		}
		if err := s.binary(p.Init); err != nil {
			return err
		}
	}
	return s.binary(p.Fragment)
}

// nextPart waits for what comes next, and returns the refusal if nothing does.
func (h handlers) nextPart(ctx context.Context, v PackedViewer) (PackedPart, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quietWithin, errQuiet)
	defer cancel()
	part, err := v.Next(ctx)
	switch {
	case err == nil:
		return part, nil
	case h.isStopping():
		return part, unavailable("unavailable", "The service is restarting.", nil)
	}
	return part, &problem{status: http.StatusBadGateway, code: "stream_not_available", detail: "The camera's stream has ended.", cause: errors.Join(err, context.Cause(ctx))}
}

// whenStopping calls a function when the service stops, until the returned one is called.
func (s *Server) whenStopping(call func()) (until func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-s.stopping:
			call()
		case <-done:
		}
	}()
	return func() { close(done) }
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// quietWithin is how long nothing may come of a camera: without a key frame, or parameters
// that can be read, nothing ever does.
const quietWithin = 30 * time.Second

var errQuiet = errors.New("nothing comes of the camera")

func (h handlers) packed(ctx context.Context, u *using, sub bool) (PackedViewer, error) {
	if h.cfg.Packed == nil {
		return nil, &DeviceFault{Reason: "unsupported"}
	}
	return h.cfg.Packed.Watch(ctx, u.of.Device, u.of.Channel, sub, func() bool { return u.permit.Check(h.cfg.Now()) == access.Allowed })
}

// packedProblem converts an error of Packed.
func (h handlers) packedProblem(ctx context.Context, u *using, err error) error {
	if stream, ok := errors.AsType[*Unplayable](err); ok {
		return &problem{
			status: http.StatusConflict, code: "stream_not_playable", cause: err,
			detail: "The camera sends " + orNoVideo(stream.Codec) + ", which cannot be shown in this way. Use the sub stream, or set the camera to H.264.",
		}
	}
	return h.notGiven(ctx, u, err, &problem{code: "stream_not_available", detail: "The channel's stream cannot be played now."})
}

func orNoVideo(codec string) string {
	if codec == "" {
		return "no video"
	}
	return codec
}
