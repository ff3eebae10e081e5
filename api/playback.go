package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/internal/accept"
	"latchkey/projections/access"
)

// Playback plays recordings to browsers.
type Playback interface {
	// Play shows recordings on a screen until the context ends, or the screen. The error is
	// an *OrderFault for a message that is no order.
	Play(ctx context.Context, u PlaybackUse, s Screen) error
}

// PlaybackUse is who plays what. Playable decides what may be seen now, in times of the
// recorder.
type PlaybackUse struct {
	Account  ids.Account
	Device   ids.Device
	Channel  int
	Playable privilege.Rule
}

// Screen is a browser on a WebSocket.
type Screen interface {
	// Permitted reports whether anything may be shown now.
	Permitted() bool
	// Order waits for the next message of the browser.
	Order(ctx context.Context) ([]byte, error)
	// Say sends a message, and Show data; they wait for the browser.
	Say(ctx context.Context, message any) error
	Show(ctx context.Context, data []byte) error
}

// OrderFault is why a message is no order.
type OrderFault struct{ Reason string }

// Error is the reason.
func (f *OrderFault) Error() string { return f.Reason }

const (
	playbackPath = "/api/v1/devices/{device}/channels/{channel}/playback"
	// byWebSocket is how recordings are carried to a browser.
	byWebSocket = "websocket"
	// maxOrder is how long a message of a browser may be, in bytes; one that is longer ends
	// the connection.
	maxOrder = 1024
	// playbacksOfOne is how many an account may have open.
	playbacksOfOne = 16
	// screenPatience is how long a browser may take nothing: it may have been put aside.
	screenPatience = 30 * time.Second
	// pingEvery is how often it is looked whether a browser is still there, and usedEvery how
	// often its use is noted.
	pingEvery = 20 * time.Second
	usedEvery = 30 * time.Second
)

// playRecordings plays recordings of a channel to a browser, over a WebSocket.
func (s *Server) playRecordings(c echo.Context) error {
	h := handlers{s}
	req := requestOf(c.Request().Context())
	name, err := pathParam(c, "device")
	if err != nil {
		return noSuchThing()
	}
	channel, err := strconv.Atoi(c.Param("channel"))
	if err != nil {
		return noSuchThing()
	}
	ctx, u, verdict := h.acquire(c.Request().Context(), name, access.Use{Channel: channel, Privilege: privilege.Playback, Transport: byWebSocket, Address: req.address})
	req.answer.uses = nil // it lasts longer than the answer
	defer u.end()
	if refused := notPermitted(verdict); refused != nil {
		return refused
	}
	switch {
	case !strings.EqualFold(c.Request().Header.Get("Upgrade"), "websocket"):
		return invalidHeader("Upgrade", "must be websocket")
	case s.cfg.Playback == nil:
		return unavailable("unavailable", "Recordings are not played on this server.", nil)
	case !s.sockets.take(req.account, playbacksOfOne):
		return &problem{
			status: http.StatusTooManyRequests, code: "too_many_viewers", header: retryAfter(beatEvery),
			detail: "Your account plays as many recordings as it may. Close some.",
		}
	}
	defer s.sockets.give(req.account)
	if refused := h.stillPermitted(ctx, u); refused != nil {
		return refused
	}
	conn, err := websocket.Accept(c.Response(), c.Request(), nil)
	if err != nil {
		return nil // the refusal has been sent
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxOrder)
	if !u.send() {
		return nil // it was taken back in this moment: the connection is closed
	}
	raw := accept.Of(ctx)
	raw.KeepLittle()
	// Of a use that was cut, the connection has been reset: nobody waits for the recorder.
	defer context.AfterFunc(ctx, func() {
		if u.wasCut() {
			u.end()
		}
	})()
	p := &playbackScreen{server: s, use: u, conn: conn}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { p.watch(ctx, cancel) })
	err = s.cfg.Playback.Play(ctx, PlaybackUse{
		Account: u.of.Account, Device: u.of.Device, Channel: channel,
		Playable: func(within privilege.Interval, now time.Time) (privilege.Interval, bool) {
			return s.cfg.Access.Playable(u.of.Account, u.of.Device, channel, within, now, s.cfg.PlaybackDelay)
		},
	}, p)
	cancel()
	watching.Wait()
	if !u.wasCut() {
		p.goodbye(err)
		raw.AwaitSent(confirmWithin)
	}
	return nil
}

