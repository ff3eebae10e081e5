package fanout

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	"golang.org/x/sys/unix"
)

// socketOf is the socket of a browser. The hall reads it, and pion what the hall leaves.
type socketOf struct {
	fd, port int
	other    atomic.Pointer[net.UDPAddr]
	rest     chan []byte
	closed   chan struct{}
	once     sync.Once
	shutting sync.Once
}

func (h *Hall) open() (*socketOf, error) {
	fd, port, err := datagramSocket(0, receiveBuffer)
	if err == nil {
		err = stamped(fd)
	}
	return &socketOf{fd: fd, port: port, rest: make(chan []byte, 256), closed: make(chan struct{})}, err
}

// give gives a datagram to pion, if there is room.
func (s *socketOf) give(p []byte) {
	select {
	case s.rest <- slices.Clone(p):
	default:
	}
}

// ReadFrom returns what came that is not media. It came from where pion last sent something:
// there is only one other side.
func (s *socketOf) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-s.rest:
		return copy(p, d), s.other.Load(), nil
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo sends a datagram.
func (s *socketOf) WriteTo(p []byte, to net.Addr) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	a := to.(*net.UDPAddr)
	s.other.Store(a)
	at := &unix.SockaddrInet4{Port: a.Port}
	copy(at.Addr[:], a.IP.To4())
	return len(p), unix.Sendto(s.fd, p, 0, at)
}

// Close ends ReadFrom. The hall closes the socket itself.
func (s *socketOf) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *socketOf) shut() {
	_ = s.Close()
	s.shutting.Do(func() { _ = unix.Close(s.fd) })
}

// LocalAddr is the address of the socket.
func (s *socketOf) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.IP(loopback[:]), Port: s.port}
}

// Deadlines are not needed.

func (s *socketOf) SetDeadline(time.Time) error      { return nil }
func (s *socketOf) SetReadDeadline(time.Time) error  { return nil }
func (s *socketOf) SetWriteDeadline(time.Time) error { return nil }

// silence logs nothing of pion's.
type silence struct{}

func (silence) NewLogger(string) logging.LeveledLogger { return silence{} }

func (silence) Trace(string)          {}
func (silence) Tracef(string, ...any) {}
func (silence) Debug(string)          {}
func (silence) Debugf(string, ...any) {}
func (silence) Info(string)           {}
func (silence) Infof(string, ...any)  {}
func (silence) Warn(string)           {}
func (silence) Warnf(string, ...any)  {}
func (silence) Error(string)          {}
func (silence) Errorf(string, ...any) {}
