package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// search is a search for a node, shared by all callers that wait for one: all of them
// continue the moment it is found.
type search struct {
	done chan struct{} // closed when it is over
	conn *connection   // what was found; nil: the client was closed

	mu    sync.Mutex
	fault error // the last one, an ErrUnavailable
}

func (s *search) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

func (s *search) lastFault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// The intervals of the search for a node. Dialing a local socket costs nothing; over TCP
// the pauses grow.
const (
	searchEvery    = 50 * time.Millisecond
	searchEveryTCP = 500 * time.Millisecond // at most
)

// longAway is how long a node may be unavailable before that is logged again.
const longAway = 10 * time.Second

// helloWithin limits how long a new connection may take to the first response. It is
// longer than the library searches for a node.
const helloWithin = 15 * time.Second

// A connection is probed when a call has waited for patience, and is given up if it then
// returns nothing within probeWithin. HTTP/2 would notice it after 20 s, longer than the
// privilege index may be without the log.
const (
	patience    = time.Second
	probeWithin = 2 * time.Second
)

// connection returns the current connection, waiting for one if there is none.
// Errors: ErrClosed, or ErrUnavailable when the context ends first.
func (c *Client) connection(ctx context.Context) (*connection, error) {
	c.mu.Lock()
	if c.life.Err() != nil {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	if conn := c.conn; conn != nil {
		c.mu.Unlock()
		if !conn.isShut() {
			return conn, nil
		}
		c.lose(conn, errRetired) // the call that noticed has ended
		return c.connection(ctx)
	}
	s := c.search
	if s == nil {
		s = &search{done: make(chan struct{}), fault: fmt.Errorf("%w: no node was found yet", ErrUnavailable)}
		c.search = s
		go c.find(s)
	}
	c.mu.Unlock()
	select {
	case <-s.done:
		if s.conn == nil {
			return nil, ErrClosed
		}
		return s.conn, nil
	case <-ctx.Done():
		return nil, s.lastFault()
	}
}

// find searches for a node until one is found, or the client is closed.
func (c *Client) find(s *search) {
	defer close(s.done)
	most := searchEvery
	if c.hosts[0].network != "unix" {
		most = searchEveryTCP
	}
	began := time.Now()
	for wait := searchEvery; ; wait = min(2*wait, most) {
		conn, err := c.dial()
		if err == nil {
			c.found(s, conn)
			return
		}
		s.failed(err)
		c.health.disconnected(err)
		if away := time.Since(began); away > longAway {
			c.report(slog.LevelWarn, "", "the log is still unavailable", err, "for", away.Round(time.Second))
		}
		if !about(c.life, wait) {
			return
		}
	}
}

// found makes a connection the current one.
func (c *Client) found(s *search, conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.search = nil
	if c.life.Err() != nil {
		conn.kill()
		return
	}
	c.made.Add(1)
	c.conn, s.conn = conn, conn
	if c.health.connected() {
		c.report(slog.LevelInfo, "", "reconnected to the log", nil)
	}
}

// dial makes a connection on which a node has responded.
func (c *Client) dial() (*connection, error) {
	if err := c.reachable(c.life); err != nil {
		return nil, err
	}
	conf := c.esdb
	library, err := esdb.NewClient(&conf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	conn := newConnection(library)
	if err := c.hello(conn, helloWithin); err != nil {
		conn.kill()
		return nil, err
	}
	return conn, nil
}

// reachable returns nil if any node accepts connections. This must be checked before
// using the library: each time it searches for a node in vain, it leaves behind a
// connection that retries forever.
func (c *Client) reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout*time.Second)
	defer cancel()
	faults := make(chan error, len(c.hosts))
	for _, h := range c.hosts {
		go func() {
			conn, err := new(net.Dialer).DialContext(ctx, h.network, h.address)
			if err == nil {
				err = conn.Close()
			}
			faults <- err
		}()
	}
	var all []error
	for range c.hosts {
		err := <-faults
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(all...))
}

// hello returns nil if the node at the other end of a connection responds in time. Any
// response counts, except "unavailable".
func (c *Client) hello(conn *connection, within time.Duration) error {
	ctx, cancel := context.WithTimeout(c.life, within)
	defer cancel()
	_, err := guarded(ctx, conn, func(ctx context.Context, library *esdb.Client) ([]Recorded, error) {
		r, err := library.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
		return collect(r, err)
	})
	if err == nil {
		return nil
	}
	known, lost := translate(err)
	if lost || ctx.Err() != nil || errors.Is(err, errRetired) {
		return known
	}
	return nil
}

// doubt probes a connection in the background, and ends it if nothing comes back. A
// merely slow one stays.
func (c *Client) doubt(conn *connection) {
	if !conn.doubted.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer conn.doubted.Store(false)
		if err := c.hello(conn, probeWithin); err != nil && c.life.Err() == nil {
			c.lose(conn, err)
			conn.kill()
		}
	}()
}

// lose takes a connection out of use: calls continue on a new one.
func (c *Client) lose(conn *connection, reason error) {
	conn.retire()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		c.conn = nil
	}
	if !conn.mourned.CompareAndSwap(false, true) || c.life.Err() != nil {
		return
	}
	if c.conn == nil { // otherwise there is already a new one
		c.health.disconnected(reason)
	}
	c.report(slog.LevelWarn, "", "lost the connection to the log; reconnecting", reason)
}
