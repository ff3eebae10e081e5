package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

// Cameras asks devices for what they have. It does not know who may see that: its callers
// hold a permit. Its errors are *DeviceFault, if the device is the reason.
type Cameras interface {
	// Picture returns a still picture of a channel as JPEG, which must not be changed.
	Picture(ctx context.Context, device ids.Device, channel int) ([]byte, error)
	// Recordings returns what is recorded of a channel in a time.
	Recordings(ctx context.Context, device ids.Device, channel int, within privilege.Interval) (Recorded, error)
	// Streams returns what the streams of a channel are. It connects to a device that was
	// not seen before, unless that is no longer permitted then.
	Streams(ctx context.Context, device ids.Device, channel int, permitted func() bool) (ChannelStreams, error)
	// Seen returns what the streams of a channel were seen to be; it asks nothing.
	Seen(device ids.Device, channel int) (ChannelStreams, bool)
}

// ChannelStreams are the streams of a channel.
type ChannelStreams struct {
	Main ChannelStream
	Sub  *ChannelStream // nil: there is none
}

// ChannelStream is one stream of a channel. What is zero is unknown.
type ChannelStream struct {
	Pulled bool // now
	SeenAt time.Time
	Video  *VideoStream // nil: there is none
	Audio  *AudioStream // nil: there is none
}

// VideoStream is what a player must know of a video.
type VideoStream struct {
	Codec, Profile, Level           string
	Width, Height                   int
	FrameRate                       float64 // pictures a second
	GOP                             time.Duration
	GOPFrames                       int
	BFrames, VaryingGOP, GOPTooLong bool
}

// AudioStream is what a player must know of a sound.
type AudioStream struct {
	Codec                string
	SampleRate, Channels int // Hz
}

// DeviceFault is why a device did not give something. It has nothing of the device.
type DeviceFault struct {
	Reason     string        // such as "wrong_password"; for the owner
	RetryAfter time.Duration // 0: unknown
}

// Error names the reason.
func (f *DeviceFault) Error() string { return "asking a device: " + f.Reason }

// reasonsOfDevices are the reasons in words.
var reasonsOfDevices = map[string]string{
	"wrong_password":    "The device refuses the user name or password that it was added with.",
	"not_reachable":     "The device cannot be reached.",
	"timeout":           "The device does not respond in time.",
	"address_forbidden": "The device's address is not one that this server may connect to.",
	"too_many_attempts": "The device has refused passwords lately; it is not asked again for now, so that it does not lock.",
	"unsupported":       "The device does not have it, or answers with something else.",
	"refused":           "The device refuses it.",
	"busy":              "Somebody else uses what the device has once.",
	"not_rtsp":          "The device's address for streams is not one of RTSP.",
	"no_such_path":      "The device has no such stream.",

	"certificate_not_trusted": "The device shows another certificate than the one that was confirmed. If it is the device's, confirm it by setting the credentials again.",
	"description_unreadable":  "The device describes its streams in a way that cannot be read.",
	"incomplete":              "The device has more recordings in this time than could be read from it. Ask for a shorter time.",
}

// using is a use of a camera by one answer: a permit, a session, and what ends with either.
type using struct {
	of      access.Use
	session string         // its token
	permit  *access.Permit // nil: it was refused
	cancel  context.CancelFunc
	answer  *outgoing
	uses    *uses

	mu        sync.Mutex
	sending   bool // something of the camera may have been sent
	reason    access.Reason
	bye       func() // how what is being sent ends; nil: the connection is reset
	loggedOut bool   // the session has ended
	cut       bool   // nothing more may be sent
	ended     bool
	done      chan struct{} // closed when nothing more is sent
}

// uses knows the uses that have not ended.
type uses struct {
	mu  sync.Mutex
	all map[*using]struct{}
}

// use begins a use of a camera, by the id of a device or the caller's own domain of it. It
// ends with the answer. What is done for it must end with the context.
func (h handlers) use(ctx context.Context, name string, channel int, p privilege.Set) (context.Context, *using, error) {
	ctx, u, verdict := h.tryUse(ctx, name, channel, p)
	if err := notPermitted(verdict); err != nil {
		u.end()
		return nil, nil, err
	}
	return ctx, u, nil
}

// tryUse is use that has no permit if the verdict is not Allowed.
func (h handlers) tryUse(ctx context.Context, name string, channel int, p privilege.Set) (context.Context, *using, access.Verdict) {
	return h.acquire(ctx, name, access.Use{Channel: channel, Privilege: p})
}

