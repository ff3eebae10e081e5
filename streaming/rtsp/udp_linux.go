package rtsp

import (
	"cmp"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sender sends many datagrams with one system call, and many packets with one datagram
// that the kernel or the network card cuts up (UDP_SEGMENT).
type sender struct {
	rtpRaw, rtcpRaw syscall.RawConn
	v6              bool // the sockets' addresses are IPv6
}

// sockaddr is an address as the kernel has it.
type sockaddr struct {
	raw [unix.SizeofSockaddrInet6]byte
	len uint32
}

// open prepares the sockets.
func (u *udpPorts) open() error {
	var err error
	if u.rtpRaw, err = u.rtp.SyscallConn(); err != nil {
		return err
	}
	if u.rtcpRaw, err = u.rtcp.SyscallConn(); err != nil {
		return err
	}
	var failed error
	err = u.rtpRaw.Control(func(fd uintptr) {
		var domain int
		domain, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		u.v6 = domain == unix.AF_INET6
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, udpSendBuffer) != nil { // needs a privilege
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, udpSendBuffer)
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// sendOn makes the sockets send multicast on the interface of that address, and no further;
// an unspecified one leaves the interface to the routes.
func (u *udpPorts) sendOn(on netip.Addr) error {
	var failed error
	for _, raw := range []syscall.RawConn{u.rtpRaw, u.rtcpRaw} {
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, multicastTTL)
			if failed == nil && on.Is4() && !on.IsUnspecified() {
				failed = unix.SetsockoptInet4Addr(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, on.As4())
			}
		})
		if err = cmp.Or(err, failed); err != nil {
			return err
		}
	}
	return nil
}

// address returns an address for the sockets.
func (u *udpPorts) address(a netip.AddrPort) (s sockaddr) {
	ip := a.Addr().Unmap()
	binary.BigEndian.PutUint16(s.raw[2:], a.Port())
	if !u.v6 {
		binary.NativeEndian.PutUint16(s.raw[:], unix.AF_INET)
		if ip.Is4() { // otherwise the viewer is not reached
			ip4 := ip.As4()
			copy(s.raw[4:], ip4[:])
		}
		s.len = unix.SizeofSockaddrInet4
		return s
	}
	binary.NativeEndian.PutUint16(s.raw[:], unix.AF_INET6)
	ip6 := ip.As16()
	copy(s.raw[8:], ip6[:])
	binary.NativeEndian.PutUint32(s.raw[24:], scope(ip.Zone()))
	s.len = unix.SizeofSockaddrInet6
	return s
}

// scope returns the number of a zone.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

const (
	maxSegments     = 64    // of one datagram: UDP_MAX_SEGMENTS of older kernels
	maxSegmentBytes = 65000 // of all of them
	maxMessages     = 64    // of one system call
)

// datagrams are the packets of a burst, grouped for the kernel.
type datagrams struct {
	packets []unix.Iovec
	runs    []run
}

// run is a run of packets of the same length, the last of which may be shorter.
type run struct {
	from, to int // packets
	control  [24]byte
}

// datagrams groups the packets of the burst, once.
func (b *burst) datagrams() *datagrams {
	if b.runs == nil {
		b.runs = b.group(0, len(b.ends))
	}
	return b.runs
}

func (b *burst) group(from, to int) *datagrams {
	d := &datagrams{packets: make([]unix.Iovec, len(b.ends))}
	for n := from; n < to; {
		r, size, total := run{from: n}, len(b.packet(n)), 0
		for n < to && n-r.from < maxSegments {
			p := b.packet(n)
			if len(p) > size || total+len(p) > maxSegmentBytes {
				break
			}
			d.packets[n].Base = &p[0]
			d.packets[n].SetLen(len(p))
			total += len(p)
			n++
			if len(p) < size {
				break
			}
		}
		r.to = n
		h := (*unix.Cmsghdr)(unsafe.Pointer(&r.control[0]))
		h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(r.control[unix.CmsgLen(0):], uint16(size))
		d.runs = append(d.runs, r)
	}
	return d
}

// message is a struct mmsghdr.
type message struct {
	unix.Msghdr
	sent uint32
}

