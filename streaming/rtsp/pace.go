package rtsp

import (
	"os"
	"time"
)

const (
	// maxBacklog is how much a viewer may have that it has not read, as far as
	// that can be seen from here. Peers store more in a window than they say,
	// up to 1.7 times; with that it stays below 128 KiB.
	maxBacklog = 48 << 10
	// selfMade is a window that a peer must have asked its kernel for.
	selfMade = 768 << 10
	// maxRate is how fast one viewer is sent to, in bytes a second: 64 Mbit/s.
	// Bursts on a fast network would make the peer's buffer grow.
	maxRate = 8_000_000
	// paceEvery is how much is sent before looking again.
	paceEvery = 8 << 10
	// paceSpan is how much is sent before judging whether a window became
	// narrower for good.
	paceSpan = 32 << 10
	// maxProbes is how many writes a viewer gets that seems to have stalled:
	// only the news of its reading may be late, or its window have become
	// narrower. After them the kernel's keepalive asks.
	maxProbes = 12
	// judgedBy is after how many of them, without a narrower window, the viewer
	// is taken to read. A step is how much narrower a window may look without
	// being so: peers round it.
	judgedBy, step = 6, 1 << 10
)

// pace limits what a viewer that stops reading can still take out of its
// kernel's receive buffer after it was cut: what lies there cannot be called
// back, and the buffer grows to megabytes while a viewer reads much at once.
//
// A sender does not see what was read, but it sees the peer's window. It is at
// its widest when all is read, and narrower by about what lies unread; that,
// and what is under way, is the backlog. It is kept so small that the buffers
// of peers that tune themselves have no reason to grow.
type pace struct {
	sent   uint64   // bytes, ever
	looked uint64   // of these, when the peer was last looked at
	widest uint64   // window
	probed []uint64 // the window before each write since the viewer seems to have stalled

	spanFrom   uint64 // the span of sent in which the least backlog is looked for
	least      uint64 // in this span
	lastLeast  uint64 // in the one before
	spanLooked bool
}

// backlog is how much the peer has not read, given what it has acknowledged and
// how wide its window is.
func (p *pace) backlog(acked, window uint64) uint64 {
	p.looked = p.sent
	p.widest = max(p.widest, window)
	backlog := p.widest - window
	if p.sent > acked {
		backlog += p.sent - acked
	}
	return backlog - p.narrowed(backlog)
}

// narrowed finds out that a peer has made its window narrower for good, as
// kernels do: then the backlog never falls below some value, and does not rise
// as more is sent either. It answers by how much the backlog was overestimated.
func (p *pace) narrowed(backlog uint64) uint64 {
	if !p.spanLooked || backlog < p.least {
		p.spanLooked, p.least = true, backlog
	}
	if p.sent-p.spanFrom < paceSpan {
		return 0
	}
	var by uint64
	if p.least <= p.lastLeast+paceSpan/16 {
		by = min(p.least, p.lastLeast, p.widest)
	}
	p.widest -= by
	p.spanFrom, p.lastLeast, p.spanLooked = p.sent, p.least-by, false
	return by
}

// limit is how large the backlog may be. A peer with a window as wide as nobody
// gets who is paced has made its buffer large by itself, and could as well have
// read all; but its window becomes narrower by as much as others are wide.
func (p *pace) limit() uint64 {
	if p.widest > selfMade {
		return p.widest / 4
	}
	return maxBacklog
}

// reads reports whether a viewer that seems to have stalled reads nevertheless:
// what was sent to probe it has not made its window narrower.
func (p *pace) reads(window uint64) bool {
	n := len(p.probed)
	return n >= judgedBy && window+step >= p.probed[n-judgedBy]
}

// wait returns when n more bytes may be sent, or with why they may not.
func (w *wire) wait(n int) error {
	p := &w.pace
	if p.sent-p.looked+uint64(n) <= paceEvery && len(p.probed) == 0 {
		return nil
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		acked, window, ok := peerState(w.TCPConn)
		if !ok {
			return nil // this system does not tell
		}
		backlog := p.backlog(acked, window)
		if acked >= p.sent && p.reads(window) {
			p.widest, backlog = window, 0
		}
		if backlog+uint64(n) <= p.limit() {
			p.probed = p.probed[:0]
			return nil
		}
		if pause >= 4*time.Millisecond && acked >= p.sent && len(p.probed) < maxProbes {
			p.probed = append(p.probed, window)
			return nil
		}
		if err := w.sleep(pause); err != nil {
			return err
		}
	}
}

// sleep waits, at most until the deadline for writing or the connection's end.
func (w *wire) sleep(d time.Duration) error {
	if deadline := w.writeDeadline.Load(); deadline != 0 {
		left := time.Until(time.Unix(0, deadline))
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		d = min(d, left)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.ctx.Done():
		return os.ErrClosed
	}
}
