package fanout

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	maxMessages     = 64 // of one system call
	maxSegments     = 64 // of one datagram
	maxSegmentBytes = 65_000
	sendBuffer      = 8 << 20
)

// datagrams sends pictures over UDP as cheaply as the kernel can: a run of packets of one
// length is one datagram that is cut up late (UDP_SEGMENT), and one system call (sendmmsg)
// sends those of many viewers.
type datagrams struct {
	fd, port int
	messages [maxMessages]message
	filled   int
}

// message is a struct mmsghdr.
type message struct {
	unix.Msghdr
	_ [2]uint32 // how much was sent
}

// run is a run of packets of one length, the last of which may be shorter.
type run struct {
	packets []unix.Iovec
	control [24]byte
}

func openDatagrams() (*datagrams, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil { // needs a privilege
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}); err != nil {
		return nil, err
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	return &datagrams{fd: fd, port: own.(*unix.SockaddrInet4).Port}, nil
}

var loopback = netip.MustParseAddr("127.0.0.1").As4()

// socketAddress returns a port of loopback as the kernel has it.
func socketAddress(port int) *unix.RawSockaddrInet4 {
	return &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(port>>8) | uint16(port)<<8, Addr: loopback}
}

// runs groups the RTP packets of a picture.
func runs(interleaved []byte) (list []run) {
	var size, total int
	for rest := interleaved; len(rest) > 4; {
		n := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		channel, packet := rest[1], rest[4:n]
		rest = rest[n:]
		if channel != 0 {
			continue
		}
		last := len(list) - 1
		if last < 0 || len(packet) > size || total%size != 0 || total+len(packet) > maxSegmentBytes || len(list[last].packets) == maxSegments {
			list, size, total = append(list, run{}), len(packet), 0
			last++
		}
		v := unix.Iovec{Base: &packet[0]}
		v.SetLen(len(packet))
		list[last].packets = append(list[last].packets, v)
		total += len(packet)
		c := (*unix.Cmsghdr)(unsafe.Pointer(&list[last].control[0]))
		c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(list[last].control[unix.CmsgLen(0):], uint16(size))
	}
	return list
}

// add sends a run to a viewer, at the latest with flush.
func (d *datagrams) add(r *run, to *unix.RawSockaddrInet4) {
	m := &d.messages[d.filled]
	*m = message{}
	m.Name, m.Namelen = (*byte)(unsafe.Pointer(to)), unix.SizeofSockaddrInet4
	m.Iov = &r.packets[0]
	m.SetIovlen(len(r.packets))
	if len(r.packets) > 1 {
		m.Control = &r.control[0]
		m.SetControllen(unix.CmsgSpace(2))
	}
	if d.filled++; d.filled == maxMessages {
		d.flush()
	}
}

func (d *datagrams) flush() {
	for from := 0; from < d.filled; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(d.fd), uintptr(unsafe.Pointer(&d.messages[from])), uintptr(d.filled-from), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			from++ // lost, as datagrams may be
		default:
			from += int(n)
		}
	}
	d.filled = 0
}
