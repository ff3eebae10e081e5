package webrtc

import "net"

const (
	// maxMessages is how many datagrams one system call sends; each may have several packets.
	maxMessages = 64
	// maxBatch is how much is collected, in bytes. It still lies in the processor's cache when
	// the kernel copies it.
	maxBatch = 128 << 10
	// maxSegments and maxSegmentBytes bound what one datagram has that the kernel or the
	// network card cuts up: UDP_MAX_SEGMENTS of older kernels, and the length of a datagram.
	maxSegments, maxSegmentBytes = 64, 65000
	// sendBuffer is the kernel's buffer of the socket, in bytes, as far as it grants that.
	sendBuffer = 4 << 20
)

// batch collects packets for many viewers. The fan's mutex guards it.
type batch struct {
	way
	data []byte // of all packets
	runs []run
}

// run is packets for one viewer, one behind the other. They have the same length, except for
// the last one, which may be shorter.
type run struct {
	guard    *guard
	to       net.Addr
	from, at int // in data
	size     int // of a packet
	packets  int
}

// add copies a packet for a viewer. It is sent at the latest with flush.
func (b *batch) add(g *guard, p []byte, to net.Addr) {
	if b.data == nil {
		b.data, b.runs = make([]byte, 0, maxBatch), make([]run, 0, maxMessages)
	}
	if len(b.data)+len(p) > maxBatch {
		b.flush()
	}
	at := len(b.data)
	if n := len(b.runs); n > 0 && b.runs[n-1].takes(g, p, to) {
		b.data = append(b.data, p...)
		b.runs[n-1].at = len(b.data)
		b.runs[n-1].packets++
		return
	}
	if len(b.runs) == maxMessages {
		b.flush()
		at = 0
	}
	b.data = append(b.data, p...)
	b.runs = append(b.runs, run{guard: g, to: to, from: at, at: len(b.data), size: len(p), packets: 1})
}

// takes reports whether a packet can be the next of the run.
func (r *run) takes(g *guard, p []byte, to net.Addr) bool {
	total := r.at - r.from
	return segments && r.guard == g && !g.alone && r.packets < maxSegments && total == r.packets*r.size && len(p) <= r.size &&
		total+len(p) <= maxSegmentBytes && sameAddress(r.to, to)
}

// sameAddress compares addresses of one socket.
func sameAddress(a, b net.Addr) bool {
	if a == b {
		return true
	}
	x, ok := a.(*net.UDPAddr)
	y, both := b.(*net.UDPAddr)
	return ok && both && x.Port == y.Port && x.Zone == y.Zone && x.IP.Equal(y.IP)
}

// flush sends what was collected. What the kernel refuses is lost, as datagrams may be.
func (b *batch) flush() {
	if len(b.runs) > 0 {
		b.send(b.data, b.runs)
		b.data, b.runs = b.data[:0], b.runs[:0]
	}
}

// singly sends each packet of a run by itself.
func (r *run) singly(data []byte, to net.PacketConn) {
	for from := r.from; from < r.at; from += r.size {
		_, _ = to.WriteTo(data[from:min(from+r.size, r.at)], r.to)
	}
}