// acquire is tryUse for a use that says everything except who uses which device.
func (h handlers) acquire(ctx context.Context, name string, of access.Use) (context.Context, *using, access.Verdict) {
	req := requestOf(ctx)
	account := ids.Account(req.account)
	id, ok := h.cfg.Access.Resolve(account, device.Canonical(name))
	if !ok {
		id = "" // no device has it, and nobody may see it
	}
	ctx, cancel := context.WithCancel(ctx)
	of.Account, of.Device = account, id
	u := &using{
		of:      of,
		session: req.token, cancel: cancel, answer: req.answer, uses: &h.uses, done: make(chan struct{}),
	}
	h.uses.add(u)
	permit, verdict := h.cfg.Access.Acquire(u.of, u.revoked)
	if verdict == access.Allowed {
		u.permit = permit
	}
	if u.answer != nil {
		u.answer.uses = append(u.answer.uses, u)
	}
	return ctx, u, verdict
}

// notPermitted is the refusal that a verdict means; nil for Allowed.
func notPermitted(v access.Verdict) error {
	switch v {
	case access.Allowed:
		return nil
	case access.Forbidden:
		return &problem{status: http.StatusForbidden, code: "privilege_missing", detail: "You may see the device, but not do this on this channel, or not now."}
	case access.NotFound:
		return &problem{status: http.StatusNotFound, code: "device_not_found", detail: "There is no such device or channel, or you may not see it."}
	}
	return unavailable("unavailable", "It is not known at the moment what is permitted.", errors.New("the privilege index cannot vouch"))
}

// stillPermitted returns the refusal if the session of a use has ended or it was taken back
// meanwhile, as if it began now.
func (h handlers) stillPermitted(ctx context.Context, u *using) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmWithin) // that of a use ends with it
	defer cancel()
	_, err := h.cfg.Sessions.Session(ctx, u.session)
	if errors.Is(err, ErrNoSession) {
		return sessionEnded()
	}
	if err != nil {
		return fmt.Errorf("looking up the session of a use: %w", err)
	}
	if u.permit == nil || u.permit.Check(h.cfg.Now()) == access.Allowed {
		return nil
	}
	return h.takenBack(u)
}

// takenBack is the refusal of a use that was cut.
func (s *Server) takenBack(u *using) error {
	u.mu.Lock()
	reason, out := u.reason, u.loggedOut
	u.mu.Unlock()
	switch {
	case out:
		return sessionEnded()
	case reason == access.Ended:
		return &problem{status: http.StatusForbidden, code: "viewer_ended", detail: "The owner of the device has ended this view."}
	}
	if err := notPermitted(s.cfg.Access.Check(u.of.Account, u.of.Device, u.of.Channel, u.of.Privilege, s.cfg.Now())); err != nil {
		return err
	}
	return unavailable("unavailable", "What is permitted has just changed.", nil)
}

func sessionEnded() *problem { return unauthenticated("unauthenticated", "The session has ended.") }

// SessionsEnded ends the uses of cameras by sessions that have ended, and returns when
// nothing more is sent to them, or some time has passed.
func (s *Server) SessionsEnded(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	ended := map[string]bool{}
	for _, u := range s.uses.list() {
		over, known := ended[u.session]
		if !known {
			_, err := s.cfg.Sessions.Session(ctx, u.session)
			over = errors.Is(err, ErrNoSession) // what is not known is looked up again before the answer
			ended[u.session] = over
		}
		if over {
			u.stop(true)
		}
	}
	_ = s.uses.await(ctx) // the caller has waited long enough
}

// revoked cuts the answer.
func (u *using) revoked(reason access.Reason) { u.cutFor(reason, false) }

// cutFor cuts the answer for a reason.
func (u *using) cutFor(reason access.Reason, loggedOut bool) {
	u.mu.Lock()
	u.reason = reason
	u.mu.Unlock()
	u.stop(loggedOut)
}

// stop cuts the answer: nothing more is sent, not even by the kernel, and what is done for
// it ends.
func (u *using) stop(loggedOut bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	u.loggedOut = u.loggedOut || loggedOut
	if u.cut {
		return
	}
	u.cut = true
	u.cancel()
	switch {
	case !u.sending || u.answer == nil:
	case u.bye != nil:
		u.bye()
	default:
		u.answer.drop()
	}
}

// send reports whether the answer may be sent. Otherwise nothing of it was.
func (u *using) send() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cut {
		return false
	}
	u.sending = true
	return true
}

// end ends the use. Ending it again does nothing.
func (u *using) end() {
	if u.permit != nil {
		u.permit.Release()
	}
	u.cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	u.ended = true
	u.uses.remove(u) // first: it is gone when done is closed
	close(u.done)
}

func (u *using) wasCut() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cut
}

func (s *uses) add(u *using) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*using]struct{}{}
	}
	s.all[u] = struct{}{}
}

func (s *uses) remove(u *using) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, u)
}

func (s *uses) list() (list []*using) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := range s.all {
		list = append(list, u)
	}
	return list
}

