package rtsp

import (
	"os"
	"time"
)

const (
	// maxBacklog is how much unread data a viewer may have, as far as it can be
	// determined from here. Peers buffer up to 1.7 times the window that they announce;
	// even so it stays below 128 KiB.
	maxBacklog = 48 << 10
	// selfMade is a window that a peer must have requested from its kernel.
	selfMade = 768 << 10
	// maxRate is the maximum rate for one viewer, in bytes per second: 64 Mbit/s. Bursts
	// on a fast network would make the peer's buffer grow.
	maxRate = 8_000_000
	// paceEvery is how much is sent between two checks.
	paceEvery = 8 << 10
	// paceSpan is how much is sent before judging whether a window has shrunk for good.
	paceSpan = 32 << 10
	// maxProbes is how many writes a seemingly stalled viewer gets: perhaps only its
	// acknowledgements are late, or its window has shrunk. After them, the kernel's
	// keepalive decides.
	maxProbes = 12
	// judgedBy is the number of probes without a shrinking window after which the viewer
	// is considered reading. A step is how much smaller a window may look without being
	// so: peers round it.
	judgedBy, step = 6, 1 << 10
)

// pace limits what a viewer that stops reading can still take from its kernel's receive
// buffer after it was cut: data there cannot be recalled, and the buffer grows to
// megabytes while a viewer reads much at once.
//
// A sender cannot see what was read, but it sees the peer's window. It is widest when all
// is read, and smaller by roughly the unread data; that, and the data in flight, is the
// backlog. It is kept so small that peers' auto-tuned buffers have no reason to grow.
type pace struct {
	sent   uint64   // bytes, ever
	looked uint64   // of these, at the last check of the peer
	widest uint64   // window
	probed []uint64 // the window before each write since the viewer seemed stalled

	spanFrom   uint64 // the span of sent in which the least backlog is looked for
	least      uint64 // in this span
	lastLeast  uint64 // in the one before
	spanLooked bool
}

// backlog returns how much the peer has not read, given its acknowledgements and its
// window.
func (p *pace) backlog(acked, window uint64) uint64 {
	p.looked = p.sent
	p.widest = max(p.widest, window)
	backlog := p.widest - window
	if p.sent > acked {
		backlog += p.sent - acked
	}
	return backlog - p.narrowed(backlog)
}

// narrowed detects that a peer has shrunk its window for good, as kernels do: then the
// backlog never falls below some value, and does not rise as more is sent either. It
// returns by how much the backlog was overestimated.
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

// limit returns how large the backlog may be. A peer with a wider window than pacing ever
// causes has enlarged its buffer itself, and could as well have read everything; but its
// window shrinks by the amount by which others are wide.
func (p *pace) limit() uint64 {
	if p.widest > selfMade {
		return p.widest / 4
	}
	return maxBacklog
}

// reads reports whether a seemingly stalled viewer reads nevertheless: the probes have
// not shrunk its window.
func (p *pace) reads(window uint64) bool {
	n := len(p.probed)
	return n >= judgedBy && window+step >= p.probed[n-judgedBy]
}

// wait returns when n more bytes may be sent, or an error if they may not.
func (w *wire) wait(n int) error {
	p := &w.pace
	if p.sent-p.looked+uint64(n) <= paceEvery && len(p.probed) == 0 {
		return nil
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		acked, window, ok := peerState(w.TCPConn)
		if !ok {
			return nil // not available on this system
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

// sleep waits, at most until the write deadline or the connection's end.
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
