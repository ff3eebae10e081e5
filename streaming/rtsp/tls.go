package rtsp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
)

// tlsChunk is how much is encrypted at once, in bytes: the content of one TLS record.
const tlsChunk = 16 << 10

// maxSealed is how much may wait encrypted, in bytes: one record, and what TLS itself
// answers to a player that reads. Key updates cost a player little, and each is answered.
const maxSealed = 4 * tlsChunk

// layer is TLS on the connection of a player.
//
// Responses are written through it as to any connection. Once packets are sent, what the
// connection does not take at once waits here, encrypted: at most one record and what TLS
// itself answers.
type layer struct {
	*tls.Conn
	wire *wire

	mu     sync.Mutex // guards the wire's tcp, too
	sealed []byte     // to be sent
	ended  bool       // nothing may be sent any more
}

// below is the connection under TLS.
type below struct {
	*net.TCPConn
	layer *layer
}

func newLayer(w *wire, cfg *tls.Config) *layer {
	l := &layer{wire: w}
	l.Conn = tls.Server(below{w.TCPConn, l}, cfg)
	return l
}

// Write sends what TLS has encrypted.
func (b below) Write(p []byte) (int, error) {
	w := b.layer.wire
	if !w.boxed.Load() {
		return w.writeAll(p)
	}
	return len(p), b.layer.queue(p)
}

// queue sends as much as the connection takes, and keeps the rest.
func (l *layer) queue(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return net.ErrClosed
	}
	if len(l.sealed) == 0 {
		n, err := l.wire.tcp.sendNow(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	if len(l.sealed)+len(p) > maxSealed {
		return errTooMany
	}
	l.sealed = append(l.sealed, p...)
	return nil
}

// flush sends what waits, and reports whether that was all of it.
func (l *layer) flush() (clear bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false, net.ErrClosed
	}
	for len(l.sealed) > 0 {
		n, err := l.wire.tcp.sendNow(l.sealed)
		if err != nil || n == 0 {
			return false, err
		}
		l.sealed = l.sealed[:copy(l.sealed, l.sealed[n:])]
	}
	return true, nil
}

// end stops sending. It is called before the connection is closed.
func (l *layer) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.sealed = true, nil
}

// tlsWay sends interleaved packets within TLS. Its units are bytes before encryption; of
// a record that was not sent completely, the last byte counts as not sent.
type tlsWay struct {
	*layer

	begun *burst // whose record waits
	until int    // the end of that record
}

func (w *tlsWay) size(b *burst, _ *sub) int { return len(b.data) }

func (w *tlsWay) send(b *burst, s *sub, from int) (int, error) {
	if clear, err := w.flush(); err != nil || !clear {
		return from, err
	}
	if w.begun == b {
		from = w.until
	}
	w.begun = nil
	data := b.on(s.channel)
	for from < len(data) {
		to := min(from+tlsChunk, len(data))
		if _, err := w.Conn.Write(data[from:to]); err != nil {
			return from, err
		}
		clear, err := w.flush()
		if err != nil {
			return from, err
		}
		if !clear {
			w.begun, w.until = b, to
			return to - 1, nil
		}
		from = to
	}
	return len(data), nil
}

func (w *tlsWay) rest(b *burst, s *sub, done int) []byte {
	if w.begun == b {
		done = w.until
	}
	return w.wire.tcp.rest(b, s, done)
}

func (w *tlsWay) probing() bool { return w.wire.tcp.probing() }

func (w *tlsWay) giveUp() { w.wire.cut() }

// secure puts TLS on the connection.
func (w *wire) secure(cfg *tls.Config) {
	w.tls = newLayer(w, cfg)
	w.box.way = &tlsWay{layer: w.tls}
}

// writeAll writes to the connection, and waits for it.
func (w *wire) writeAll(b []byte) (int, error) {
	n, err := w.TCPConn.Write(b)
	mu := &w.box.mu
	if w.tls != nil {
		mu = &w.tls.mu
	}
	mu.Lock()
	defer mu.Unlock()
	w.tcp.pace.used(n)
	return n, err
}

// respond sends a response without TLS, or with it.
func (w *wire) respond(b []byte) (int, error) {
	if w.tls != nil {
		return w.tls.Conn.Write(b)
	}
	return w.writeAll(b)
}

// listenSecurely opens RTSPS, if it is configured.
func (d *Door) listenSecurely() error {
	if d.cfg.TLSAddress == "" {
		return nil
	}
	ln, err := net.Listen("tcp", d.cfg.TLSAddress)
	if err != nil {
		return fmt.Errorf("listening for RTSPS: %w", err)
	}
	d.secure = &listener{TCPListener: ln.(*net.TCPListener), door: d, places: d.listener.places, tls: &tls.Config{
		GetCertificate: d.cfg.Certificate, MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true,
	}}
	d.cfg.Upstreams.NeverDial(ln.Addr())
	return nil
}

// SecureAddr returns the address of RTSPS; nil if it is off. Call it after Start.
func (d *Door) SecureAddr() net.Addr {
	if d.secure == nil {
		return nil
	}
	return d.secure.Addr()
}

// both accepts the connections of two listeners.
type both struct {
	*listener
	secure   *listener
	accepted chan net.Conn
	failed   chan error
	ctx      context.Context // ends with the door
}

func acceptBoth(plain, secure *listener, ctx context.Context) *both {
	b := &both{listener: plain, secure: secure, accepted: make(chan net.Conn), failed: make(chan error, 2), ctx: ctx}
	for _, l := range []*listener{plain, secure} {
		go b.acceptFrom(l)
	}
	return b
}

func (b *both) acceptFrom(l *listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			b.failed <- err
			return
		}
		select {
		case b.accepted <- conn:
		case <-b.ctx.Done():
			conn.Close()
		}
	}
}

// Accept implements net.Listener.
func (b *both) Accept() (net.Conn, error) {
	select {
	case conn := <-b.accepted:
		return conn, nil
	case err := <-b.failed:
		return nil, err
	}
}

// Close implements net.Listener.
func (b *both) Close() error {
	err := b.listener.Close()
	if serr := b.secure.Close(); err == nil {
		err = serr
	}
	return err
}