// await returns when nothing more is sent by the uses that were cut before the call, or
// with the context's error.
func (s *uses) await(ctx context.Context) error {
	for _, u := range s.list() {
		if !u.wasCut() {
			continue
		}
		select {
		case <-u.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// carried is a body that is sent while its use is permitted.
type carried struct {
	use  *using
	body []byte
	now  func() time.Time
}

var errCut = errors.New("the use of the camera is no longer permitted")

// WriteTo writes the whole body at once, so that its size is counted.
func (c *carried) WriteTo(w io.Writer) (int64, error) {
	if c.use.permit.Check(c.now()) != access.Allowed {
		c.use.stop(false)
		return 0, errCut
	}
	n, err := w.Write(c.body)
	return int64(n), err
}

// Read is not used, as there is WriteTo.
func (c *carried) Read([]byte) (int, error) { return 0, errCut }

// Close does nothing: the use ends with the answer.
func (c *carried) Close() error { return nil }

// GetDeviceSnapshot returns a still picture of a channel.
func (h handlers) GetDeviceSnapshot(ctx context.Context, r rest.GetDeviceSnapshotRequestObject) (rest.GetDeviceSnapshotResponseObject, error) {
	if err := h.indexAt(ctx, r.Params.LatchkeyMinPosition); err != nil {
		return nil, err
	}
	ctx, u, err := h.use(ctx, r.Device, r.Channel, privilege.LiveView)
	if err != nil {
		return nil, err
	}
	picture, err := h.picture(ctx, u)
	if refused := h.stillPermitted(ctx, u); refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, h.notGiven(ctx, u, err, &problem{code: "snapshot_not_available", detail: "There is no still picture of this channel now."})
	}
	h.cfg.Uses.Used(u.of, h.cfg.Now())
	return rest.GetDeviceSnapshot200ImageJpegResponse{Body: &carried{u, picture, h.cfg.Now}, ContentLength: int64(len(picture))}, nil
}

func (h handlers) picture(ctx context.Context, u *using) ([]byte, error) {
	if h.cfg.Cameras == nil {
		return nil, &DeviceFault{Reason: "unsupported"}
	}
	return h.cfg.Cameras.Picture(ctx, u.of.Device, u.of.Channel)
}

// GetChannelStreams tells what the streams of a channel are.
func (h handlers) GetChannelStreams(ctx context.Context, r rest.GetChannelStreamsRequestObject) (rest.GetChannelStreamsResponseObject, error) {
	if err := h.indexAt(ctx, r.Params.LatchkeyMinPosition); err != nil {
		return nil, err
	}
	ctx, u, err := h.use(ctx, r.Device, r.Channel, privilege.LiveView)
	if err != nil {
		return nil, err
	}
	streams, err := h.streams(ctx, u)
	if refused := h.stillPermitted(ctx, u); refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, h.notGiven(ctx, u, err, &problem{code: "stream_not_available", detail: "The channel's stream cannot be looked at now."})
	}
	return rest.GetChannelStreams200JSONResponse(streams.view()), nil
}

func (h handlers) streams(ctx context.Context, u *using) (ChannelStreams, error) {
	if h.cfg.Cameras == nil {
		return ChannelStreams{}, &DeviceFault{Reason: "unsupported"}
	}
	return h.cfg.Cameras.Streams(ctx, u.of.Device, u.of.Channel, func() bool { return u.permit.Check(h.cfg.Now()) == access.Allowed })
}

func (s ChannelStreams) view() rest.ChannelStreams {
	out := rest.ChannelStreams{Main: s.Main.view()}
	if s.Sub != nil {
		out.Sub = s.Sub.view()
	}
	return out
}

func (s ChannelStream) view() rest.ChannelStream {
	out := rest.ChannelStream{Pulled: s.Pulled, SeenAt: utc(s.SeenAt)}
	if v := s.Video; v != nil {
		out.Video = rest.VideoStream{
			Codec: v.Codec, Profile: v.Profile, Level: v.Level, Width: v.Width, Height: v.Height, FrameRate: round(v.FrameRate),
			GopSeconds: round(v.GOP.Seconds()), GopFrames: v.GOPFrames, BFrames: v.BFrames, VaryingGop: v.VaryingGOP, GopTooLong: v.GOPTooLong,
		}
	}
	if a := s.Audio; a != nil {
		out.Audio = rest.AudioStream{Codec: a.Codec, SampleRate: a.SampleRate, Channels: a.Channels}
	}
	return out
}

// round leaves three decimals.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// notGiven completes the problem of a device that did not give what it was asked for. The
// owner is told why.
func (h handlers) notGiven(ctx context.Context, u *using, err error, p *problem) error {
	return h.notGivenBy(ctx, u.of.Device, err, p)
}

func (h handlers) notGivenBy(ctx context.Context, device ids.Device, err error, p *problem) error {
	fault, ok := errors.AsType[*DeviceFault](err)
	if !ok {
		return err
	}
	p.status, p.cause = http.StatusBadGateway, err
	if fault.RetryAfter > 0 {
		p.header = retryAfter(fault.RetryAfter)
	}
	if _, own, err := h.cfg.Queries.Device(ctx, caller(ctx), string(device), 0); err == nil && own {
		if why := reasonsOfDevices[fault.Reason]; why != "" {
			p.detail += " " + why
		}
	}
	return p
}
