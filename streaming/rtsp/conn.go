package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/internal/accept"
)

const (
	// sessionIdle is how long a connection with a session that does not play may be
	// silent: longer than the minute announced to players.
	sessionIdle = 75 * time.Second
)

// listener accepts the connections that have a place.
type listener struct {
	*net.TCPListener
	door   *Door
	places *accept.Places
	tls    *tls.Config // nil: RTSP without TLS
}

func newListener(d *Door, ln *net.TCPListener) *listener {
	return &listener{TCPListener: ln, door: d, places: accept.NewPlaces(d.cfg.MaxConnections, d.cfg.MaxConnectionsPerAddress, nil)}
}

// Accept never fails while the door is open: otherwise the server would end for good the
// first time the process is out of file descriptors.
func (l *listener) Accept() (net.Conn, error) {
	pause := 5 * time.Millisecond
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			if w := l.admit(conn); w != nil {
				return w, nil
			}
			l.refused()
			reset(conn)
			pause = 5 * time.Millisecond
		case errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			l.door.log.Warn("accepting an RTSP connection failed", "err", err)
			select {
			case <-time.After(pause):
			case <-l.door.ctx.Done():
				return nil, net.ErrClosed
			}
			pause = min(2*pause, time.Second)
		}
	}
}

func (l *listener) admit(conn *net.TCPConn) *wire {
	peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	w := &wire{TCPConn: conn, listener: l, peer: peer, nonce: newNonce(), opened: time.Now()}
	w.ctx, w.cancel = context.WithCancel(l.door.ctx)
	w.place = accept.NewPlace(accept.Network(peer), w.rank, func() { l.refused(); _ = w.Close() })
	if ok, _ := l.places.Take(w.place); !ok {
		w.cancel()
		return nil
	}
	w.tcp.wire, w.tcp.fd = w, descriptor(conn)
	w.box.door, w.box.way = l.door, &w.tcp
	if l.tls != nil {
		w.secure(l.tls)
	}
	w.inlet = newWireInlet(w)
	_ = conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 20})
	_ = conn.SetReadDeadline(w.opened.Add(l.door.cfg.IdleTimeout))
	return w
}

func (l *listener) refused() { l.door.metrics.refused.WithLabelValues("connections").Inc() }

// reset closes a connection without sending what the kernel has buffered.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// wire is the TCP connection of a player. It manages its own read deadlines, as the
// server has none before a session is set up.
type wire struct {
	*net.TCPConn
	listener *listener
	place    *accept.Place
	peer     netip.Addr
	nonce    string
	opened   time.Time

	ctx    context.Context // ends when the connection does
	cancel context.CancelFunc
	closed sync.Once

	authenticated atomic.Bool
	playing       atomic.Bool
	recording     atomic.Bool // the player publishes
	played        atomic.Bool // packets may be in the kernel's buffer: close with a reset

	tls   *layer      // nil: none
	box   outbox      // of the viewer that plays over it
	tcp   tcpWay      // how box sends
	boxed atomic.Bool // box is in use: responses go through it, too
	hears atomic.Pointer[hears]

	// Used only by the goroutine that handles its requests.
	inlet     *inlet
	sessionID string
	ending    bool      // the connection ends with the response
	refusal   *refusal  // of the request that is being answered
	offer     offer     // of SRTP
	setup     *base.URL // of the SETUP that is being answered
	asked     string    // the address of the last SETUP, as the player sent it
	settingUp bool      // holds Door.setups
	begins    *viewer   // whose PLAY is being answered
	prepared  *prepared // a playback that was described
	length    string    // of that, for its description
	isDoor    bool      // the player is a door, another or ours
	talk      talkOffer // of the description that is being answered
	wantsTalk bool      // a description with a back channel was given
	multicast bool      // the SETUP that is being answered asks for it
}

// SetReadDeadline does nothing: the server would clear the deadline.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// Write sends a response. That to a PLAY is followed by packets.
func (w *wire) Write(b []byte) (int, error) {
	if len(b) > 0 && b[0] == base.InterleavedFrameMagicByte { // a report to a publisher, of another goroutine
		return w.respond(b)
	}
	if w.boxed.Load() {
		w.begins = nil
		return w.box.respond(b)
	}
	n, err := w.respond(b)
	if v := w.begins; v != nil {
		w.begins = nil
		v.box.uncork()
	}
	return n, err
}

// Close closes the connection. A player that played loses unsent data: it might not be
// permitted any more.
func (w *wire) Close() error {
	err := net.ErrClosed
	w.closed.Do(func() {
		w.cancel()
		w.box.close() // before the descriptor is
		if w.tls != nil {
			w.tls.end()
		}
		if w.played.Load() {
			_ = w.TCPConn.SetLinger(0)
		}
		err = w.TCPConn.Close()
		w.listener.places.Give(w.place)
	})
	return err
}

// rank returns how dispensable the connection is when all places are taken.
func (w *wire) rank() accept.Rank {
	switch {
	case w.playing.Load(), w.recording.Load():
		return accept.InUse
	case w.authenticated.Load():
		return accept.IdleWithSession
	}
	return accept.Idle
}

// cut closes the connection at once: nothing is sent after it returns.
func (w *wire) cut() {
	w.played.Store(true)
	_ = w.Close()
}

// setPlaying reports whether the server sends packets to the player from now on.
func (w *wire) setPlaying(on bool) {
	if on {
		w.played.Store(true)
	}
	w.playing.Store(on)
}

// expect sets the deadline of the next request, after a response.
func (w *wire) expect(hasSession bool) {
	idle := w.listener.door.cfg.IdleTimeout
	deadline := time.Now().Add(idle)
	switch {
	case w.ending:
		deadline = time.Now() // nothing is read any more
	case w.playing.Load():
		deadline = time.Time{} // it is alive as long as it accepts packets
	case w.recording.Load():
		deadline = time.Time{} // it is alive as long as it sends packets
	case hasSession && w.authenticated.Load():
		deadline = time.Now().Add(sessionIdle)
	case !w.authenticated.Load():
		deadline = w.opened.Add(idle)
	}
	_ = w.TCPConn.SetReadDeadline(deadline)
}
