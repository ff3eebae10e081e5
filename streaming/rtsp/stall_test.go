package rtsp

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/streaming/cameratest"
)

// drain reads what is left of a connection: how much, and how it ended.
func (p *player) drain() (int, error) {
	total := p.in.Buffered()
	buf := make([]byte, 1<<16)
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		n, err := p.conn.Read(buf)
		total += n
		if err != nil {
			return total, err
		}
	}
}

// TestStalledViewer: a viewer that does not read can take at most about 128 KiB, as large as
// its kernel's buffer is at first, after it is cut, and then sees a reset. The kernel takes
// a last segment that does not fit quite.
func TestStalledViewer(t *testing.T) {
	for _, c := range []struct {
		name        string
		rate, frame int
		read        int // packets before it stalls
	}{
		{name: "never reads", rate: 1_000_000},
		{name: "never reads, large frames", rate: 4_000_000, frame: 400_000},
		{name: "read before", rate: 500_000, read: 800},
		{name: "read large frames before", rate: 4_000_000, frame: 400_000, read: 5000},
	} {
		// One after the other: viewers that wait for a processor read much at once,
		// and make their buffers grow.
		t.Run(c.name, func(t *testing.T) {
			h := open(t, (&cameratest.Camera{Rate: c.rate, Frame: c.frame}).Start(t), func(cfg *config) {
				cfg.WriteTimeout = time.Minute
			})
			p := h.watchingFor(t, c.read)
			before := h.dropped(t, "viewer queue")
			eventually(t, "the queue of the viewer is full", func() bool { return h.dropped(t, "viewer queue") > before+50 })
			h.grants.grant("ann", "dev-1", 1, privilege.Playback)
			h.recheck(t, "ann", "dev-1", "")
			n, err := p.drain()
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the connection ended with %v, want a reset", err)
			}
			if n > (128+64)<<10 {
				t.Errorf("%d bytes were drained after the cut", n)
			}
			t.Logf("drained %d bytes", n)
		})
	}
}

// receiveBuffer is how large the viewer's kernel has made its buffer, in bytes.
func (p *player) receiveBuffer(t *testing.T) (size int) {
	t.Helper()
	raw, err := p.tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) { size, failed = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF) })
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return size
}

// watchingFor starts a viewer that has read so many packets. On a machine that
// gives a viewer no time, it may be taken for one that has stalled before it
// does, or read so much at once that its kernel makes its buffer a large one, of
// which it may leave a quarter unread; this test is about the others, so another
// one is tried then.
func (h *house) watchingFor(t *testing.T, packets int) *player {
	t.Helper()
	for range 20 {
		p := h.watching(t, "/dev-1/1", annKey, "tcp")
		err := p.receive(packets)
		size := p.receiveBuffer(t)
		if err == nil && size <= selfMade/2 {
			return p
		}
		t.Logf("a viewer that reads was held up: %v; its kernel has a buffer of %d bytes", err, size)
		p.close()
	}
	t.Fatal("viewers that read are held up, one after the other")
	return nil
}

// TestStalledViewerIsDropped: it costs the others nothing, and ends by itself.
func TestStalledViewerIsDropped(t *testing.T) {
	h := open(t, (&cameratest.Camera{Rate: 500_000}).Start(t), func(cfg *config) { cfg.WriteTimeout = 500 * time.Millisecond })
	stalled := h.watching(t, "/dev-1/1", annKey, "tcp")
	good := h.watching(t, "/dev-1/1", annKey, "tcp")
	ended := make(chan error, 1)
	go func() {
		for h.viewers.count() > 1 {
			if err := good.receive(1); err != nil {
				ended <- err
				return
			}
		}
		ended <- good.receive(100)
	}()
	if err := <-ended; err != nil {
		t.Errorf("the viewer that reads: %v", err)
	}
	if n, err := stalled.drain(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the stalled viewer drained %d bytes and saw %v", n, err)
	}
}

// TestReaderIsNotTakenForStalled: whatever receive buffer a viewer has, it gets
// what it reads.
func TestReaderIsNotTakenForStalled(t *testing.T) {
	for _, buffer := range []int{64 << 10, 512 << 10, 8 << 20} {
		t.Run(fmt.Sprint(buffer), func(t *testing.T) {
			t.Parallel()
			h := open(t, (&cameratest.Camera{Rate: 2_000_000, Frame: 200_000}).Start(t))
			p := h.player(t, "/dev-1/1", annKey)
			if err := p.tcp.SetReadBuffer(buffer); err != nil {
				t.Fatal(err)
			}
			if status, err := p.watch("tcp"); status != 200 {
				t.Fatal(status, err)
			}
			if err := p.receive(4000); err != nil {
				t.Errorf("a viewer that reads was dropped: %v", err)
			}
		})
	}
}
