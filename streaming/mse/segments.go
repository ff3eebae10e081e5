package mse

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"latchkey/streaming/fmp4"
)

const (
	// listed is how many segments a playlist has, or more if they last less than three times
	// the target duration (RFC 8216, section 6.2.2), or none of them can be decoded by itself.
	// Another as many are kept for players that have read an older playlist.
	listed = 6
	// fewest is how many segments the first playlist of a stream has. Safari and Chromium play
	// a single one and give up, and Chromium two if it is not quick.
	fewest = 3
	// shortest is how long a segment lasts at least, so that players of a camera that sends
	// nothing but key frames do not ask all the time.
	shortest = time.Second
	// longest is where the first segment is cut if no key frame comes. It bounds the target
	// duration, and how long a player waits for the fewest segments.
	longest = 2 * time.Second
	// maxSegment and maxSegments bound one segment and all that are kept, in bytes.
	maxSegment  = 4 << 20
	maxSegments = 16 << 20
)

// segment is what a player by HLS loads at once. It never changes once it is in a list.
type segment struct {
	number   int64
	init     *fmp4.Init
	mapped   int  // the number of init
	breaks   int  // discontinuities up to its beginning
	breaking bool // it begins with one
	key      bool // it begins with a key frame
	at       time.Time
	duration time.Duration
	data     []byte // whole fragments
}

// segments cuts a stream for players by HLS: one segment is a group of pictures, or several
// short ones. The target duration must never change (RFC 8216, section 6.2.1), so it is that
// of the first segment, and a group that lasts longer is cut.
type segments struct {
	now func() time.Time

	mu      sync.Mutex
	list    []*segment // complete
	bytes   int        // of list
	open    *segment   // nil: waiting for a key frame
	parts   [][]byte   // of open
	size    int        // of parts
	begun   int64      // when the first picture of open is decoded, in ticks
	due     int64      // where its last picture ends
	target  time.Duration
	ended   bool
	changed chan struct{} // closed when a segment is complete, or the stream has ended
}

func newSegments(now func() time.Time) *segments {
	return &segments{now: now, changed: make(chan struct{})}
}

// begin takes what was kept, as if it had come when it was shown.
func (g *segments) begin(kept []fmp4.Sample) {
	last := int64(0)
	for _, s := range kept {
		if s.Track == fmp4.VideoTrack {
			last = s.DTS + int64(s.Duration)
		}
	}
	now := g.now()
	for n, s := range kept {
		g.write(part{s, s.AppendFragment(nil, uint32(n+1))}, now.Add(-ticks(last-s.DTS-int64(s.Duration))))
	}
}

func (g *segments) take(p part) { g.write(p, g.now()) }

// write adds a part that was complete at a time.
func (g *segments) write(p part, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := p.sample
	if s.Track == fmp4.VideoTrack {
		g.picture(s, now)
	}
	if g.open != nil {
		g.parts = append(g.parts, p.data)
		g.size += len(p.data)
	}
}

// picture begins a segment before a picture, if one begins there.
func (g *segments) picture(s fmp4.Sample, now time.Time) {
	end := s.DTS + int64(s.Duration)
	before := g.open
	if before != nil && g.cuts(s, end) {
		g.complete()
	}
	if g.open == nil && (s.Key || before != nil && before.init == s.Init) {
		g.open = &segment{init: s.Init, key: s.Key, at: now.Add(-ticks(int64(s.Duration)))}
		g.begun = s.DTS
	}
	g.due = end
}

// cuts reports whether the open segment ends before a picture.
func (g *segments) cuts(s fmp4.Sample, end int64) bool {
	most := longest
	if g.target > 0 {
		most = g.target + 499*time.Millisecond // its duration is rounded to the target
	}
	switch lasts := ticks(g.due - g.begun); {
	case s.Init != g.open.init, ticks(end-g.begun) > most, g.size+len(s.Data) > maxSegment:
		return true
	default: // one that does not begin with a key frame ends at the next one
		return s.Key && (lasts >= shortest || !g.open.key)
	}
}

// complete ends the open segment, and drops those that are no longer needed.
func (g *segments) complete() {
	s := g.open
	s.duration, s.data = ticks(g.due-g.begun), bytes.Join(g.parts, nil)
	if n := len(g.list); n > 0 {
		last := g.list[n-1]
		s.number, s.mapped, s.breaks = last.number+1, last.mapped, last.breaks
		if last.init != s.init {
			s.mapped, s.breaks, s.breaking = last.mapped+1, last.breaks+1, true
		}
	}
	if g.target == 0 {
		g.target = max(shortest, (s.duration + time.Second - 1).Truncate(time.Second))
	}
	g.list = append(g.list, s)
	g.bytes += len(s.data)
	g.open, g.parts, g.size = nil, nil, 0
	for len(g.list) > 1 && (g.oldest() > listed || g.bytes > maxSegments) {
		g.bytes -= len(g.list[0].data)
		g.list = slices.Delete(g.list, 0, 1)
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// oldest returns the place of the first segment in playlists.
func (g *segments) oldest() int {
	at, lasts, key := len(g.list), time.Duration(0), false
	for ; at > 0 && (len(g.list)-at < listed || lasts < 3*g.target || !key); at-- {
		lasts += g.list[at-1].duration
		key = key || g.list[at-1].key
	}
	return at
}

// first returns the number of the segment that a new player begins with: it can be decoded
// from there, and is the newest such one that is far enough from the end (RFC 8216, section
// 6.3.3), if there is one.
func (g *segments) first() int64 {
	listed := g.list[g.oldest():]
	out, lasts := listed[0].number, time.Duration(0)
	for _, s := range slices.Backward(listed) {
		if lasts += s.duration; s.key {
			out = s.number
			if lasts >= 3*g.target {
				break
			}
		}
	}
	return out
}

func (g *segments) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		g.ended = true
		close(g.changed)
	}
}

// ticks is a time in ticks of the video.
func ticks(n int64) time.Duration {
	return time.Duration(n) * time.Second / fmp4.VideoScale
}
