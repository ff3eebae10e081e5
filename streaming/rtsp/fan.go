package rtsp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"latchkey/domain/ids"
	"latchkey/streaming/upstream"
)

// streams are the streams for viewers, one for each requested flow.
type streams struct {
	mu     sync.Mutex
	all    map[*upstream.Flow]*stream
	closed bool

	packets, bytes uint64 // given to viewers by ended streams
}

// stream is the reader of a flow, for as long as that lasts, and gives what the camera
// plays to all viewers of it. The library's stream has the description, the SSRCs and the
// sessions; packets do not pass through it.
type stream struct {
	*gortsplib.ServerStream
	door   *Door
	flow   *upstream.Flow
	tracks []*track
	cname  string
	opened time.Time
	detach func()
	once   sync.Once

	mu      sync.Mutex
	viewers []*viewer
	groups  map[ids.Key]*group // of viewers by multicast
	behind  []*outbox          // to be tried again
	due     []due              // reports
	batch   batch
	unheard int           // tracks of which nothing was received yet
	heard   chan struct{} // closed when unheard is zero

	packets, bytes uint64 // given to viewers
}

// due is a subscription that gets a report.
type due struct {
	box *outbox
	sub *sub
}

// track is a track of a stream. The stream's mutex guards it.
type track struct {
	video bool
	ssrc  uint32
	clock int

	now  *burst // being collected
	mid  bool   // its picture was begun by an earlier burst
	keys bool   // key frames can be told from others

	last      upstream.Packet // given to viewers
	has       bool            // last is set
	before    uint32          // the timestamp before that of last
	timestamp uint32          // of now
	markers   bool            // the last picture ended with one
	timer     *time.Timer     // sends a picture whose end is not marked
}

// of returns the stream of the flow, creating it if needed.
func (s *streams) of(flow *upstream.Flow, d *Door) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.all[flow]; st != nil {
		return st, nil
	}
	if s.closed {
		return nil, net.ErrClosed
	}
	st := &stream{
		ServerStream: &gortsplib.ServerStream{Server: d.server, Desc: withBackChannel(flow.Description())},
		door:         d, flow: flow, opened: time.Now(), heard: make(chan struct{}),
		cname: fmt.Sprintf("%016x", rand.Uint64()),
	}
	if err := st.Initialize(); err != nil {
		return nil, err
	}
	stats := st.Stats()
	for n, m := range flow.Description().Medias {
		f := m.Formats[0]
		t := &track{video: m.Type == description.MediaTypeVideo, clock: f.ClockRate(), ssrc: stats.Medias[m].Formats[f].LocalSSRC, markers: true}
		t.now = &burst{track: n, video: t.video, channel: byte(2 * n)}
		st.tracks = append(st.tracks, t)
	}
	st.unheard = len(st.tracks)
	if err := st.attach(); err != nil {
		st.ServerStream.Close()
		return nil, err
	}
	s.all[flow] = st
	return st, nil
}

// attach begins to read the flow. What that has played since the last key frame, viewers
// get from its cache.
func (st *stream) attach() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	before, detach, err := st.flow.Attach(st)
	if err != nil {
		return err
	}
	st.detach = detach
	for n, g := range before {
		if len(g.Packets) == 0 {
			continue
		}
		t, last := st.tracks[n], g.Packets[len(g.Packets)-1]
		t.last, t.has, t.keys = last, true, true
		t.timestamp = upstream.Timestamp(last.Data)
		t.before = t.timestamp
		t.mid = !isMarked(last.Data)
		st.hear()
	}
	return nil
}

// hear notes that a track was heard for the first time.
func (st *stream) hear() {
	if st.unheard--; st.unheard == 0 {
		close(st.heard)
	}
}

// isMarked reports whether a packet of video is the last of its picture.
func isMarked(packet []byte) bool { return packet[1]&0x80 != 0 }

// unmarkedWait is how long a picture is collected if the camera does not mark the ends.
const unmarkedWait = 5 * time.Millisecond

