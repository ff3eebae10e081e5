package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/internal/accept"
	"latchkey/internal/alarms"
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
	// beatEvery is how often a stream of events sends a comment unless the client asks for
	// it more often, so that whoever is between keeps the connection, and a client that
	// went away is noticed.
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

	// Of an alarm alone.
	Alarm   string `json:"alarm,omitempty"` // its id
	Channel int    `json:"channel,omitempty"`
	Of      string `json:"kind,omitempty"`
}

// alarmNotice is the type of an alarm.
const alarmNotice live.Kind = "alarm"

// heard is what a client had got: notices up to a position, and alarms up to a number.
type heard struct {
	position position.Position
	alarms   string // the hidden number; "" if it got none, or from a server that had none
}

// streamEvents sends the caller what happens to their account, as server-sent events,
// until the client goes away, the session ends or the service stops.
func (s *Server) streamEvents(c echo.Context) error {
	ctx := c.Request().Context()
	after, err := lastEventID(c.Request())
	if err != nil {
		return err
	}
	every := beatEvery
	if n, err := strconv.Atoi(c.QueryParam("beat")); err == nil { // the specification has its bounds
		every = time.Duration(n) * time.Second
	}
	if s.cfg.Live == nil {
		return unavailable("events_unavailable", "Events cannot be followed on this server.", nil)
	}
	var from *position.Position
	if after != nil {
		from = &after.position
	}
	l, err := s.cfg.Live.Listen(ctx, caller(ctx), from)
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
	stream := &eventStream{server: s, account: caller(ctx), to: c.Response(), control: http.NewResponseController(c.Response()), conn: accept.Of(ctx)}
	if s.cfg.Alarms != nil {
		lost, err := stream.listenToAlarms(ctx, after)
		if err != nil {
			return err
		}
		missed = missed || lost
		defer stream.alarms.Close()
	}
	if err := stream.begin(ctx, l, missed); err != nil {
		return nil // the client is gone, or its session
	}
	stream.run(ctx, l, every)
	return nil
}

// markOfAlarms is what follows the position in the id of an event. Earlier versions gave
// plain numbers.
var markOfAlarms = regexp.MustCompile("^([0-9a-f]{32}|[0-9]{1,18})$")

// lastEventID is where the client was, nil if it has not been connected before.
func lastEventID(r *http.Request) (*heard, error) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		return nil, nil
	}
	at, number, has := strings.Cut(id, "-")
	after, err := position.Parse(at)
	h := &heard{position: after}
	if h.alarms = number; err != nil || has && !markOfAlarms.MatchString(number) {
		return nil, invalidHeader("Last-Event-ID", "must be the id of an event")
	}
	return h, nil
}

// eventStream is one answer that does not end.
type eventStream struct {
	server  *Server
	account string
	to      *echo.Response
	control *http.ResponseController
	conn    *accept.Conn // nil: in tests

	alarms *alarms.Listener  // nil: there are none
	at     position.Position // of the last notice
	number int64             // of the last alarm of the account
}

// listenToAlarms lets the stream have the alarms of the account. lost: those since it was
// here before are not known any more.
func (s *eventStream) listenToAlarms(ctx context.Context, after *heard) (lost bool, err error) {
	var from *int64
	if after != nil && after.alarms != "" {
		number, ok := s.server.cfg.Alarms.ShowNumber(s.account, after.alarms)
		from, lost = &number, !ok
	}
	if !lost {
		s.alarms, err = s.server.cfg.Alarms.Listen(ctx, s.account, from)
		lost = errors.Is(err, alarms.ErrMissed)
	}
	if lost {
		s.alarms, err = s.server.cfg.Alarms.Listen(ctx, s.account, nil)
	}
	if errors.Is(err, alarms.ErrEnded) {
		return false, unavailable("events_unavailable", "Events cannot be followed now; try again later.", err)
	}
	if err == nil {
		s.number = s.alarms.Last()
		if from != nil && !lost {
			s.number = *from
		}
	}
	return lost, err
}

// alarmsCome returns where alarms come from; nil if there are none.
func (s *eventStream) alarmsCome() <-chan alarms.Copy {
	if s.alarms == nil {
		return nil
	}
	return s.alarms.Alarms()
}

// errSessionEnded is returned when the session of a stream is not its account's any more.
var errSessionEnded = errors.New("the session has ended")