// playbackScreen is a browser. Nothing is sent to it once its use was cut.
type playbackScreen struct {
	server *Server
	use    *using
	conn   *websocket.Conn
}

// Permitted implements Screen.
func (p *playbackScreen) Permitted() bool {
	return !p.use.wasCut() && p.use.permit.Check(p.server.cfg.Now()) == access.Allowed
}

// Order implements Screen.
func (p *playbackScreen) Order(ctx context.Context) ([]byte, error) {
	kind, data, err := p.conn.Read(ctx)
	if err == nil && kind != websocket.MessageText {
		err = &OrderFault{"orders are text"}
	}
	return data, err
}

// Say implements Screen.
func (p *playbackScreen) Say(ctx context.Context, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("saying something to a browser: %w", err)
	}
	return p.write(ctx, websocket.MessageText, data)
}

// Show implements Screen.
func (p *playbackScreen) Show(ctx context.Context, data []byte) error {
	return p.write(ctx, websocket.MessageBinary, data)
}

func (p *playbackScreen) write(ctx context.Context, kind websocket.MessageType, data []byte) error {
	if !p.Permitted() {
		p.use.stop(false)
		return errCut
	}
	ctx, cancel := context.WithTimeout(ctx, screenPatience)
	defer cancel()
	return p.conn.Write(ctx, kind, data)
}

// watch notes the use, and ends it with its session, with a browser that is gone, and when
// the server stops.
func (p *playbackScreen) watch(ctx context.Context, end func()) {
	p.server.cfg.Uses.Used(p.use.of, p.server.cfg.Now())
	session, ping, used := time.NewTicker(sessionEvery), time.NewTicker(pingEvery), time.NewTicker(usedEvery)
	defer session.Stop()
	defer ping.Stop()
	defer used.Stop()
	for {
		select {
		case <-session.C:
			if _, err := p.server.cfg.Sessions.Session(ctx, p.use.session); errors.Is(err, ErrNoSession) {
				p.use.stop(true)
			}
		case <-ping.C:
			within, cancel := context.WithTimeout(ctx, screenPatience)
			err := p.conn.Ping(within)
			cancel()
			if err != nil {
				end()
			}
		case <-used.C:
			p.server.cfg.Uses.Used(p.use.of, p.server.cfg.Now())
		case <-p.server.stopping:
			end()
		case <-ctx.Done():
			p.server.cfg.Uses.Used(p.use.of, p.server.cfg.Now())
			return
		}
	}
}

// goodbye says why nothing more is played.
func (p *playbackScreen) goodbye(err error) {
	status, reason := websocket.StatusNormalClosure, ""
	select {
	case <-p.server.stopping:
		status, reason = websocket.StatusGoingAway, "the server stops"
	default:
	}
	if fault, ok := errors.AsType[*OrderFault](err); ok {
		status, reason = websocket.StatusPolicyViolation, fault.Reason
	}
	_ = p.conn.Close(status, reason) // the browser may be gone
}

// sockets counts what accounts have open, and those that have not ended.
type sockets struct {
	mu   sync.Mutex
	open map[string]int // by account
	all  sync.WaitGroup
}

func (s *sockets) take(account string, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[account] >= most {
		return false
	}
	if s.open == nil {
		s.open = map[string]int{}
	}
	s.open[account]++
	s.all.Add(1)
	return true
}

func (s *sockets) give(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[account]--; s.open[account] == 0 {
		delete(s.open, account)
	}
	s.all.Done()
}

// await returns when all have ended, or the context has.
func (s *sockets) await(ctx context.Context) {
	ended := make(chan struct{})
	go func() { s.all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
