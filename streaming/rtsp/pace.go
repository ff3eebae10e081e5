package rtsp

import "time"

const (
	// maxBacklog is how much unread data a viewer may have, as far as it can be
	// determined from here. Peers buffer up to 1.7 times the window that they announce;
	// even so it stays below 128 KiB.
	maxBacklog  = 48 << 10
	wideBacklog = 128 << 10
	// selfMade is a window that pacing hardly ever causes: a peer has requested it from its
	// kernel, or read much at once.
	selfMade = 768 << 10
	// maxRate is what a viewer gets at most after a burst, in bytes per second: 64 Mbit/s.
	// More would make the peer's buffer grow. So much may be under way for the time of a
	// round trip, in addition to the backlog.
	maxRate, maxAtOnce = 8_000_000, 64 << 10
	maxRoundTrip       = 100 * time.Millisecond
	// paceSpan is how much is sent before judging whether a window has shrunk for good:
	// that takes some checks.
	paceSpan = 192 << 10
	// probeSize and probeEvery are how much is sent to find out whether a viewer reads, and
	// how often.
	probeSize, probeEvery = 1500, int64(4 * time.Millisecond)
	// maxProbes is how many writes a seemingly stalled viewer gets: perhaps only its
	// acknowledgements are late, or its window has shrunk. After them it gets one each
	// probeSlow: a peer that has read all says so only with its next acknowledgement, unless
	// its window has doubled.
	maxProbes = 12
	probeSlow = int64(250 * time.Millisecond)
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
	widest uint64   // window
	probed []uint64 // the window before each write since the viewer seemed stalled

	spanFrom   uint64 // the span of sent in which the least backlog is looked for
	least      uint64 // in this span
	lastLeast  uint64 // in the one before
	spanLooked bool

	tokens   int   // may be sent at once, of maxAtOnce
	tokensAt int64 // when that was computed
	credit   int   // may be sent before the next check
	refused  int64 // when nothing was allowed, or the last probe was; 0: something was
}

// room returns how many of n bytes may be sent now.
func (p *pace) room(fd, n int) int {
	if p.tokens < n {
		n = min(n, p.refill(monotonic()))
	}
	if p.credit >= n {
		return n
	}
	acked, window, roundTrip, ok := peerState(fd)
	if !ok { // not available on this system
		p.credit = n
		return n
	}
	p.credit = min(p.grant(acked, window, roundTrip, monotonic()), max(maxAtOnce, n))
	return min(n, p.credit)
}

// refill returns how much may be sent at once, by maxRate.
func (p *pace) refill(now int64) int {
	p.tokens += int(min(now-p.tokensAt, int64(time.Second)) * maxRate / int64(time.Second))
	p.tokens, p.tokensAt = min(p.tokens, maxAtOnce), now
	return p.tokens
}

// used counts what was sent.
func (p *pace) used(n int) {
	p.sent += uint64(n)
	p.credit -= n
	p.tokens -= n
}

// grant returns how much may be sent, given what the peer has acknowledged, its window,
// and the duration of a round trip.
func (p *pace) grant(acked, window uint64, roundTrip time.Duration, now int64) int {
	unread := p.unread(window)
	if acked >= p.sent && p.reads(window) {
		p.widest, unread = window, 0
	}
	limit := p.limit()
	under := uint64(min(roundTrip, maxRoundTrip)) * maxRate / uint64(time.Second)
	if backlog := unread + p.sent - min(acked, p.sent); unread < limit && backlog < limit+under {
		p.probed, p.refused = p.probed[:0], 0
		return int(limit + under - backlog)
	}
	if n := len(p.probed); n > 0 && window > p.probed[n-1]+step {
		p.probed = p.probed[:0] // it reads again, perhaps with a smaller window
	}
	switch {
	case p.refused == 0:
		p.refused = now
	case now-p.refused >= p.probeAfter() && acked >= p.sent:
		p.probed, p.refused = append(p.probed, window), now
		return probeSize
	}
	return 0
}

// probeAfter returns how long after the last probe, or the first refusal, the next one is
// sent.
func (p *pace) probeAfter() int64 {
	if len(p.probed) < maxProbes {
		return probeEvery
	}
	return probeSlow
}

// probing reports whether it is not known whether the viewer reads.
func (p *pace) probing() bool { return len(p.probed) > 0 }

// unread returns how much the peer has not read, given its window.
func (p *pace) unread(window uint64) uint64 {
	p.widest = max(p.widest, window)
	unread := p.widest - window
	return unread - min(unread, p.narrowed(unread))
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

// limit returns how large the backlog may be. The window of a peer with a large buffer
// shrinks by the memory that the unread data takes, which is more than it has bytes.
func (p *pace) limit() uint64 {
	if p.widest > selfMade {
		return wideBacklog
	}
	return maxBacklog
}

// reads reports whether a seemingly stalled viewer reads nevertheless: the probes have
// not shrunk its window.
func (p *pace) reads(window uint64) bool {
	n := len(p.probed)
	return n >= judgedBy && window+step >= p.probed[n-judgedBy]
}
