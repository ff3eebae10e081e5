package simcamera

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// rtspServer is the RTSP side of a camera for as long as it is there.
type rtspServer struct {
	camera  *Camera
	server  *gortsplib.Server
	address string
	ctx     context.Context // ends when the camera goes away
	leave   context.CancelFunc
}

// listenRTSP serves on an address, and on a free pair of UDP ports of the same host.
func (c *Camera) listenRTSP(address string) (*rtspServer, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for range 50 {
		s := &rtspServer{camera: c}
		s.ctx, s.leave = context.WithCancel(c.ctx)
		port := 20000 + 2*rand.IntN(20000)
		s.server = &gortsplib.Server{
			Handler:        s,
			RTSPAddress:    address,
			UDPRTPAddress:  net.JoinHostPort(host, strconv.Itoa(port)),
			UDPRTCPAddress: net.JoinHostPort(host, strconv.Itoa(port+1)),
			WriteQueueSize: 1024,
			Listen: func(network, address string) (net.Listener, error) {
				l, err := net.Listen(network, address)
				if err != nil {
					return nil, &listenError{err}
				}
				s.address = l.Addr().String()
				return &trap{Listener: l, camera: c}, nil
			},
		}
		err = s.server.Start()
		if err == nil {
			c.tasks.Go(s.supervise)
			return s, nil
		}
		s.leave()
		var own *listenError
		if errors.As(err, &own) {
			return nil, fmt.Errorf("listening for RTSP: %w", own.error)
		}
	}
	return nil, fmt.Errorf("listening for RTP over UDP: %w", err)
}

// listenError distinguishes a failure to listen on the wanted TCP port, which is final,
// from one on a UDP port that was only a guess.
type listenError struct{ error }

func (s *rtspServer) close() {
	s.leave()
	s.server.Close()
}

// supervise stops the camera if its server ends by itself.
func (s *rtspServer) supervise() {
	err := s.server.Wait()
	if s.ctx.Err() == nil {
		s.camera.fail(fmt.Errorf("camera: serving RTSP: %w", err))
	}
	s.leave()
}

// OnRequest implements gortsplib's handler.
func (s *rtspServer) OnRequest(conn *gortsplib.ServerConn, _ *base.Request) {
	if !s.camera.faults.delayed(s.ctx) {
		conn.NetConn().Close() // it went away meanwhile: no late response either
	}
}

// OnDescribe implements gortsplib's handler.
func (s *rtspServer) OnDescribe(
	ctx *gortsplib.ServerHandlerOnDescribeCtx,
) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := s.authenticate(ctx.Conn, ctx.Request); res != nil {
		return res, nil, err
	}
	t, res := s.find(ctx.Path, ctx.Query)
	if res != nil {
		return res, nil, nil
	}
	own := &base.URL{Scheme: ctx.Request.URL.Scheme, Host: ctx.Request.URL.Host, Path: ctx.Path, RawQuery: ctx.Query}
	body, err := s.camera.medias(t).describe(own, requires(ctx.Request, backChannelFeature))
	if err != nil {
		return answer(base.StatusInternalServerError), nil, err
	}
	res = answer(base.StatusOK)
	res.Body = body
	return res, nil, nil
}

// OnSetup implements gortsplib's handler. Each session has a stream of its own: every
// viewer begins with a key picture, and playback is its own.
func (s *rtspServer) OnSetup(
	ctx *gortsplib.ServerHandlerOnSetupCtx,
) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := s.authenticate(ctx.Conn, ctx.Request); res != nil {
		return res, nil, err
	}
	if v, ok := ctx.Session.UserData().(*viewer); ok {
		return answer(base.StatusOK), v.stream, nil
	}
	t, res := s.find(ctx.Path, ctx.Query)
	if res != nil {
		return res, nil, nil
	}
	if t.replay && !requires(ctx.Request, replayFeature) {
		t.playback, t.replay = false, false // as devices do that are not told
	}
	v, err := s.newViewer(ctx.Session, t)
	if err != nil {
		return answer(base.StatusInternalServerError), nil, err
	}
	ctx.Session.SetUserData(v)
	return answer(base.StatusOK), v.stream, nil
}

// OnPlay implements gortsplib's handler. The pictures begin in OnResponse: before the
// session counts as playing they would be lost.
func (s *rtspServer) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	if res, err := s.authenticate(ctx.Conn, ctx.Request); res != nil {
		return res, err
	}
	v := ctx.Session.UserData().(*viewer)
	res, err := v.prepare(ctx.Request)
	if err != nil {
		s.camera.cfg.Logger.Debug("camera: PLAY refused", "error", err)
		return res, nil
	}
	v.listen()
	ctx.Conn.SetUserData(v)
	return res, nil
}

