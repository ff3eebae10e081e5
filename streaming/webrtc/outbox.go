package webrtc

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxQueue is how much may wait for a viewer, in bytes of packets that others share. One
	// that is slower loses pictures up to the next key frame.
	maxQueue = 4 << 20
	// maxTurn is how much a viewer is sent at once, in bytes, and turnPause the pause after
	// it: the buffer of the viewer's socket is small.
	maxTurn   = 24 << 10
	turnPause = time.Millisecond
)

// burst is packets of one track that are sent at once: a picture or a part of it. It does
// not change once it was offered.
type burst struct {
	pieces []piece
	bytes  int // of payload
}

func (b *burst) add(p piece) {
	b.pieces = append(b.pieces, p)
	b.bytes += len(p.payload) + len(p.sets)
}

// outbox has what is to be sent to a viewer.
type outbox struct {
	mu      sync.Mutex
	catch   []*burst // goes first
	live    []*burst
	bytes   int  // of live
	waiting bool // for a picture that a decoder can start with
}

// start begins with the catch-up. Without one, the viewer waits for a key frame.
func (o *outbox) start(catch []*burst) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
	o.catch, o.waiting = catch, len(catch) == 0
}

// offer gives a live burst, and reports whether the viewer takes it.
func (o *outbox) offer(b *burst, video bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes+b.bytes > maxQueue {
		o.drop()
	}
	if video && o.waiting {
		if b = b.resumed(); b == nil {
			return false
		}
		o.waiting = false
	}
	o.live = append(o.live, b)
	o.bytes += b.bytes
	return true
}

// resumed returns what a viewer can resume with; nil if it cannot.
func (b *burst) resumed() *burst {
	n := slices.IndexFunc(b.pieces, func(p piece) bool { return p.begins })
	if n < 0 {
		return nil
	}
	rest := &burst{}
	for _, p := range b.pieces[n:] {
		rest.add(p)
	}
	rest.pieces[0].resumes = true
	return rest
}

// drop leaves out what waits. The caller holds mu.
func (o *outbox) drop() {
	o.catch, o.live, o.bytes, o.waiting = nil, nil, 0, true
}

// miss leaves out what waits: a packet was not sent.
func (o *outbox) miss() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
}

// take returns what to send next. more reports whether something is left.
func (o *outbox) take() (list []*burst, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.catch) > 0 {
		list, o.catch, _ = turn(o.catch)
	} else {
		size := 0
		list, o.live, size = turn(o.live)
		o.bytes -= size
	}
	return list, len(o.catch)+len(o.live) > 0
}

// turn splits off what is sent at once.
func turn(all []*burst) (now, rest []*burst, size int) {
	n := 0
	for n < len(all) && (n == 0 || size+all[n].bytes <= maxTurn) {
		size += all[n].bytes
		n++
	}
	if n == len(all) {
		return all, nil, size
	}
	return all[:n:n], all[n:], size
}
