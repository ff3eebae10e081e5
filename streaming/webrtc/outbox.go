package webrtc

import "sync"

const (
	// maxQueue is how much may wait for a viewer, in bytes of packets that others share. One
	// that is slower loses pictures up to the next key frame.
	maxQueue = 4 << 20
	// maxTurn is how much of the catch-up is sent at once, in bytes. Between two turns is a
	// pause: the buffer of the viewer's socket is small.
	maxTurn = 24 << 10
)

// outbox has what is to be sent to a viewer.
type outbox struct {
	wake chan struct{} // of one: something came

	mu      sync.Mutex
	catch   []piece // goes first
	live    []piece
	bytes   int  // of live
	waiting bool // for a picture that a decoder can start with
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// start begins with the catch-up. Without one, the viewer waits for a key frame.
func (o *outbox) start(catch []piece) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
	o.catch, o.waiting = catch, len(catch) == 0
	o.signal()
}

// offer gives a live packet.
func (o *outbox) offer(p piece, video bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes+len(p.payload) > maxQueue {
		o.drop()
	}
	if video && o.waiting {
		if !p.begins {
			return
		}
		o.waiting, p.resumes = false, true
	}
	o.live = append(o.live, p)
	o.bytes += len(p.payload)
	o.signal()
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

// take returns what to send next. more reports whether something of the catch-up is left.
func (o *outbox) take() (list []piece, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.catch) == 0 {
		list, o.live, o.bytes = o.live, nil, 0
		return list, false
	}
	n := 0
	for size := 0; n < len(o.catch) && size < maxTurn; n++ {
		size += len(o.catch[n].payload)
	}
	list, o.catch = o.catch[:n], o.catch[n:]
	if len(o.catch) == 0 {
		o.catch = nil
		o.signal() // for what is live
	}
	return list, o.catch != nil
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
