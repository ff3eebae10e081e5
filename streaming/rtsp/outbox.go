package rtsp

import (
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"latchkey/streaming/upstream"
)

const (
	// maxQueue is how much waits for a viewer, in bytes: several of the largest key frames
	// that cameras send.
	maxQueue = 8 << 20
	// maxLag is how far a viewer may be behind. One that cannot keep up goes on with the
	// next key frame.
	maxLag = 3 * time.Second
	// maxControl is how many responses and reports may wait, in bytes.
	maxControl = 64 << 10
	// The pauses of chase: the first one, which a viewer that reads gets, and the longest.
	chaseFirst, chaseMost = 2 * time.Millisecond, 64 * time.Millisecond
)

// way is how bursts are sent to one viewer, over TCP or UDP. Neither method blocks.
type way interface {
	// size returns the size of a burst, in units of the way.
	size(b *burst, s *sub) int
	// send sends a burst from one of its units on, and returns up to which. It returns an
	// error if the viewer cannot receive anything any more.
	send(b *burst, s *sub, from int) (int, error)
	// rest returns the rest of a packet of which a part was sent; nil if there is none.
	rest(b *burst, s *sub, done int) []byte
	// probing reports whether what is sent only finds out whether the viewer reads.
	probing() bool
	// giveUp ends the viewer, after an error.
	giveUp()
}

// sub is a viewer's subscription of one track. The outbox's mutex guards it.
type sub struct {
	on       bool // the track is set up
	waiting  bool // for a key frame, after a loss
	skipping bool // the picture that is being received is left out
	channel  byte // over TCP

	packets, octets uint32 // sent, or queued
	report          int64  // when the next one is due

	rtp, rtcp sockaddr // over UDP
}

// item is a burst of which a part may have been sent.
type item struct {
	*burst
	done int // units of the way
}

// outbox sends what viewers get, without blocking. What a viewer does not take waits in
// its outbox. If that becomes too much, the viewer loses whole pictures, up to the next
// key frame.
type outbox struct {
	mu     sync.Mutex
	closed bool
	corked bool // until the response to PLAY was sent
	quiet  bool // nothing is left to be sent, and it is not corked

	chasing  bool // a goroutine sends the rest
	subs     []sub
	way      way
	progress int64         // when something was sent, or there was nothing to send
	patience time.Duration // how long nothing may be taken, if that is longer than the door's

	now   item     // what is being sent, if any
	head  []item   // what comes next: a response, reports
	catch *catchUp // what comes after that
	queue []item   // and then
	bytes int      // in queue
	held  int      // of these, of responses and reports

	door *Door
	from *stream // of the reports
	lost func()
}

// start gives the outbox to a viewer, who gets the cached packets first. Nothing is sent
// before uncork or respond.
func (o *outbox) start(from *stream, subs []sub, catch *catchUp, lost func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.from, o.subs, o.catch, o.corked, o.lost, o.progress = from, subs, catch, true, lost, monotonic()
	o.settle()
}

// stop ends what the viewer gets: packets, not responses.
func (o *outbox) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.subs, o.catch, o.corked = nil, nil, false
	o.discard()
	o.truncate()
	o.settle()
}

// close ends everything.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.clear()
}

func (o *outbox) clear() {
	o.subs, o.now, o.head, o.catch, o.queue, o.bytes, o.held = nil, item{}, nil, nil, nil, 0, 0
}

// settle notes whether anything is left to be sent.
func (o *outbox) settle() {
	o.quiet = !o.corked && o.now.burst == nil && len(o.head) == 0 && o.catch == nil && len(o.queue) == 0
}

// outcome is what became of an offered burst.
type outcome int

const (
	refused  outcome = iota // the viewer does not get it
	taken                   // it was sent, or waits for those before it
	begun                   // it was sent in part, and nothing sends the rest yet
	together                // it shall be sent together with those of other viewers
	reported                // the same, and a report after it
	joined                  // it is in the batch
)

// offer sends a burst if the viewer gets its track, or queues it. If it is joined to the
// batch, the outbox stays locked until wrote.
func (o *outbox) offer(b *burst, batch *tcpBatch) (what outcome, s *sub) {
	o.mu.Lock()
	defer func() {
		if what != joined {
			o.mu.Unlock()
		}
	}()
	return o.take(b, batch)
}

func (o *outbox) take(b *burst, batch *tcpBatch) (outcome, *sub) {
	s := o.accept(b)
	if s == nil {
		return refused, nil
	}
	if !o.quiet {
		o.push(item{burst: b})
		return taken, s
	}
	o.progress = b.at
	switch w := o.way.(type) {
	case *udpWay:
		if !w.takes(b) {
			break
		}
		if b.at >= s.report {
			return reported, s
		}
		return together, s
	case *tcpWay:
		if data := b.on(s.channel); batch != nil && w.pace.room(w.fd, len(data)) == len(data) {
			batch.add(o, s, w.fd, data)
			return joined, s
		}
	}
	done, err := o.way.send(b, s, 0)
	return o.sent(b, s, done, err), s
}

