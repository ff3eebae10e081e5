package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"latchkey/internal/accept"
)

// socketTag is the tag of operations that are WebSockets.
const socketTag = "sockets"

const (
	// messageWithin bounds the time in which a browser must take a message.
	messageWithin = 5 * time.Second
	// byeWithin bounds the time in which a viewer that is cut must have taken what was sent
	// before, and the reason. Otherwise its connection is reset.
	byeWithin = 250 * time.Millisecond
)

// socket is a WebSocket over which a browser watches. It sends nothing but control frames.
type socket struct {
	ws   *websocket.Conn
	conn *accept.Conn // nil: in tests
	gone context.Context
}

// upgrades reports whether a request asks for a WebSocket (RFC 6455, section 4.2.1).
func upgrades(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && r.Header.Get("Sec-WebSocket-Key") != ""
}

// acceptSocket takes the connection of a request over. That the page may open it is
// decided before: with a token, or by the portal, which looks at Origin.
func acceptSocket(c echo.Context) (*socket, error) {
	req := requestOf(c.Request().Context())
	ws, err := websocket.Accept(c.Response(), c.Request(), &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	if req.answer != nil {
		req.answer.socket = true
	}
	s := &socket{ws: ws, conn: accept.Of(c.Request().Context())}
	s.conn.KeepLittle()
	s.gone = ws.CloseRead(context.WithoutCancel(c.Request().Context()))
	return s, nil
}

func (s *socket) send(kind websocket.MessageType, data []byte, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return s.ws.Write(ctx, kind, data)
}

// binary sends a part of what is watched.
func (s *socket) binary(data []byte) error {
	return s.send(websocket.MessageBinary, data, messageWithin)
}

// told is a message in words.
type told struct {
	// MIME is the type of what follows.
	MIME string `json:"mime,omitempty"`
	// End is why nothing follows.
	End *socketEnd `json:"end,omitempty"`
}

type socketEnd struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (s *socket) tell(t told, within time.Duration) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.send(websocket.MessageText, data, within)
}

// bye tells why nothing follows, and waits until that is sent. What was sent before and is
// not on its way by then is not sent any more.
func (s *socket) bye(p *problem) {
	if s.tell(told{End: &socketEnd{p.code, p.detail}}, byeWithin) != nil {
		s.reset()
		return
	}
	s.conn.AwaitSent(byeWithin)
}

// reset closes the connection without sending what the kernel has kept.
func (s *socket) reset() {
	if s.conn != nil {
		s.conn.Reset()
	}
	_ = s.ws.CloseNow()
}

// close ends the connection after bye. The browser has some seconds to agree.
func (s *socket) close(p *problem) {
	code := websocket.StatusPolicyViolation
	if p.status >= http.StatusInternalServerError || p.status == http.StatusTooManyRequests {
		code = websocket.StatusTryAgainLater
	}
	_ = s.ws.Close(code, p.code)
}

// asProblem is the problem that an error is for the one who watches.
func (s *Server) asProblem(err error) *problem { return translate(err, s.cfg.Away) }

// needsSocket is the refusal of a request that asks for no WebSocket.
func needsSocket() error {
	return invalidHeader("Upgrade", "must be websocket (RFC 6455)")
}

// errGone is returned when the one who watches has gone.
var errGone = errors.New("the viewer has gone")
