package rtspclient

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	udpBuffer = 4 << 20 // asked of the kernel
	// maxQueued is how much of a track may wait, in bytes, while its packets are handed
	// on: a key frame.
	maxQueued = 8 << 20
	maxUDP    = 64 << 10
	// leastPort is the lowest port of a camera that is sent to: below are other services.
	leastPort = 1024
)

// sockets are the two UDP ports of a track, for RTP and RTCP.
type sockets struct {
	port int // of RTP; that of RTCP is the next
	conn [2]*net.UDPConn

	mu     sync.Mutex
	from   []netip.Addr      // packets of other senders are dropped
	to     [2]netip.AddrPort // the camera's ports; zero if it does not name them
	queue  [][]byte
	queued int
	lost   int
	wake   chan struct{}
	closed bool
}

// openUDP opens the ports of a track where the camera is connected, and reads them.
func (c *Client) openUDP(t *Track) (*sockets, error) {
	local, err := netip.ParseAddrPort(c.link.LocalAddr().String())
	if err != nil {
		return nil, ErrTransport
	}
	s := &sockets{wake: make(chan struct{}, 1), from: []netip.Addr{c.link.peer}}
	if err := s.listen(local.Addr()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isOver() {
		s.close()
		return nil, ErrClosed
	}
	c.work.Go(func() { s.receive(0) })
	c.work.Go(func() { s.receive(1) })
	c.work.Go(func() { c.handQueued(t, s) })
	return s, nil
}

// listen binds an even port and the next one.
func (s *sockets) listen(local netip.Addr) error {
	for range 64 {
		first, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		if err != nil {
			return errors.Join(ErrTransport, err)
		}
		port := first.LocalAddr().(*net.UDPAddr).Port
		other := port ^ 1
		second, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, uint16(other))))
		if err != nil {
			first.Close()
			continue
		}
		if other < port {
			first, second = second, first
		}
		s.port, s.conn = port&^1, [2]*net.UDPConn{first, second}
		growBuffer(first, udpBuffer)
		return nil
	}
	return ErrTransport
}

// setPeer notes where the camera sends from, and where it is sent to. A source that it
// names is only read from: it chooses what is sent anyway.
func (s *sockets) setPeer(peer netip.Addr, as transport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if as.source.IsValid() && as.source != peer {
		s.from = append(s.from, as.source)
	}
	for i := range s.to {
		port := 0
		switch {
		case i < len(as.server):
			port = as.server[i]
		case len(as.server) == 1:
			port = as.server[0] + 1
		}
		if port >= leastPort && port <= 65535 {
			s.to[i] = netip.AddrPortFrom(peer, uint16(port))
		}
	}
}

// send sends a packet to the camera's port for RTP (0) or RTCP (1), if it has named one.
func (s *sockets) send(i int, data []byte) error {
	s.mu.Lock()
	to := s.to[i]
	s.mu.Unlock()
	if !to.IsValid() {
		return nil
	}
	_, err := s.conn[i].WriteToUDPAddrPort(data, to)
	return reading(err)
}

// punch opens the way through firewalls between here and the camera.
func (s *sockets) punch() {
	_ = s.send(0, []byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	_ = s.send(1, []byte{0x80, receiverReport, 0, 1, 0, 0, 0, 0})
}

func (s *sockets) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.wake)
	}
	s.mu.Unlock()
	for _, conn := range s.conn {
		conn.Close()
	}
}

// receive empties a socket, as quickly as it can.
func (s *sockets) receive(i int) {
	buf := make([]byte, maxUDP)
	for {
		n, from, err := s.conn[i].ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // of an ICMP message: the camera is not there yet, or gone
			time.Sleep(time.Millisecond)
			continue
		}
		if !s.put(from.Addr().Unmap().WithZone(""), buf[:n]) {
			return
		}
	}
}

// put queues a packet; false when the socket is closed.
func (s *sockets) put(from netip.Addr, data []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	known := false
	for _, addr := range s.from {
		known = known || addr == from
	}
	switch {
	case !known || len(data) < minRTCP:
		return true
	case s.queued+len(data) > maxQueued:
		s.lost++
		return true
	}
	s.queue = append(s.queue, append([]byte(nil), data...))
	s.queued += len(data)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns what is queued.
func (s *sockets) take() (queue [][]byte, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue, lost = s.queue, s.lost
	s.queue, s.queued, s.lost = nil, 0, 0
	return queue, lost
}

// handQueued hands on what arrives over UDP, in order.
func (c *Client) handQueued(t *Track, s *sockets) {
	defer c.survive()
	o := order{hand: func(data []byte) { c.hand(t, data, time.Now()) }, lost: c.opts.Lost}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		if o.waits() {
			wait = maxDisorder
		}
		timer.Reset(wait)
		select {
		case _, open := <-s.wake:
			if !open {
				return
			}
		case <-timer.C:
			o.giveUp()
		}
		queue, lost := s.take()
		if lost > 0 {
			c.opts.Lost(lost)
		}
		for _, data := range queue {
			switch {
			case isRTCP(data):
				c.handReports(t, data, time.Now())
			case isRTP(data):
				o.put(data)
			default:
				c.opts.Odd()
			}
		}
	}
}