// wrote notes how much of a burst a batch wrote, or why nothing.
func (o *outbox) wrote(b *burst, s *sub, n int, err error) outcome {
	defer o.mu.Unlock()
	if w, ok := o.way.(*tcpWay); ok {
		w.pace.used(n)
	}
	return o.sent(b, s, n, err)
}

// sent notes how much of a burst was sent.
func (o *outbox) sent(b *burst, s *sub, done int, err error) outcome {
	if err != nil {
		o.fail()
		return refused
	}
	if done < o.way.size(b, s) {
		o.now, b.kept, o.quiet = item{b, done}, true, false
		if !o.chasing {
			return begun
		}
	}
	if b.at >= s.report {
		o.sendReport(b, s)
	}
	return taken
}

// requeue takes back what was not sent together with the bursts of others.
func (o *outbox) requeue(b *burst, from int, alone bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if u, ok := o.way.(*udpWay); ok && alone {
		u.alone = true
	}
	o.now, b.kept, o.quiet = item{b, from}, true, false
	o.chase()
}

// sentTogether sends a report after a burst that was sent together with those of others.
func (o *outbox) sentTogether(b *burst, s *sub) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.sendReport(b, s)
	}
}

// accept counts a burst for its subscription, and returns that; nil if the viewer does
// not get it.
func (o *outbox) accept(b *burst) *sub {
	if o.closed || b.track >= len(o.subs) || !o.subs[b.track].on {
		return nil
	}
	s := &o.subs[b.track]
	if (!o.quiet || s.waiting || s.skipping) && !o.wants(b, s) {
		o.door.dropped(droppedQueue, len(b.ends))
		return nil
	}
	s.packets += uint32(len(b.ends))
	s.octets += b.octets
	return s
}

// wants decides about whole pictures: about each with its first burst.
func (o *outbox) wants(b *burst, s *sub) bool {
	full := o.full(b)
	switch {
	case !b.video:
		return !full
	case !b.first:
		return !s.skipping
	case b.key:
		if full {
			o.noteLoss(s)
			o.discard()
			o.catch.shorten()
		}
		s.waiting = false
	case full:
		o.noteLoss(s)
		s.waiting = true
	}
	s.skipping = s.waiting
	return !s.skipping
}

// full reports whether the viewer is too far behind to get the burst.
func (o *outbox) full(b *burst) bool {
	return len(o.queue) > 0 && (o.bytes+len(b.data) > maxQueue || b.at-o.queue[0].at > int64(o.door.maxLag))
}

// noteLoss counts a loss, and reports the first one.
func (o *outbox) noteLoss(s *sub) {
	if s.waiting { // it is the same one
		return
	}
	o.door.metrics.losses.Inc()
	if o.lost != nil {
		o.lost()
		o.lost = nil
	}
}

// miss makes a viewer wait for the next key frame, as it did not get a picture.
func (o *outbox) miss(track int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if track < len(o.subs) {
		o.subs[track].waiting, o.subs[track].skipping = true, true
	}
}

// discard empties the queue, except for responses, reports and the rest of a picture that
// was begun.
func (o *outbox) discard() {
	begun := map[int]bool{}
	if o.now.burst != nil && o.now.video {
		begun[o.now.track] = true
	}
	o.queue = slices.DeleteFunc(o.queue, func(it item) bool {
		if it.first {
			delete(begun, it.track)
		}
		if it.control || it.video && begun[it.track] && o.subs != nil {
			return false
		}
		o.bytes -= len(it.data)
		if it.track < len(o.subs) {
			o.subs[it.track].packets -= uint32(len(it.ends))
			o.subs[it.track].octets -= it.octets
		}
		o.door.dropped(droppedQueue, len(it.ends))
		return true
	})
}

func (o *outbox) push(it item) {
	it.kept, o.quiet = true, false
	o.queue = append(o.queue, it)
	o.bytes += len(it.data)
	if it.control {
		it.at = monotonic() // the age of the queue counts from it, too
		o.held += len(it.data)
	}
}

// truncate leaves of what is being sent only the packet that was begun.
func (o *outbox) truncate() {
	if o.now.burst == nil || o.now.control {
		return
	}
	rest := o.way.rest(o.now.burst, o.subOf(o.now.burst), o.now.done)
	if rest == nil {
		o.now = item{}
		return
	}
	o.now = item{burst: &burst{control: true, partial: true, data: slices.Clone(rest)}}
}

