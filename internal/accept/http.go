package accept

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// Config configures a Listener.
type Config struct {
	Most          int            // connections in all
	MostOfNetwork int            // connections of one network
	Trusted       []netip.Prefix // reverse proxies
	// Places are those of several listeners together; nil: the listener has its own.
	Places *Places
	// IdleWithin is how long a connection may be idle if no session has been shown on it.
	IdleWithin time.Duration
	// Refused is called for each connection that was closed to keep the limits; it may be
	// nil.
	Refused func()
}

// Listener accepts the connections of an HTTP server that have a place.
type Listener struct {
	net.Listener
	cfg    Config
	places *Places
}

// NewListener limits the connections of a TCP listener.
func NewListener(l net.Listener, cfg Config) *Listener {
	if cfg.Refused == nil {
		cfg.Refused = func() {}
	}
	if cfg.Places == nil {
		cfg.Places = NewPlaces(cfg.Most, cfg.MostOfNetwork, cfg.Trusted)
	}
	return &Listener{Listener: l, cfg: cfg, places: cfg.Places}
}

// Accept returns the next connection that gets a place; others are closed at once.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: conn, listener: l}
		c.state.Store(int32(http.StateNew))
		c.place = NewPlace(networkOf(conn.RemoteAddr()), c.rank, func() { _ = conn.Close() })
		ok, displaced := l.places.Take(c.place)
		if displaced {
			l.cfg.Refused()
		}
		if ok {
			return c, nil
		}
		l.cfg.Refused()
		_ = conn.Close()
	}
}

// State must be the server's ConnState.
func State(conn net.Conn, state http.ConnState) {
	c, ok := below(conn)
	if !ok {
		return
	}
	c.state.Store(int32(state))
	if secure, ok := conn.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol == http2 {
		c.idle(state)
	}
}

// http2 is the protocol of TLS for which the server sets no read deadline on idle
// connections.
const http2 = "h2"

// below returns our connection, also if TLS is on it.
func below(conn net.Conn) (*Conn, bool) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, ok := conn.(*Conn)
	return c, ok
}

type connKey struct{}

// Context must be the server's ConnContext.
func Context(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := below(conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// HasSession records that a session was shown, or begun, on the connection of a request's
// context.
func HasSession(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*Conn); ok {
		c.session.Store(true)
	}
}

// Conn is a connection that has a place.
type Conn struct {
	net.Conn
	listener *Listener
	place    *Place
	state    atomic.Int32 // an http.ConnState
	session  atomic.Bool
	idling   atomic.Pointer[time.Timer]
}

// idle closes a connection of HTTP/2 without a session if it is idle for long.
func (c *Conn) idle(state http.ConnState) {
	var next *time.Timer
	if state == http.StateIdle && !c.session.Load() {
		next = time.AfterFunc(c.listener.cfg.IdleWithin, func() {
			if c.rank() == Idle {
				_ = c.Close()
			}
		})
	}
	if last := c.idling.Swap(next); last != nil {
		last.Stop()
	}
}

func (c *Conn) rank() Rank {
	state := http.ConnState(c.state.Load())
	quiet := state == http.StateNew || state == http.StateIdle
	switch session := c.session.Load(); {
	case quiet && !session:
		return Idle
	case !session:
		return Asking
	case quiet:
		return IdleWithSession
	}
	return InUse
}

// SetReadDeadline gives a connection without a session a shorter idle time than the
// server's.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if http.ConnState(c.state.Load()) == http.StateIdle && !c.session.Load() && !t.IsZero() {
		if short := time.Now().Add(c.listener.cfg.IdleWithin); short.Before(t) {
			t = short
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// Close releases the place.
func (c *Conn) Close() error {
	c.listener.places.Give(c.place)
	return c.Conn.Close()
}

func networkOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return Network(tcp.AddrPort().Addr())
}
