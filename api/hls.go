package api

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

const (
	// hlsPath is where viewers by HLS are.
	hlsPath = "/api/v1/hls/"
	// hlsPlaylist is the name of a viewer's playlist.
	hlsPlaylist = "index.m3u8"
	// transportHLS names how viewers receive, in lists of uses.
	transportHLS = "hls"
	// hlsIdle is how long a viewer lasts after its last request, and how long it is known why
	// one was ended.
	hlsIdle = 15 * time.Second
	// firstSegmentWithin bounds the wait for a camera, and for its first segments.
	firstSegmentWithin = 20 * time.Second
)

// PackedSegments is a stream cut into segments for a viewer by HLS. It is safe for concurrent
// use.
type PackedSegments interface {
	// Playlist returns the playlist as it is now, after the first segments. It fails with
	// ErrStreamEnded, or the context's error.
	Playlist(ctx context.Context) ([]byte, error)
	// File returns a file that a playlist names, which must not be modified; false if it is
	// not kept.
	File(name string) ([]byte, bool)
	Close()
}

// hlsViewer watches by HLS. Its use has the permit that it is listed with, from its beginning
// until it asks no more. Each answer has another one, as every answer with something of a
// camera, and is cut with its viewer.
type hlsViewer struct {
	id       string
	use      *using
	segments PackedSegments
	asked    chan struct{} // of one: a request has ended

	mu      sync.Mutex
	answers map[*using]struct{} // that are being made or sent
	used    time.Time           // when its use was noted
	ended   bool
}

// hlsViewers are those that have not ended, and those that were ended of late.
type hlsViewers struct {
	mu sync.Mutex
	by map[string]*hlsViewer
}

func (l *hlsViewers) add(v *hlsViewer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]*hlsViewer{}
	}
	l.by[v.id] = v
}

func (l *hlsViewers) remove(v *hlsViewer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.by, v.id)
}

// of returns a viewer of the caller, by the session that started it.
func (l *hlsViewers) of(ctx context.Context, id string) (*hlsViewer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, req := l.by[id], requestOf(ctx)
	if v == nil || string(v.use.of.Account) != req.account || v.use.session != req.token {
		return nil, &problem{status: http.StatusNotFound, code: "viewer_not_found", detail: "There is no such viewer now."}
	}
	return v, nil
}

// StartHLSViewer begins a viewer by HLS.
func (h handlers) StartHLSViewer(ctx context.Context, r rest.StartHLSViewerRequestObject) (rest.StartHLSViewerResponseObject, error) {
	if err := h.indexAt(ctx, r.Params.LatchkeyMinPosition); err != nil {
		return nil, err
	}
	v, err := h.startHLS(ctx, r)
	if err != nil {
		return nil, err
	}
	return rest.StartHLSViewer201JSONResponse{
		Body:    rest.HLSViewer{Playlist: hlsPath + v.id + "/" + hlsPlaylist},
		Headers: rest.StartHLSViewer201ResponseHeaders{Location: hlsPath + v.id},
	}, nil
}

func (h handlers) startHLS(ctx context.Context, r rest.StartHLSViewerRequestObject) (v *hlsViewer, err error) {
	req := requestOf(ctx)
	uses := req.answer.uses
	ctx, u, verdict := h.acquire(context.WithoutCancel(ctx), r.Device, access.Use{Channel: r.Channel, Privilege: privilege.LiveView, Transport: transportHLS, Address: req.address})
	req.answer.uses = uses // it lasts longer than the answer, which has nothing of the camera
	u.mu.Lock()
	u.answer = nil
	u.mu.Unlock()
	defer func() {
		if err != nil {
			u.end()
		}
	}()
	if err := notPermitted(verdict); err != nil {
		return nil, err
	}
	if err := h.crowd.enter(req.account, req.network); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.crowd.leave(req.account, req.network)
		}
	}()
	segments, err := h.segments(ctx, u, r.Params.Stream == rest.StartHLSViewerParamsStreamSub)
	if refused := h.stillPermitted(ctx, u); refused != nil {
		if err == nil {
			segments.Close()
		}
		return nil, refused
	}
	if err != nil {
		return nil, h.packedProblem(ctx, u, err)
	}
	v = &hlsViewer{id: rand.Text(), use: u, segments: segments, asked: make(chan struct{}, 1), answers: map[*using]struct{}{}}
	h.hls.add(v)
	go h.keepHLS(ctx, v, func() { h.crowd.leave(req.account, req.network) })
	return v, nil
}

func (h handlers) segments(ctx context.Context, u *using, sub bool) (PackedSegments, error) {
	if h.cfg.Packed == nil {
		return nil, &DeviceFault{Reason: "unsupported"}
	}
	ctx, cancel := context.WithTimeout(ctx, firstSegmentWithin)
	defer cancel()
	return h.cfg.Packed.Segments(ctx, u.of.Device, u.of.Channel, sub, func() bool { return u.permit.Check(h.cfg.Now()) == access.Allowed })
}

