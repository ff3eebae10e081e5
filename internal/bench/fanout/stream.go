package fanout

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stream sends the pictures of one path to all its viewers: one write a picture and
// viewer, and nothing else.
type stream struct {
	datagrams *datagrams // of all streams, guarded by sending
	sending   *sync.Mutex
	feed      func(*stream) // runs while there are viewers: until send reports that there are none

	mu      sync.Mutex
	fed     bool
	viewers []*receiver
}

// receiver is a viewer of a stream.
type receiver struct {
	conn    net.Conn
	fd      int
	secure  *tls.Conn              // RTSPS; nil without
	to      *unix.RawSockaddrInet4 // UDP; nil without
	pending []byte                 // what the connection did not take
	gone    bool
}

const maxPending = 8 << 20

// join adds a viewer, and starts the stream for the first one.
func (s *stream) join(r *receiver) error {
	if tcp, ok := r.conn.(*net.TCPConn); ok {
		raw, err := tcp.SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { r.fd = int(fd) }); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.viewers = append(s.viewers, r)
	if !s.fed {
		s.fed = true
		go s.feed(s)
	}
	return nil
}

// leave returns when nothing is written to the viewer any more.
func (s *stream) leave(r *receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.gone = true
	s.viewers = slices.DeleteFunc(s.viewers, func(o *receiver) bool { return o == r })
}

// answer writes a response between two pictures.
func (s *stream) answer(r *receiver, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.gone:
		return io.ErrClosedPipe
	case r.secure == nil && r.to == nil:
		r.write([]byte(text))
		return nil
	}
	_, err := io.WriteString(r.conn, text)
	return err
}

// send sends a picture, and reports whether anybody watches.
func (s *stream) send(interleaved []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var packets []run
	for _, r := range s.viewers {
		switch {
		case r.gone:
		case r.secure != nil:
			if _, err := r.secure.Write(interleaved); err != nil {
				r.gone = true
			}
		case r.to != nil:
			if packets == nil {
				packets = runs(interleaved)
				s.sending.Lock()
				defer s.sending.Unlock()
			}
			for i := range packets {
				s.datagrams.add(&packets[i], r.to)
			}
		default:
			r.write(interleaved)
		}
	}
	if packets != nil {
		s.datagrams.flush()
	}
	s.viewers = slices.DeleteFunc(s.viewers, func(r *receiver) bool { return r.gone })
	s.fed = len(s.viewers) > 0
	return s.fed
}

// write sends over TCP what the connection takes at once, and keeps the rest.
func (r *receiver) write(b []byte) {
	if len(r.pending) > 0 {
		r.pending = append(r.pending, b...)
		b = r.pending
	}
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(r.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		n = 0
	}
	rest := b[n:]
	if (errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR) || len(rest) > maxPending {
		r.gone = true
		r.conn.Close()
		return
	}
	r.pending = append(r.pending[:0], rest...)
}
