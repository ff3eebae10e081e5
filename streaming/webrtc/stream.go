package webrtc

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/streaming/upstream"
)

// streams are the flows that somebody watches.
type streams struct {
	mu     sync.Mutex
	fans   []*fan
	all    map[*upstream.Flow]*stream
	closed bool
}

// stream is the reader of a flow: it gives what the camera plays to each viewer of it.
type stream struct {
	flow         *upstream.Flow
	video, audio int // tracks; -1: none
	detach       func()
	formats      []format.Format // by track
	users        int             // guarded by the streams' mutex

	fans []*fan

	mu       sync.Mutex
	marks    marker // of the video
	now      *burst // of the current picture
	picture  uint32 // its timestamp
	begun    bool
	unmarked bool // the ends of pictures are not marked
	ended    bool // the flow has ended
	viewers  []*viewer
}

// maxPayload is how large the payload of a packet may be, in bytes: with what is added to it
// for SRTP, UDP and IPv6 it fits Ethernet. Cameras may send larger ones.
const maxPayload = 1500 - 40 - 8 - 16 - 12

// piece is one packet for viewers, who share it.
type piece struct {
	track     int
	number    uint16 // of the camera's packet
	follows   bool   // it is another part of the camera's packet before it
	marker    bool
	payload   []byte
	timestamp uint32
	begins    bool   // a decoder can start here
	sets      []byte // payload of a packet of parameter sets before it; nil: it needs none
	resumes   bool   // what was before it is left out
}

// of returns the stream of a flow for a user, who must leave it.
func (s *streams) of(flow *upstream.Flow) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	st := s.all[flow]
	if st == nil {
		st = newStream(flow, s.fans)
		var err error
		if _, st.detach, err = flow.Attach(st); err != nil {
			return nil, err
		}
		s.all[flow] = st
	}
	st.users++
	return st, nil
}

// leave ends the use of a stream.
func (s *streams) leave(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.users--; st.users == 0 {
		delete(s.all, st.flow)
		st.detach()
	}
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func newStream(flow *upstream.Flow, fans []*fan) *stream {
	st := &stream{flow: flow, video: -1, audio: -1, fans: fans, now: &burst{}}
	for n, m := range flow.Description().Medias {
		st.formats = append(st.formats, m.Formats[0])
		switch {
		case m.Type == description.MediaTypeVideo && st.video < 0:
			st.video, st.marks = n, newMarker(m.Formats[0])
		case m.Type == description.MediaTypeAudio && st.audio < 0 && mimeOf(m.Formats[0]) != "":
			st.audio = n
		}
	}
	return st
}

// format returns the format of a track; nil for -1.
func (st *stream) format(track int) format.Format {
	if track < 0 {
		return nil
	}
	return st.formats[track]
}

// Take collects the packets of a picture, and gives them to every viewer at its end. A large
// picture is given in parts, and sound at once.
func (st *stream) Take(p upstream.Packet) {
	if p.Track != st.video && p.Track != st.audio || p.Data[1]&0x7f != st.format(p.Track).PayloadType() {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	next := p.Track == st.video && (!st.begun || upstream.Timestamp(p.Data) != st.picture)
	if next {
		st.checkOrder()
	}
	st.collect(p, next)
}

// collect takes a packet; next reports that with it a picture begins.
func (st *stream) collect(p upstream.Packet, next bool) {
	list := st.pieces(p, &st.marks, p.Key)
	if p.Track == st.audio {
		if len(list) == 0 {
			return
		}
		sound := &burst{}
		for _, out := range list {
			sound.add(out)
		}
		st.give(sound, false)
		return
	}
	if next {
		st.unmarked = len(st.now.pieces) > 0
		st.flush()
		st.begun, st.picture = true, upstream.Timestamp(p.Data)
	}
	for _, out := range list {
		st.now.add(out)
	}
	if ends := p.Data[1]&0x80 != 0; ends || st.unmarked || st.now.bytes >= maxTurn {
		st.flush()
	}
}

// flush gives what was collected of the picture.
func (st *stream) flush() {
	if len(st.now.pieces) == 0 {
		return
	}
	b := st.now
	st.now = &burst{pieces: make([]piece, 0, len(b.pieces)+1)}
	st.give(b, true)
}

// give gives a burst to every viewer.
func (st *stream) give(b *burst, video bool) {
	for _, v := range st.viewers {
		if v.box.offer(b, video) {
			v.fan.rouse(v)
		}
	}
	for _, f := range st.fans {
		f.signal()
	}
}

// pieces returns what viewers get of a packet; key reports that a decoder can start with its
// picture. It is nothing if the packet is too large and cannot be split.
func (st *stream) pieces(p upstream.Packet, marks *marker, key bool) []piece {
	whole := piece{
		track: p.Track, number: upstream.Sequence(p.Data), marker: p.Data[1]&0x80 != 0,
		payload: upstream.Payload(p.Data), timestamp: upstream.Timestamp(p.Data),
	}
	payloads := [][]byte{whole.payload}
	if len(whole.payload) > maxPayload {
		if payloads = upstream.Split(st.format(p.Track), whole.payload, maxPayload); len(payloads) == 0 {
			return nil
		}
	}
	if p.Track == st.video {
		marks.mark(&whole, key)
	}
	list := make([]piece, len(payloads))
	at := 0 // bytes before it
	for n, payload := range payloads {
		list[n] = whole
		list[n].payload = payload
		if n > 0 {
			list[n].timestamp += upstream.Later(st.format(p.Track), at)
			list[n].follows, list[n].begins, list[n].sets = true, false, nil
		}
		// The last packet of a picture is marked, and the first of what somebody says.
		list[n].marker = whole.marker && (n == len(payloads)-1 && p.Track == st.video || n == 0 && p.Track != st.video)
		at += len(payload)
	}
	return list
}

// checkOrder ends the viewers of a stream whose pictures turn out to come in another order
// than they are shown in: browsers would stutter.
func (st *stream) checkOrder() {
	if len(st.viewers) == 0 || !st.flow.Facts().Video.BFrames {
		return
	}
	for _, v := range st.viewers {
		v.end(endedBFrames)
	}
}

// End ends every viewer, also those that have still to join.
func (st *stream) End(error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ended = true
	for _, v := range st.viewers {
		v.end(endedCamera)
	}
}

// join gives a viewer what was played since the last key frame, squeezed, and then what the
// camera plays.
func (st *stream) join(v *viewer) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		v.end(endedCamera)
		return
	}
	v.start(st.catchUp())
	st.viewers = append(st.viewers, v)
}