// Take collects the packets of a picture, and gives them to every viewer.
func (st *stream) Take(p upstream.Packet) {
	st.mu.Lock()
	defer st.mu.Unlock()
	t := st.tracks[p.Track]
	if !t.has && len(t.now.ends) == 0 {
		st.hear()
	}
	timestamp, marked := upstream.Timestamp(p.Data), isMarked(p.Data)
	if t.video && timestamp != t.timestamp {
		st.flush(t)
		t.mid = false
	}
	if len(t.now.ends) == 0 {
		t.now.first, t.timestamp = !t.mid, timestamp
	}
	t.keys = t.keys || p.Key
	t.now.key = t.now.key || p.Key
	t.now.add(p.Data, t.ssrc, timestamp)
	if t.has && upstream.Timestamp(t.last.Data) != timestamp {
		t.before = upstream.Timestamp(t.last.Data)
	} else if !t.has {
		t.before = timestamp
	}
	t.last = p
	switch {
	case !t.video || marked:
		t.markers = true
		st.flush(t)
		t.mid = false
	case len(t.now.data) >= maxBurst:
		st.flush(t)
		t.mid = true
	case !t.markers && len(t.now.ends) == 1:
		st.flushLater(t)
	}
}

// flushLater sends what was collected if nothing ends the picture soon.
func (st *stream) flushLater(t *track) {
	if t.timer == nil {
		t.timer = time.AfterFunc(unmarkedWait, func() {
			st.mu.Lock()
			defer st.mu.Unlock()
			t.mid = t.mid || len(t.now.ends) > 0
			st.flush(t)
		})
		return
	}
	t.timer.Reset(unmarkedWait)
}

// flush gives what was collected to every viewer.
func (st *stream) flush(t *track) {
	b := t.now
	if len(b.ends) == 0 {
		return
	}
	t.has = true
	b.key = b.key || !t.keys // nothing is known of key frames: each picture may be one
	b.at = monotonic()
	st.deliver(b)
	if b.kept {
		t.now = &burst{track: b.track, video: b.video, channel: b.channel, data: make([]byte, 0, len(b.data))}
		return
	}
	b.reset()
}

func (st *stream) deliver(b *burst) {
	if !st.door.live() {
		st.door.dropped(upstream.DroppedNotLive, len(b.ends))
		for _, v := range st.viewers {
			v.box.miss(b.track)
		}
		return
	}
	given := 0
	batch := st.door.batches.get(len(st.viewers))
	if batch != nil {
		defer st.door.batches.put(batch)
	}
	flush := func() {
		batch.flush(func(h held, n int, err error) {
			switch h.box.wrote(b, h.sub, n, err) {
			case refused:
				given--
			case begun:
				st.behind = append(st.behind, h.box)
			}
		})
	}
	for _, v := range st.viewers {
		what, s := v.box.offer(b, batch)
		switch what {
		case refused:
			continue
		case begun:
			st.behind = append(st.behind, v.box)
		case joined:
			if batch.full() {
				flush()
			}
		case together, reported:
			st.batch.add(st.door.udp, b, v.box, &s.rtp)
			if what == reported {
				st.due = append(st.due, due{v.box, s})
			}
		}
		given++
	}
	if batch != nil {
		flush()
	}
	st.batch.flush(st.door.udp, b)
	for n, d := range st.due {
		d.box.sentTogether(b, d.sub)
		st.due[n] = due{}
	}
	st.due = st.due[:0]
	for n, box := range st.behind {
		box.again()
		st.behind[n] = nil
	}
	st.behind = st.behind[:0]
	st.packets += uint64(given * len(b.ends))
	st.bytes += uint64(given * (len(b.data) - 4*len(b.ends)))
}

// awaitHeard waits until a packet of each track has arrived, but not long after the camera
// began to play: before that, where the tracks begin is unknown.
func (st *stream) awaitHeard(done <-chan struct{}) {
	const most = 500 * time.Millisecond
	left := time.Until(st.opened.Add(most))
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-st.heard:
	case <-timer.C:
	case <-done:
	}
}

