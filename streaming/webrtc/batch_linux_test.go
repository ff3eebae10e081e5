package webrtc

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSegments shows from how many packets of a viewer on it is worthwhile that the
// kernel cuts up one datagram. The time is that of a packet.
func BenchmarkSegments(b *testing.B) {
	for _, size := range []int{1228, 200} {
		for _, length := range []int{1, 2, 3, 4, 8, 16} {
			for _, alone := range []bool{true, false} {
				b.Run(fmt.Sprintf("size=%d/run=%d/alone=%v", size, length, alone), func(b *testing.B) {
					from, to := loopback(b), loopback(b)
					batch, err := newBatch(from)
					if err != nil {
						b.Fatal(err)
					}
					defer batch.close()
					packet, addr := make([]byte, size), to.LocalAddr()
					guards := []*guard{{alone: alone}, {alone: alone}}
					for n := 0; b.Loop(); n++ {
						batch.add(guards[n/length%2], packet, addr)
					}
				})
			}
		}
	}
}

// TestPathWithoutSegments: what the kernel does not cut up is sent packet by packet.
func TestPathWithoutSegments(t *testing.T) {
	from, to := loopback(t), loopback(t)
	raw, err := from.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) }) // without sums there are no segments
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	b, err := newBatch(from)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	g, other := &guard{}, &guard{}
	for n := range 3 {
		b.add(g, bytes.Repeat([]byte{byte(n)}, 1000), to.LocalAddr())
	}
	b.add(g, []byte{3}, to.LocalAddr())
	b.add(other, []byte{4}, to.LocalAddr())
	b.flush()
	for n, got := range datagramsOf(t, to, 5) {
		if got[0] != byte(n) || len(got) == 1 != (n > 2) {
			t.Errorf("datagram %d has %d bytes of %d", n, len(got), got[0])
		}
	}
	if !g.alone || other.alone {
		t.Errorf("the viewers' paths take no segments: %v and %v, want the first one's only", g.alone, other.alone)
	}
}
