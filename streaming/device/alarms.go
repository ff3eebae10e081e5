package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"latchkey/internal/alert"
	"latchkey/streaming/rtspclient"
)

// AlarmTarget is a device that is asked for its alarms.
type AlarmTarget struct {
	Username, Password string                 // "": none are sent
	ISAPIURL, ONVIFURL string                 // "" for none
	Certificate        rtspclient.Fingerprint // of https, as the owner has confirmed it; zero: it must be valid
}

// Told is called with what a device says. zone is its time zone, nil if it is unknown.
type Told func(list []alert.Alert, zone *time.Location)

const (
	// streamIdle is how long a stream of alarms may be silent: devices send a beat every
	// few seconds.
	streamIdle = 3 * time.Minute
	// What a device may send: so many bytes a second and messages a second, with so many
	// at once. More is read later, and far more ends the conversation.
	streamRate, streamBurst   = 1 << 20, 16 << 20
	messageRate, messageBurst = 50, 500
)

// Alarms hands on what a device says of alarms, by ISAPI if it has that, else by ONVIF,
// until the context ends or the conversation fails. Every error is a *Failure.
func (c *Client) Alarms(ctx context.Context, t AlarmTarget, told Told) (err error) {
	defer func() {
		if r := recover(); r != nil { // caused by what a device says
			c.cfg.Logger.Error("listening to the alarms of a device panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fail(Unsupported, "")
		}
	}()
	p := &proof{client: c, target: Target{Username: t.Username, Password: t.Password, Certificate: t.Certificate}, trusting: true}
	defer p.settle()
	if t.ISAPIURL != "" {
		err := p.alertStream(ctx, t.ISAPIURL, told)
		var failure *Failure
		if t.ONVIFURL == "" || !errors.As(err, &failure) || failure.Kind != Unsupported {
			return err
		}
	}
	if t.ONVIFURL == "" {
		return fail(Unsupported, "")
	}
	return p.pullPoint(ctx, t.ONVIFURL, told)
}

// lasting returns a conversation without an end.
func (p *proof) lasting(ctx context.Context, service Service, address string) (*httpSession, error) {
	s, err := newHTTPSession(ctx, p, service, address)
	if err == nil {
		s.lasting = true
		s.part(p.client.cfg.Within)
	}
	return s, err
}

// alertStream reads ISAPI's stream of alarms.
func (p *proof) alertStream(ctx context.Context, address string, told Told) error {
	s, err := p.lasting(ctx, ISAPI, address)
	if err != nil {
		return err
	}
	defer s.close()
	i := isapi{s}
	zone, err := i.zone(ctx)
	if err != nil {
		return err
	}
	s.part(p.client.cfg.Within)
	s.streams = true
	a, err := i.call(ctx, http.MethodGet, i.isapiPath("/Event/notification/alertStream"), nil, nil)
	if err != nil {
		return err
	}
	if a.stream == nil {
		return fail(Unsupported, ISAPI)
	}
	defer a.stream.Body.Close()
	boundary := "boundary"
	if media, params, err := mime.ParseMediaType(a.stream.Header.Get("Content-Type")); err == nil && !strings.HasPrefix(media, "multipart/") {
		return fail(Unsupported, ISAPI)
	} else if err == nil && params["boundary"] != "" {
		boundary = params["boundary"]
	}
	from := &streamed{session: s, body: a.stream.Body, ctx: ctx, bytes: rate.NewLimiter(streamRate, streamBurst)}
	return from.parts(alert.NewReader(from, boundary), func(list []alert.Alert) { told(list, zone) })
}

// zone returns the device's time zone, UTC if it does not say it.
func (i isapi) zone(ctx context.Context) (*time.Location, error) {
	ctx, cancel := context.WithTimeout(ctx, i.proof.client.cfg.Within)
	defer cancel()
	clock, err := i.deviceClock(ctx)
	return time.FixedZone("", int(clock.zone.Seconds())), err
}

// streamed is the body of a stream, within its bounds.
type streamed struct {
	session *httpSession
	body    io.Reader
	ctx     context.Context
	bytes   *rate.Limiter
}

// Read implements io.Reader.
func (s *streamed) Read(p []byte) (int, error) {
	s.session.part(streamIdle)
	n, err := s.body.Read(p)
	if n > 0 && !s.bytes.AllowN(time.Now(), n) {
		return 0, errTooLong
	}
	return n, err
}

// parts hands on the messages of the stream until it ends.
func (s *streamed) parts(from *alert.Reader, told func([]alert.Alert)) error {
	messages := rate.NewLimiter(messageRate, messageBurst)
	for {
		text, err := from.Next()
		if err != nil {
			return fail(kindOf(err, NotReachable), ISAPI)
		}
		if err := messages.Wait(s.ctx); err != nil {
			return fail(Timeout, ISAPI)
		}
		if a, ok, err := alert.One(text); err == nil && ok {
			told([]alert.Alert{a})
		}
	}
}