// join gives the viewer what the camera plays from now on, and before that what was
// played since the last key frame. It returns where each track begins. Nothing is sent
// before the response to PLAY.
func (st *stream) join(v *viewer) []startsAt {
	st.mu.Lock()
	defer st.mu.Unlock()
	if v.left {
		return nil
	}
	if v.group != nil {
		return st.joinGroup(v)
	}
	starts := make([]startsAt, len(st.tracks))
	catch := &catchUp{}
	for n, t := range st.tracks {
		s := &v.subs[n]
		if !s.on {
			continue
		}
		s.packets, s.octets, s.report, s.waiting, s.skipping = 0, 0, 0, false, t.mid
		starts[n] = t.next()
		if !t.has {
			continue
		}
		p := st.cached(n, t)
		p.channel = s.channel
		if len(p.packets) > 0 {
			first := p.packets[0].Data
			starts[n] = startsAt{true, upstream.Sequence(first), p.squeeze.Map(upstream.Timestamp(first))}
			for _, cached := range p.packets {
				s.packets++
				s.octets += uint32(len(upstream.Payload(cached.Data)))
				st.bytes += uint64(len(cached.Data))
			}
			st.packets += uint64(len(p.packets))
			s.skipping = false
			catch.parts = append(catch.parts, p)
		}
	}
	slices.SortStableFunc(catch.parts, func(a, b part) int { // sound after the pictures before it
		switch {
		case a.video == b.video:
			return 0
		case a.video:
			return -1
		}
		return 1
	})
	if len(catch.parts) == 0 {
		catch = nil
	}
	v.box.start(st, v.subs, catch, func() {
		st.door.log.Warn("a viewer is too slow and loses pictures", "viewer", v.id, "device", v.device, "channel", v.channel)
	})
	if !slices.Contains(st.viewers, v) {
		st.viewers = append(st.viewers, v)
	}
	return starts
}

// next returns where the track begins for a viewer who gets nothing of the cache.
func (t *track) next() startsAt {
	switch {
	case len(t.now.ends) > 0:
		return startsAt{true, t.given() + 1, t.timestamp}
	case t.has:
		return startsAt{true, t.given() + 1, t.timestamp + (t.timestamp - t.before)}
	}
	return startsAt{}
}

// given returns the number of the last packet that viewers got.
func (t *track) given() uint16 { return upstream.Sequence(t.last.Data) - uint16(len(t.now.ends)) }

// cached returns what a new viewer gets of a track from the cache.
func (st *stream) cached(n int, t *track) part {
	p := part{track: n, video: t.video, ssrc: t.ssrc}
	if !t.video {
		p.packets = []upstream.Packet{t.last}
		return p
	}
	g := st.flow.GOP(n).Until(t.given())
	p.packets, p.squeeze = g.Packets, g.Squeeze()
	return p
}

// leave ends what a viewer gets: nothing is sent after it has returned, except for
// responses.
func (st *stream) leave(v *viewer, forGood bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	v.left = v.left || forGood
	if v.group != nil {
		st.leaveGroup(v, forGood)
	}
	st.viewers = slices.DeleteFunc(st.viewers, func(other *viewer) bool { return other == v })
	v.box.stop()
}

// End ends every viewer.
func (st *stream) End(error) { st.end() }

func (st *stream) end() {
	st.once.Do(func() {
		st.endViewers()
		st.ServerStream.Close()
		st.stopTimers()
		s := &st.door.streams
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, st.flow)
		packets, bytes := st.delivered()
		s.packets += packets
		s.bytes += bytes
	})
}

// endViewers ends what viewers get, and tells them so.
func (st *stream) endViewers() {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, v := range st.viewers {
		v.box.end()
	}
}

func (st *stream) stopTimers() {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, t := range st.tracks {
		if t.timer != nil {
			t.timer.Stop()
		}
	}
}

func (st *stream) delivered() (packets, bytes uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.packets, st.bytes
}

// close ends every stream. The flows continue for other readers.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	list := slices.Collect(maps.Values(s.all))
	s.mu.Unlock()
	for _, st := range list {
		st.detach()
		st.end()
	}
}

// count adds what was given to a viewer by other means.
func (s *streams) count(packets, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets += uint64(packets)
	s.bytes += uint64(bytes)
}

// delivered returns what was given to viewers since the door opened.
func (s *streams) delivered() (packets, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	packets, bytes = s.packets, s.bytes
	for _, st := range s.all {
		p, b := st.delivered()
		packets += p
		bytes += b
	}
	return packets, bytes
}