// OnResponse implements gortsplib's handler.
func (s *rtspServer) OnResponse(conn *gortsplib.ServerConn, _ *base.Response) {
	if v, ok := conn.UserData().(*viewer); ok {
		conn.SetUserData(nil)
		v.play()
	}
}

// OnPause implements gortsplib's handler.
func (s *rtspServer) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	if v, ok := ctx.Session.UserData().(*viewer); ok {
		v.pause()
	}
	return answer(base.StatusOK), nil
}

// OnSessionClose implements gortsplib's handler.
func (s *rtspServer) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	if v, ok := ctx.Session.UserData().(*viewer); ok {
		v.close()
	}
}

// OnStreamWriteError implements gortsplib's handler, which would write to the standard
// logger for each packet that a slow viewer misses.
func (s *rtspServer) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}

// OnPacketsLost implements gortsplib's handler, for the same reason.
func (s *rtspServer) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnDecodeError implements gortsplib's handler, for the same reason.
func (s *rtspServer) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {}

// authenticate returns a response for a request without the right credentials, else nil.
func (s *rtspServer) authenticate(conn *gortsplib.ServerConn, req *base.Request) (*base.Response, error) {
	user, password := s.camera.credentials()
	from := conn.NetConn().RemoteAddr()
	if user == "" || conn.VerifyCredentials(req, user, password) && !s.camera.lock.on(from) {
		return nil, nil
	}
	if len(req.Header["Authorization"]) > 0 {
		s.camera.lock.refused(from)
	}
	return answer(base.StatusUnauthorized), liberrors.ErrServerAuth{}
}

// find returns what a URL names, or the response that refuses it.
func (s *rtspServer) find(path, query string) (target, *base.Response) {
	t, err := parseTarget(path, query)
	switch {
	case errors.Is(err, errNoStream):
		return t, answer(base.StatusNotFound)
	case err != nil:
		return t, answer(base.StatusBadRequest)
	case s.camera.channel(t.channel) == nil:
		return t, answer(base.StatusNotFound)
	case t.playback && t.start.After(s.camera.cfg.Now()):
		return t, answer(base.StatusNotFound) // not recorded yet
	}
	return t, nil
}

func answer(code base.StatusCode) *base.Response {
	return &base.Response{StatusCode: code, Header: base.Header{}}
}

// backChannelFeature is what a client requires to talk (ONVIF Streaming Specification).
const backChannelFeature = "www.onvif.org/ver20/backchannel"

// replayFeature is what a client requires to play recordings by ONVIF.
const replayFeature = "onvif-replay"

func requires(req *base.Request, feature string) bool {
	for _, v := range req.Header["Require"] {
		for part := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(part) == feature {
				return true
			}
		}
	}
	return false
}

// medias is what a stream consists of; those that it lacks are nil.
type medias struct {
	video, sound, back *description.Media
}

// medias returns new medias for a stream: its format objects may not be shared between
// streams.
func (c *Camera) medias(t target) medias {
	f := c.channel(t.channel).feed(t.quality)
	sps, pps := f.sps, f.pps
	m := medias{video: &description.Media{
		Type:    description.MediaTypeVideo,
		Formats: []format.Format{&format.H264{PayloadTyp: 96, SPS: sps, PPS: pps, PacketizationMode: 1}},
	}}
	g711 := func() []format.Format {
		return []format.Format{&format.G711{PayloadTyp: 0, MULaw: true, SampleRate: soundRate, ChannelCount: 1}}
	}
	if !c.cfg.Silent {
		m.sound = &description.Media{Type: description.MediaTypeAudio, Formats: g711()}
	}
	if !t.playback {
		m.back = &description.Media{Type: description.MediaTypeAudio, IsBackChannel: true, Formats: g711()}
	}
	return m
}

func (ch *channel) feed(q quality) *feed {
	if q == subStream {
		return ch.sub
	}
	return ch.main
}

// all returns the medias in the order of their tracks.
func (m medias) all() []*description.Media {
	var out []*description.Media
	for _, one := range []*description.Media{m.video, m.sound, m.back} {
		if one != nil {
			out = append(out, one)
		}
	}
	return out
}

// describe returns the SDP of a stream at a URL, with the back channel only if it was
// requested. Tracks have whole URLs, as on this kind of device: players disagree on how a
// relative one combines with a query.
func (m medias) describe(own *base.URL, withBack bool) ([]byte, error) {
	d := description.Session{Title: "Media Presentation"}
	for i, one := range m.all() {
		if one.IsBackChannel && !withBack {
			continue
		}
		track := *own
		track.Path += "/trackID=" + strconv.Itoa(i) // where gortsplib looks for it at SETUP
		one.Control = track.String()
		d.Medias = append(d.Medias, one)
	}
	return d.Marshal(false)
}
