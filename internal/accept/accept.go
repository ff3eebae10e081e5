// Package accept bounds the connections of an HTTP server, so that nobody takes
// all of them: in all, of one network, and without a session. It makes room for a
// network that has few by closing a connection of the one that has most.
package accept

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Listener needs.
type Config struct {
	Most          int // connections in all
	MostOfNetwork int // connections of an IPv4 address or of an IPv6 /64
	// Trusted are reverse proxies, who have everybody's connections: only Most
	// holds for them.
	Trusted []netip.Prefix
	// IdleWithin is how long a connection may be without a request on which
	// nobody has shown a session.
	IdleWithin time.Duration
	// Refused is called for each connection that was closed to keep the bounds;
	// nil: nobody is.
	Refused func()
}

// Listener hands out connections within its bounds.
type Listener struct {
	net.Listener
	cfg Config

	mu       sync.Mutex
	all      int
	networks map[netip.Prefix]map[*Conn]struct{}
}

// NewListener bounds the connections of a listener of TCP.
func NewListener(l net.Listener, cfg Config) *Listener {
	if cfg.Refused == nil {
		cfg.Refused = func() {}
	}
	return &Listener{Listener: l, cfg: cfg, networks: make(map[netip.Prefix]map[*Conn]struct{})}
}

// Accept returns the next connection that there is room for; others are closed at
// once.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: conn, listener: l, network: networkOf(conn.RemoteAddr()), opened: time.Now()}
		c.state.Store(int32(http.StateNew))
		admitted, lost := l.admit(c)
		if lost != nil {
			l.cfg.Refused()
			_ = lost.Close()
		}
		if admitted {
			return c, nil
		}
		l.cfg.Refused()
		_ = conn.Close()
	}
}

// admit takes a connection in, if need be in place of another one, lost, which
// must be closed.
func (l *Listener) admit(c *Conn) (admitted bool, lost *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := len(l.networks[c.network])
	if have >= l.cfg.MostOfNetwork && !l.trusts(c.network) {
		return false, nil
	}
	if l.all >= l.cfg.Most {
		if lost = l.dispensable(have); lost == nil {
			return false, nil
		}
		l.remove(lost)
	}
	if l.networks[c.network] == nil {
		l.networks[c.network] = make(map[*Conn]struct{})
	}
	l.networks[c.network][c] = struct{}{}
	l.all++
	return true, lost
}

func (l *Listener) trusts(network netip.Prefix) bool {
	for _, p := range l.cfg.Trusted {
		if p.Contains(network.Addr()) {
			return true
		}
	}
	return false
}

// dispensable is the connection that is closed for one of a network which has
// fewer: one of the network that has most. nil: there is none.
func (l *Listener) dispensable(fewer int) (worst *Conn) {
	var most map[*Conn]struct{}
	for network, list := range l.networks {
		if len(list) > max(len(most), fewer+1) && !l.trusts(network) {
			most = list
		}
	}
	for c := range most {
		if c.rank() < inUse && (worst == nil || c.before(worst)) {
			worst = c
		}
	}
	return worst
}

func (l *Listener) remove(c *Conn) {
	if _, ok := l.networks[c.network][c]; !ok {
		return
	}
	l.all--
	if delete(l.networks[c.network], c); len(l.networks[c.network]) == 0 {
		delete(l.networks, c.network)
	}
}

// State must be the server's ConnState.
func State(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*Conn); ok {
		c.state.Store(int32(state))
	}
}

type connKey struct{}

// Context must be the server's ConnContext.
func Context(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*Conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// HasSession notes that a request with a session came on the connection of a
// request's context.
func HasSession(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*Conn); ok {
		c.session.Store(true)
	}
}

// Conn is a connection that is counted.
type Conn struct {
	net.Conn
	listener *Listener
	network  netip.Prefix
	opened   time.Time
	state    atomic.Int32 // an http.ConnState
	session  atomic.Bool
}

// How dispensable a connection is, the most first.
const (
	idle = iota
	asking
	idleWithSession
	inUse
)

func (c *Conn) rank() int {
	state := http.ConnState(c.state.Load())
	quiet := state == http.StateNew || state == http.StateIdle
	switch session := c.session.Load(); {
	case quiet && !session:
		return idle
	case !session:
		return asking
	case quiet:
		return idleWithSession
	}
	return inUse
}

// before reports whether c goes before other: the older one of the same rank.
func (c *Conn) before(other *Conn) bool {
	if a, b := c.rank(), other.rank(); a != b {
		return a < b
	}
	return c.opened.Before(other.opened)
}

// SetReadDeadline lets a connection without a session be idle for a shorter time
// than the server would.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if http.ConnState(c.state.Load()) == http.StateIdle && !c.session.Load() && !t.IsZero() {
		if short := time.Now().Add(c.listener.cfg.IdleWithin); short.Before(t) {
			t = short
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// Close gives the place back.
func (c *Conn) Close() error {
	c.listener.mu.Lock()
	c.listener.remove(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// networkOf is the network of an address: an IPv4 address, or the first 64 bits of
// an IPv6 address, which are one customer's.
func networkOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits)
	return p
}