// begin sends the header, where the stream begins, and what was missed.
func (s *eventStream) begin(ctx context.Context, l *live.Listener, missed bool) error {
	h := s.to.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")                               // nginx would keep events back
	if err := s.control.SetReadDeadline(time.Time{}); err != nil { // that of the request would end the stream
		return err
	}
	s.conn.KeepLittle()
	s.to.WriteHeader(http.StatusOK)
	first := "ready"
	if missed {
		first = "reset"
	}
	s.at = l.From()
	for _, n := range l.Missed() {
		if !s.mayGoOn(ctx) {
			return errSessionEnded
		}
		if err := s.notice(n); err != nil {
			return err
		}
	}
	if s.at = l.From(); s.alarms != nil {
		for _, c := range s.alarms.Missed() {
			if !s.mayGoOn(ctx) {
				return errSessionEnded
			}
			if err := s.alarm(ctx, c); err != nil {
				return err
			}
		}
		s.number = s.alarms.Last()
	}
	return s.send(fmt.Sprintf("retry: %d\nid: %d\nevent: %s\ndata: {}\n\n%s", retryAfterMillis, l.From(), first, s.mark()))
}

// mark is a block that names up to where the stream was, for a client that comes back: it
// has no data, so it is no event. The id of an event is its position alone.
func (s *eventStream) mark() string {
	if s.alarms == nil {
		return ""
	}
	return fmt.Sprintf("id: %s\n\n", s.place())
}

// place is up to where the stream was.
func (s *eventStream) place() string {
	return fmt.Sprintf("%d-%s", s.at, s.server.cfg.Alarms.HideNumber(s.account, s.number))
}

// run sends what happens, and a comment each beat.
func (s *eventStream) run(ctx context.Context, l *live.Listener, every time.Duration) {
	beat, check := time.NewTicker(every), time.NewTicker(sessionEvery)
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
		case c, ok := <-s.alarmsCome():
			if !ok || !s.mayGoOn(ctx) {
				return
			}
			err = s.alarm(ctx, c)
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
func (s *eventStream) mayGoOn(ctx context.Context) bool {
	req := requestOf(ctx)
	account, err := s.server.cfg.Sessions.Session(ctx, req.token)
	return err == nil && account == req.account
}

func (s *eventStream) notice(n live.Notice) error {
	data, err := json.Marshal(notice{Type: n.Kind, At: utc(n.At.Truncate(time.Microsecond)), Share: n.Share, Device: n.Device})
	if err != nil {
		return err
	}
	s.at = n.Position
	return s.send(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n%s", n.Position, n.Kind, data, s.mark()))
}

// alarm sends an alarm if the account may know of it at this moment. While it is being
// sent, the command that takes the privilege away waits, and what is not sent yet is not
// sent any more; then the stream ends, as a part of the event may be on its way.
func (s *eventStream) alarm(ctx context.Context, c alarms.Copy) error {
	data, err := json.Marshal(notice{Type: alarmNotice, At: utc(c.Raised), Device: c.Device, Alarm: c.ID, Channel: c.Channel, Of: c.Kind})
	if err != nil {
		return err
	}
	permitted, end, err := s.server.cfg.Alarms.Begin(ctx, s.account, c.Device, c.By, "events")
	if errors.Is(err, alarms.ErrNotAllowed) {
		s.number = max(s.number, c.Seq)
		return nil
	}
	if err != nil {
		return err
	}
	defer end()
	s.number = max(s.number, c.Seq)
	return s.sendWhile(permitted, fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", s.place(), alarmNotice, data))
}

// sendWhile is send, and ends with the context: what the kernel has kept is not sent
// either.
func (s *eventStream) sendWhile(ctx context.Context, text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(eventWithin)); err != nil {
		return err
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.drop()
	})
	var err error
	if ctx.Err() == nil {
		err = s.write(text)
	}
	if err == nil && !s.conn.AwaitSent(eventWithin) {
		err = os.ErrDeadlineExceeded
	}
	if !stop() {
		<-stopped // it must not end what is sent next
	}
	return err
}

// drop ends the stream.
func (s *eventStream) drop() {
	if s.conn != nil {
		s.conn.Reset()
		return
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(-time.Second)) // the write fails, or has ended
}

func (s *eventStream) send(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(eventWithin)); err != nil {
		return err
	}
	return s.write(text)
}

func (s *eventStream) write(text string) error {
	if _, err := s.to.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