func (m *message) fill(d *datagrams, r *run, to *sockaddr) {
	m.Name, m.Namelen = &to.raw[0], to.len
	m.Iov = &d.packets[r.from]
	m.SetIovlen(r.to - r.from)
	m.Control = nil
	m.SetControllen(0)
	if r.to-r.from > 1 {
		m.Control = &r.control[0]
		m.SetControllen(unix.CmsgSpace(2))
	}
}

// sendMessages sends messages until one fails, and returns how many it sent.
func sendMessages(raw syscall.RawConn, list []message) (sent int, err unix.Errno) {
	closed := raw.Write(func(fd uintptr) bool {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), unix.MSG_DONTWAIT, 0, 0)
		if err = errno; errno == 0 {
			sent = int(n)
		}
		return true
	})
	if closed != nil {
		return 0, unix.EBADF
	}
	return sent, err
}

// tooLarge reports whether an error says that the path takes no datagrams in segments, or
// none that large.
func tooLarge(err unix.Errno) bool {
	return err == unix.EINVAL || err == unix.EMSGSIZE || err == unix.EIO || err == unix.EOPNOTSUPP
}

// busy reports whether an error says that the socket takes nothing more now.
func busy(err unix.Errno) bool { return err == unix.EAGAIN || err == unix.ENOBUFS || err == unix.EINTR }

// send sends some packets of a burst to one viewer, and returns up to which.
func (u *udpPorts) send(b *burst, to sockaddr, from, until int, alone *bool) int {
	d := b.group(from, until)
	for n := range d.runs {
		r := &d.runs[n]
		var m [1]message
		if !*alone {
			m[0].fill(d, r, &to)
			_, err := sendMessages(u.rtpRaw, m[:])
			switch {
			case err == 0:
				continue
			case busy(err):
				return r.from
			case r.to-r.from > 1 && tooLarge(err):
				*alone = true
			default:
				continue // lost, as datagrams may be
			}
		}
		for p := r.from; p < r.to; p++ {
			m[0].fill(d, &run{from: p, to: p + 1}, &to)
			if _, err := sendMessages(u.rtpRaw, m[:]); busy(err) {
				return p
			}
		}
	}
	return until
}

// report sends an RTCP packet.
func (u *udpPorts) report(rtcp []byte, to sockaddr) {
	_ = u.rtcpRaw.Write(func(fd uintptr) bool {
		_, _, _ = unix.Syscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&rtcp[0])), uintptr(len(rtcp)), unix.MSG_DONTWAIT,
			uintptr(unsafe.Pointer(&to.raw[0])), uintptr(to.len))
		return true
	})
}

// batch collects the datagrams of a burst for many viewers, so that one system call sends
// them.
type batch struct {
	messages [maxMessages]message
	of       [maxMessages]*outbox
	run      [maxMessages]int
	n        int
	late     *outbox // what follows for it waits in its queue
}

// add sends a burst to a viewer, at the latest with flush. The caller holds the mutex of
// the stream, which ends before the viewer does.
func (t *batch) add(u *udpPorts, b *burst, o *outbox, to *sockaddr) {
	d := b.datagrams()
	for n := range d.runs {
		if t.n == maxMessages {
			t.send(u, b)
		}
		if t.late == o {
			return
		}
		t.messages[t.n].fill(d, &d.runs[n], to)
		t.of[t.n], t.run[t.n] = o, n
		t.n++
	}
}

// flush sends what was collected last of a burst.
func (t *batch) flush(u *udpPorts, b *burst) {
	t.send(u, b)
	t.late = nil
}

// send sends what was collected. What the socket does not take is queued by each viewer.
func (t *batch) send(u *udpPorts, b *burst) {
	for begin := 0; begin < t.n; {
		if t.of[begin] == t.late {
			begin++
			continue
		}
		sent, err := sendMessages(u.rtpRaw, t.messages[begin:t.n])
		if begin += sent; err == 0 && sent > 0 || begin >= t.n {
			continue
		}
		o, r := t.of[begin], b.runs.runs[t.run[begin]]
		begin++
		if err == 0 || busy(err) || r.to-r.from > 1 && tooLarge(err) {
			t.late = o
			o.requeue(b, r.from, err != 0 && !busy(err))
		}
	}
	t.n = 0
}