// rejoin is join for a viewer that has joined.
func (st *stream) rejoin(v *viewer) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if slices.Contains(st.viewers, v) {
		v.start(st.catchUp())
	}
}

// catchUp is what a viewer gets first. It holds at least what was taken so far; what follows
// of it is late then. The caller holds mu.
func (st *stream) catchUp() []*burst {
	gop := st.flow.GOP(st.video)
	squeeze := gop.Squeeze()
	marks := st.marks
	marks.known = false
	var list []*burst
	for _, p := range gop.Packets {
		if p.Data[1]&0x7f != st.format(st.video).PayloadType() {
			continue
		}
		first := len(list) == 0
		for _, out := range st.pieces(p, &marks, p.Key || first) {
			out.timestamp, out.resumes = squeeze.Map(out.timestamp), len(list) == 0
			if n := len(list); n == 0 || list[n-1].bytes >= maxTurn-maxPayload {
				list = append(list, &burst{})
			}
			list[len(list)-1].add(out)
		}
	}
	return list
}

func (st *stream) part(v *viewer) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.viewers = slices.DeleteFunc(st.viewers, func(other *viewer) bool { return other == v })
}

// marker finds where decoders can start in a track of video, and what they need there.
type marker struct {
	h265   bool
	sets   []byte // the payload with the parameter sets of the description; nil: it has none
	inBand bool   // the camera sends them between the pictures
	known  bool   // key is set
	key    uint32 // timestamp of the last picture that a decoder can start with
}

func newMarker(f format.Format) marker {
	switch f := f.(type) {
	case *format.H264:
		sps, pps := f.SafeParams()
		return marker{sets: aggregate([]byte{0x78}, sps, pps)} // STAP-A (RFC 6184, section 5.7.1)
	case *format.H265:
		vps, sps, pps := f.SafeParams()
		return marker{h265: true, sets: aggregate([]byte{0x60, 0x01}, vps, sps, pps)} // AP (RFC 7798, section 4.4.2)
	}
	return marker{}
}

// maxSets is how large the packet of parameter sets may be.
const maxSets = 1200

// aggregate returns the payload of a packet with several units; nil if one is missing or
// they are too large.
func aggregate(header []byte, units ...[]byte) []byte {
	out := slices.Clone(header)
	for _, unit := range units {
		if len(unit) == 0 || len(out)+2+len(unit) > maxSets {
			return nil
		}
		out = binary.BigEndian.AppendUint16(out, uint16(len(unit)))
		out = append(out, unit...)
	}
	return out
}

// mark marks a packet; key reports that a decoder can start with its picture.
func (m *marker) mark(p *piece, key bool) {
	m.inBand = m.inBand || m.hasSPS(p.payload)
	if !key || m.known && p.timestamp == m.key {
		return
	}
	m.known, m.key = true, p.timestamp
	p.begins = true
	if !m.inBand {
		p.sets = m.sets
	}
}

// hasSPS reports whether a payload has a sequence parameter set.
func (m *marker) hasSPS(payload []byte) bool {
	kind, single, many, header := h264Kind, byte(7), byte(24), 1
	if m.h265 {
		kind, single, many, header = h265Kind, 33, 48, 2
	}
	if len(payload) < header {
		return false
	}
	if k := kind(payload); k != many {
		return k == single
	}
	for rest := payload[header:]; len(rest) > 2; {
		size := int(binary.BigEndian.Uint16(rest))
		if size == 0 || len(rest) < 2+size {
			return false
		}
		if kind(rest[2:]) == single {
			return true
		}
		rest = rest[2+size:]
	}
	return false
}

func h264Kind(unit []byte) byte { return unit[0] & 0x1f }
func h265Kind(unit []byte) byte { return unit[0] >> 1 & 0x3f }