var noSub = &sub{}

// subOf returns the subscription that a burst is sent to.
func (o *outbox) subOf(b *burst) *sub {
	if b.track < len(o.subs) {
		return &o.subs[b.track]
	}
	return noSub
}

// next makes sure that something is being sent, and returns false if nothing is left.
func (o *outbox) next() bool {
	if o.now.burst != nil {
		return true
	}
	if o.catch != nil && len(o.head) == 0 {
		if b := o.catch.next(); b != nil {
			o.now = item{burst: b}
			return true
		}
		o.catch = nil
		o.reportAll()
	}
	if len(o.head) > 0 {
		o.now = o.head[0]
		if o.head = o.head[1:]; len(o.head) == 0 {
			o.head = nil
		}
		return true
	}
	if len(o.queue) == 0 {
		return false
	}
	o.now = o.queue[0]
	o.queue[0] = item{}
	o.queue = o.queue[1:]
	if len(o.queue) == 0 {
		o.queue = nil
	}
	o.bytes -= len(o.now.data)
	if o.now.control {
		o.held -= len(o.now.data)
	}
	return true
}

// drain sends as much as it can, and reports whether that was anything. While it is not
// known what is permitted, only responses and reports are sent.
func (o *outbox) drain() (moved bool) {
	defer o.settle()
	live := o.door.live()
	if !live {
		o.forgetAll()
	}
	for !o.closed && !o.corked && o.next() && (live || !o.now.partial) {
		s := o.subOf(o.now.burst)
		done, err := o.way.send(o.now.burst, s, o.now.done)
		if err != nil {
			o.fail()
			return moved
		}
		if done > o.now.done {
			moved = true
			if !o.way.probing() {
				o.progress = monotonic()
			}
		}
		o.now.done = done
		if done < o.way.size(o.now.burst, s) {
			return moved
		}
		release(o.now.burst)
		o.now = item{}
	}
	return moved
}

// again sends what is left of a burst that was just offered, and starts to chase the
// viewer if that is not all.
func (o *outbox) again() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drain()
	o.chase()
}

// chase sends the rest from a goroutine of its own.
func (o *outbox) chase() {
	if o.chasing || o.closed || o.quiet || o.corked {
		return
	}
	o.chasing = true
	o.progress = monotonic()
	go o.chaseLoop()
}

func (o *outbox) chaseLoop() {
	for pause := chaseFirst; ; pause = min(2*pause, chaseMost) {
		time.Sleep(pause)
		moved, goOn := o.chaseOn()
		if !goOn {
			return
		}
		if moved {
			pause = chaseFirst / 2
		}
	}
}

func (o *outbox) chaseOn() (moved, goOn bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	moved = o.drain()
	switch {
	case o.closed, o.quiet:
		o.chasing = false
		return moved, false
	case monotonic()-o.progress > int64(max(o.door.cfg.WriteTimeout, o.patience)):
		o.door.metrics.stalled.Inc()
		o.fail()
		o.chasing = false
		return moved, false
	}
	return moved, true
}

// forgetAll drops what waits, because it is not known any more whether it is permitted.
func (o *outbox) forgetAll() {
	o.progress = monotonic()
	if len(o.queue) == 0 && o.catch == nil && (o.now.burst == nil || o.now.control) {
		return
	}
	count := 0
	o.queue = slices.DeleteFunc(o.queue, func(it item) bool {
		if it.control {
			return false
		}
		count += len(it.ends)
		o.bytes -= len(it.data)
		return true
	})
	if o.now.burst != nil {
		count += len(o.now.ends)
	}
	o.truncate()
	o.catch = nil
	for n := range o.subs {
		o.subs[n].waiting, o.subs[n].skipping = true, true
	}
	o.settle()
	o.door.dropped(upstream.DroppedNotLive, count)
}

// fail ends the viewer's connection: it takes nothing, or cannot.
func (o *outbox) fail() {
	o.closed = true
	o.clear()
	go o.way.giveUp()
}

var errTooMany = errors.New("the player does not read the responses")

// respond sends a response over TCP, between packets. It is the first one after start.
func (o *outbox) respond(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0, net.ErrClosed
	}
	if o.held+len(b) > maxControl {
		return 0, errTooMany
	}
	if it := (item{burst: &burst{control: true, data: slices.Clone(b)}}); o.corked {
		o.head = append(o.head, it)
	} else {
		o.push(it)
	}
	o.corked = false
	o.drain()
	o.chase()
	return len(b), nil
}

// uncork begins to send to a viewer over UDP, whose response was sent.
func (o *outbox) uncork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corked = false
	o.drain()
	o.chase()
}