// keepHLS ends a viewer when it asks no more, or its use has been cut, which ends the
// context. Its use ends when nothing more is sent: whoever has cut it waits for that.
func (s *Server) keepHLS(ctx context.Context, v *hlsViewer, leave func()) {
	idle := time.NewTimer(hlsIdle)
	defer idle.Stop()
	for over := false; !over; {
		select {
		case <-ctx.Done():
			over = true
		case <-s.stopping:
			over = true
		case <-v.asked:
			idle.Reset(hlsIdle)
		case <-idle.C:
			if over = !v.asking(); !over {
				idle.Reset(hlsIdle)
			}
		}
	}
	cut := v.use.wasCut()
	if !cut {
		s.hls.remove(v)
	}
	v.end(cut)
	v.segments.Close()
	leave()
	v.use.end()
	if cut {
		select {
		case <-time.After(hlsIdle):
		case <-s.stopping:
		}
		s.hls.remove(v)
	}
}

// begin adds an answer; false if the viewer has ended.
func (v *hlsViewer) begin(ctx context.Context, u *using) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return false
	}
	v.answers[u] = struct{}{}
	context.AfterFunc(ctx, func() { // it has been sent, or was cut by itself
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.answers, u)
		select {
		case v.asked <- struct{}{}:
		default:
		}
	})
	return true
}

func (v *hlsViewer) asking() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.answers) > 0
}

// end lets no more answers begin, cuts those that have, or lets them finish, and returns when
// nothing more of them is sent.
func (v *hlsViewer) end(cut bool) {
	v.use.mu.Lock()
	reason, out := v.use.reason, v.use.loggedOut
	v.use.mu.Unlock()
	v.mu.Lock()
	v.ended = true
	var answers []*using
	for u := range v.answers {
		answers = append(answers, u)
	}
	v.mu.Unlock()
	for _, u := range answers {
		if cut {
			u.cutFor(reason, out)
		}
	}
	for _, u := range answers {
		<-u.done
	}
}

// notes reports whether it is time to note that the viewer watches.
func (v *hlsViewer) notes(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.used.IsZero() && now.Sub(v.used) < usedEvery {
		return false
	}
	v.used = now
	return true
}

// GetHLSFile returns the playlist of a viewer, or a file that it names.
func (h handlers) GetHLSFile(ctx context.Context, r rest.GetHLSFileRequestObject) (rest.GetHLSFileResponseObject, error) {
	v, err := h.hls.of(ctx, r.Viewer)
	if err != nil {
		return nil, err
	}
	if v.use.wasCut() || v.use.permit.Check(h.cfg.Now()) != access.Allowed {
		return nil, h.takenBack(v.use)
	}
	ctx, u, err := h.use(ctx, string(v.use.of.Device), v.use.of.Channel, v.use.of.Privilege)
	if err != nil {
		return nil, err
	}
	if !v.begin(ctx, u) {
		return nil, h.takenBack(v.use)
	}
	body, err := h.hlsFile(ctx, v, r.File)
	if refused := h.stillPermitted(ctx, u); refused != nil {
		return nil, refused
	}
	if u.wasCut() { // with its viewer
		if _, err := h.hls.of(ctx, r.Viewer); err != nil {
			return nil, err
		}
		return nil, h.takenBack(u)
	}
	if err != nil {
		return nil, err
	}
	if v.notes(h.cfg.Now()) {
		h.cfg.Uses.Used(v.use.of, h.cfg.Now())
	}
	out, size := &carried{u, body, h.cfg.Now}, int64(len(body))
	if r.File == hlsPlaylist {
		return rest.GetHLSFile200ApplicationVndAppleMpegurlResponse{Body: out, ContentLength: size}, nil
	}
	return rest.GetHLSFile200VideoMp4Response{Body: out, ContentLength: size}, nil
}

func (h handlers) hlsFile(ctx context.Context, v *hlsViewer, name string) ([]byte, error) {
	if name != hlsPlaylist {
		file, ok := v.segments.File(name)
		if !ok {
			return nil, noSuchThing()
		}
		return file, nil
	}
	ctx, cancel := context.WithTimeout(ctx, firstSegmentWithin)
	defer cancel()
	defer h.whenStopping(cancel)()
	list, err := v.segments.Playlist(ctx)
	switch {
	case err == nil:
		return list, nil
	case h.isStopping():
		return nil, unavailable("unavailable", "The service is restarting.", nil)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &problem{status: http.StatusBadGateway, code: "stream_not_available", detail: "No key frame has come of the camera in time.", cause: err}
	}
	return nil, &problem{status: http.StatusBadGateway, code: "stream_not_available", detail: "The camera's stream has ended.", cause: err}
}

// EndHLSViewer ends a viewer of the caller.
func (h handlers) EndHLSViewer(ctx context.Context, r rest.EndHLSViewerRequestObject) (rest.EndHLSViewerResponseObject, error) {
	v, err := h.hls.of(ctx, r.Viewer)
	if err != nil {
		return nil, err
	}
	h.hls.remove(v)
	v.use.stop(false)
	select {
	case <-v.use.done:
		return rest.EndHLSViewer204Response{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
