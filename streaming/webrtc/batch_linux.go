package webrtc

import (
	"encoding/binary"
	"errors"
	"net"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// segments reports whether the system cuts up datagrams (UDP_SEGMENT).
const segments = true

// way sends many runs with one system call.
type way struct {
	conn     net.PacketConn
	batches  *ipv4.PacketConn // of conn, also of IPv6
	messages [maxMessages]ipv4.Message
	buffers  [maxMessages][1][]byte
	controls [maxMessages][]byte
}

func newBatch(socket *net.UDPConn) (*batch, error) {
	file, err := socket.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	b := &batch{way: way{conn: conn, batches: ipv4.NewPacketConn(conn)}}
	for n := range b.controls {
		control := make([]byte, unix.CmsgSpace(2))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		b.controls[n] = control
	}
	return b, nil
}

func (w *way) close() { _ = w.conn.Close() }

// send sends runs, waiting while the socket is full.
func (w *way) send(data []byte, runs []run) {
	for n := range runs {
		r, m := &runs[n], &w.messages[n]
		w.buffers[n][0] = data[r.from:r.at]
		m.Buffers, m.Addr, m.OOB = w.buffers[n][:], r.to, nil
		if r.packets > 1 {
			binary.NativeEndian.PutUint16(w.controls[n][unix.CmsgLen(0):], uint16(r.size))
			m.OOB = w.controls[n]
		}
	}
	for done := 0; done < len(runs); {
		n, err := w.batches.WriteBatch(w.messages[done:len(runs)], 0)
		if done += max(n, 0); err == nil && n > 0 || done >= len(runs) {
			continue
		}
		if r := &runs[done]; r.packets > 1 && tooLarge(err) {
			r.guard.alone = true
			r.singly(data, w.conn)
		}
		done++
	}
}

// tooLarge reports whether an error says that the path takes no datagrams in segments, or
// none that large.
func tooLarge(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EOPNOTSUPP)
}
