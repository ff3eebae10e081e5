package fanout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Crowd are viewers whose sockets one thread reads, so that many of them cost little
// beside what is measured. Viewers of RTSPS have a goroutine each.
type Crowd struct {
	poll   int
	done   chan struct{} // closed when the thread has ended
	secure sync.WaitGroup

	mu      sync.Mutex
	closing bool
	by      map[int32]*Viewer
	viewers map[*Viewer]bool
}

// NewCrowd returns a crowd without viewers. Close it.
func NewCrowd() (*Crowd, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	c := &Crowd{poll: poll, done: make(chan struct{}), by: map[int32]*Viewer{}, viewers: map[*Viewer]bool{}}
	go c.run()
	return c, nil
}

// Join adds a viewer, which is playing when Join returns.
func (c *Crowd) Join(ctx context.Context, t Target) (*Viewer, error) {
	v := &Viewer{fd: -1}
	s, err := dial(ctx, t, func(channel byte, packet []byte) { v.packet(channel, packet, time.Now()) })
	if err != nil {
		return nil, fmt.Errorf("watching %s over %s: %w", t.Path, t.Over, err)
	}
	v.session = s
	early := make([]byte, s.in.Buffered())
	if _, err = io.ReadFull(s.in, early); err == nil {
		err = v.stream(early, time.Now())
	}
	if err == nil {
		err = c.add(v)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return v, nil
}

// add reads the viewer's sockets from now on.
func (c *Crowd) add(v *Viewer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.session.target.Over == RTSPS {
		c.secure.Go(func() { c.readSecure(v) })
		c.viewers[v] = true
		return nil
	}
	conn, err := baring(v.session.conn.(*net.TCPConn))
	if err != nil {
		return err
	}
	v.session.conn, v.fd = conn, int(conn)
	for _, fd := range v.sockets() {
		c.by[int32(fd)] = v
		if err := unix.EpollCtl(c.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	c.viewers[v] = true
	return nil
}

func (v *Viewer) sockets() (list []int) {
	for _, fd := range []int{v.fd, v.session.rtp, v.session.rtcp} {
		if fd >= 0 {
			list = append(list, fd)
		}
	}
	return list
}

// JoinAll adds viewers, some at a time.
func (c *Crowd) JoinAll(ctx context.Context, targets []Target) ([]*Viewer, error) {
	const atOnce = 8
	viewers, failed := make([]*Viewer, len(targets)), make([]error, atOnce)
	var wg sync.WaitGroup
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < len(targets) && failed[w] == nil; i += atOnce {
				viewers[i], failed[w] = c.Join(ctx, targets[i])
			}
		})
	}
	wg.Wait()
	return viewers, errors.Join(failed...)
}

const maxPacket = 2048

// run reads the sockets.
func (c *Crowd) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	events := make([]unix.EpollEvent, 512)
	buffer := make([]byte, 256<<10)
	batch := newBatch(buffer)
	for {
		n, err := unix.EpollWait(c.poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		c.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			v := c.by[e.Fd]
			switch {
			case v == nil:
			case int(e.Fd) == v.fd:
				c.readConnection(v, buffer)
			default:
				batch.read(v, int(e.Fd))
			}
		}
		closing := c.closing
		c.mu.Unlock()
		if closing {
			return
		}
	}
}

func (c *Crowd) readConnection(v *Viewer, buffer []byte) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(v.fd), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return
	}
	if errno == 0 && n > 0 && v.stream(buffer[:n], time.Now()) == nil {
		return
	}
	c.end(v)
}

// end stops reading a viewer whose other side has ended.
func (c *Crowd) end(v *Viewer) {
	v.ended = true
	for _, fd := range v.sockets() {
		_ = unix.EpollCtl(c.poll, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

func (c *Crowd) readSecure(v *Viewer) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := v.session.in.Read(buffer)
		c.mu.Lock()
		if err == nil {
			err = v.stream(buffer[:n], time.Now())
		}
		v.ended = err != nil
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// batch reads many datagrams with one system call.
type batch struct {
	buffer   []byte
	packets  [maxMessages]unix.Iovec
	messages [maxMessages]received
	controls [maxMessages][stampSpace]byte
}

// received is a struct mmsghdr.
type received struct {
	unix.Msghdr
	length uint32
	_      uint32
}

func newBatch(buffer []byte) *batch {
	b := &batch{buffer: buffer}
	for i := range b.messages {
		b.packets[i].Base = &buffer[i*maxPacket]
		b.packets[i].SetLen(maxPacket)
		b.messages[i].Iov = &b.packets[i]
		b.messages[i].SetIovlen(1)
	}
	return b
}

func (b *batch) read(v *Viewer, fd int) {
	channel := byte(0)
	if fd == v.session.rtcp {
		channel = 1
	}
	b.each(fd, func(p []byte, now time.Time) { v.packet(channel, p, now) })
}

// each calls a function for each datagram that a socket has, with the time of its arrival:
// the kernel's, if the socket is stamped, and else that of the call.
func (b *batch) each(fd int, take func(p []byte, at time.Time)) {
	for i := range b.messages {
		b.messages[i].Control = &b.controls[i][0]
		b.messages[i].SetControllen(stampSpace)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])), maxMessages, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return
	}
	now := time.Now()
	for i := range int(n) {
		at, stamped := arrival(b.controls[i][:b.messages[i].Controllen])
		if !stamped {
			at = now
		}
		take(b.buffer[i*maxPacket:][:b.messages[i].length], at)
	}
}

// Stall stops reading some viewers, as players do whose machine sleeps.
func (c *Crowd) Stall(viewers []*Viewer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range viewers {
		for _, fd := range v.sockets() {
			if err := unix.EpollCtl(c.poll, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
				return err
			}
			delete(c.by, int32(fd))
		}
	}
	return nil
}

// Leave ends viewers, as a player does.
func (c *Crowd) Leave(viewers []*Viewer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range viewers {
		c.leave(v)
	}
}

func (c *Crowd) leave(v *Viewer) {
	if !c.viewers[v] {
		return
	}
	delete(c.viewers, v)
	if !v.ended {
		_ = v.session.send("TEARDOWN", v.session.url) // it is left in any case
	}
	for _, fd := range v.sockets() {
		delete(c.by, int32(fd))
	}
	v.session.close() // which also takes its sockets out of the poll
}

// Close ends all viewers.
func (c *Crowd) Close() {
	c.mu.Lock()
	for v := range c.viewers {
		c.leave(v)
	}
	c.closing = true
	c.mu.Unlock()
	<-c.done
	c.secure.Wait()
	_ = unix.Close(c.poll)
}

// bare is a connection that Go's runtime does not look after: it would be woken up for
// each packet.
type bare int

// baring takes a connection away from the runtime.
func baring(conn *net.TCPConn) (bare, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var fd int
	var failed error
	err = raw.Control(func(old uintptr) { fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return -1, err
	}
	return bare(fd), conn.Close()
}

// Write writes what the connection takes at once.
func (b bare) Write(p []byte) (int, error) { return unix.Write(int(b), p) }

func (b bare) Close() error { return unix.Close(int(b)) }
