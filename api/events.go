package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/internal/live"
	"latchkey/internal/position"
)

// Live hands an account what happens to it.
type Live interface {
	// Listen: see live.Hub. after is nil for what happens from now on.
	Listen(ctx context.Context, account string, after *position.Position) (*live.Listener, error)
}

const eventsPath = "/api/v1/events"

const (
	// beatEvery is how often a stream of events without any sends a comment, so that
	// whoever is between keeps the connection, and a client that went away is noticed.
	beatEvery = 15 * time.Second
	// sessionEvery is how often it is looked whether the session of a stream still is.
	sessionEvery = time.Second
	// eventWithin bounds the time in which a client must take an event.
	eventWithin = 10 * time.Second
	// retryAfterMillis is when clients connect again, in milliseconds.
	retryAfterMillis = 2000
)

// notice is the data of an event.
type notice struct {
	Type   live.Kind `json:"type"`
	At     time.Time `json:"at"`
	Share  string    `json:"share,omitempty"`
	Device string    `json:"device,omitempty"`
}

// streamEvents sends the caller what happens to their account, as server-sent events,
// until the client goes away, the session ends or the service stops.
func (s *Server) streamEvents(c echo.Context) error {
	ctx := c.Request().Context()
	after, err := lastEventID(c.Request())
	if err != nil {
		return err
	}
	if s.cfg.Live == nil {
		return unavailable("events_unavailable", "Events cannot be followed on this server.", nil)
	}
	l, err := s.cfg.Live.Listen(ctx, caller(ctx), after)
	missed := errors.Is(err, live.ErrMissed)
	if missed { // the client is told, and hears what happens from now on
		l, err = s.cfg.Live.Listen(ctx, caller(ctx), nil)
	}
	switch {
	case errors.Is(err, live.ErrTooMany):
		return &problem{
			status: http.StatusTooManyRequests, code: "too_many_streams", header: retryAfter(beatEvery),
			detail: "Too many streams of events are open; close one first.",
		}
	case errors.Is(err, live.ErrAway):
		return unavailable("events_unavailable", "Events cannot be followed now; try again later.", err)
	case err != nil:
		return fmt.Errorf("listening to events: %w", err)
	}
	defer l.Close()
	stream := eventStream{server: s, to: c.Response(), control: http.NewResponseController(c.Response())}
	if err := stream.begin(l, missed); err != nil {
		return nil // the client is gone
	}
	stream.run(ctx, l)
	return nil
}

// lastEventID is where the client was, nil if it has not been connected before.
func lastEventID(r *http.Request) (*position.Position, error) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		return nil, nil
	}
	after, err := position.Parse(id)
	if err != nil {
		return nil, invalidHeader("Last-Event-ID", "must be the id of an event")
	}
	return &after, nil
}

// eventStream is one answer that does not end.
type eventStream struct {
	server  *Server
	to      *echo.Response
	control *http.ResponseController
}

// begin sends the header, where the stream begins, and what was missed.
func (s eventStream) begin(l *live.Listener, missed bool) error {
	h := s.to.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")                               // nginx would keep events back
	if err := s.control.SetReadDeadline(time.Time{}); err != nil { // that of the request would end the stream
		return err
	}
	s.to.WriteHeader(http.StatusOK)
	first := "ready"
	if missed {
		first = "reset"
	}
	for _, n := range l.Missed() {
		if err := s.notice(n); err != nil {
			return err
		}
	}
	return s.send(fmt.Sprintf("retry: %d\nid: %d\nevent: %s\ndata: {}\n\n", retryAfterMillis, l.From(), first))
}

// run sends what happens.
func (s eventStream) run(ctx context.Context, l *live.Listener) {
	beat, check := time.NewTicker(beatEvery), time.NewTicker(sessionEvery)
	defer beat.Stop()
	defer check.Stop()
	for {
		var err error
		select {
		case n, ok := <-l.Notices():
			if !ok || !s.mayGoOn(ctx) { // the session is looked at before every event
				return
			}
			err = s.notice(n)
		case <-beat.C:
			err = s.send(": \n\n")
		case <-check.C:
			if !s.mayGoOn(ctx) {
				return
			}
		case <-s.server.stopping:
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// mayGoOn reports whether the session of the stream still is its account's. If that is
// not known, it may not: the client asks again.
func (s eventStream) mayGoOn(ctx context.Context) bool {
	req := requestOf(ctx)
	account, err := s.server.cfg.Sessions.Session(ctx, req.token)
	return err == nil && account == req.account
}

func (s eventStream) notice(n live.Notice) error {
	data, err := json.Marshal(notice{Type: n.Kind, At: utc(n.At.Truncate(time.Microsecond)), Share: n.Share, Device: n.Device})
	if err != nil {
		return err
	}
	return s.send(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", n.Position, n.Kind, data))
}

func (s eventStream) send(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(eventWithin)); err != nil {
		return err
	}
	if _, err := s.to.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
