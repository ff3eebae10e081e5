package upstream

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

// MaxGOP is how much of a channel's video is cached, in bytes of memory. A GOP that would
// exceed that with what is cached of the channel's other tracks is not cached.
const MaxGOP = 8 << 20

// costOf returns the memory of a cached packet, in bytes: a camera may send tiny ones.
func costOf(p Packet) int { return len(p.Data) + packetCost }

// packetCost is that of a packet without data: itself, in a list that grows, and what the
// allocation of its data is rounded up by.
const packetCost = 128

// space is what the caches of a channel share: all tracks of both its streams.
type space struct{ used atomic.Int64 } // bytes

// take takes n bytes, or nothing if less is left.
func (s *space) take(n int) bool {
	if s.used.Add(int64(n)) <= MaxGOP {
		return true
	}
	s.give(n)
	return false
}

func (s *space) give(n int) { s.used.Add(-int64(n)) }

// GOP is what a track has played since its last key frame, with that: the packets from
// which a decoder can start. They must not be modified.
type GOP struct {
	Packets   []Packet
	clockRate int
}

// Until returns the packets up to one with this sequence number.
func (g GOP) Until(seq uint16) GOP {
	n := len(g.Packets)
	for n > 0 && int16(Sequence(g.Packets[n-1].Data)-seq) > 0 {
		n--
	}
	g.Packets = g.Packets[:n]
	return g
}

// burst is the media time in which a squeezed GOP is shown, in milliseconds.
const burst = 40

// Squeeze maps the timestamps of a GOP to such that a player shows all of it within 40 ms
// and is then where the camera is: what was already due is moved close before the live
// point, in the same order, and what is still due keeps its timestamp.
type Squeeze struct {
	live       uint32 // no packet that follows the GOP is due before
	span, into uint32 // of media time before it: as it was, and squeezed
}

// Squeeze returns the mapping for this GOP.
func (g GOP) Squeeze() Squeeze {
	if len(g.Packets) == 0 {
		return Squeeze{}
	}
	origin := Timestamp(g.Packets[0].Data)
	var newest, oldest, behind int32 // relative to origin
	pictures, last := int32(0), origin+1
	for _, p := range g.Packets {
		ts := Timestamp(p.Data)
		at := int32(ts - origin)
		newest, oldest = max(newest, at), min(oldest, at)
		behind = max(behind, newest-at) // how far B-frames lie back
		if ts != last {
			pictures, last = pictures+1, ts
		}
	}
	live := newest - behind
	into := max(int32(g.clockRate*burst/1000), pictures)
	if span := live - oldest; span > into {
		return Squeeze{live: origin + uint32(live), span: uint32(span), into: uint32(into)}
	}
	return Squeeze{live: origin + uint32(live), span: 1, into: 1}
}

// Map returns the timestamp to send instead of this one.
func (s Squeeze) Map(ts uint32) uint32 {
	before := int32(s.live - ts)
	if before <= 0 || s.span == 0 {
		return ts
	}
	return s.live - uint32(uint64(before)*uint64(s.into)/uint64(s.span))
}

// Sequence returns the sequence number of an RTP packet.
func Sequence(packet []byte) uint16 { return binary.BigEndian.Uint16(packet[2:]) }

// Timestamp returns the timestamp of an RTP packet.
func Timestamp(packet []byte) uint32 { return binary.BigEndian.Uint32(packet[4:]) }

// Payload returns the payload of an RTP packet (RFC 3550, section 5.1); nil if the packet
// is broken.
func Payload(packet []byte) []byte {
	if len(packet) < 12 || packet[0]>>6 != 2 {
		return nil
	}
	begin, end := 12+4*int(packet[0]&0x0f), len(packet)
	if packet[0]&0x10 != 0 {
		if len(packet) < begin+4 {
			return nil
		}
		begin += 4 + 4*int(binary.BigEndian.Uint16(packet[begin+2:]))
	}
	if packet[0]&0x20 != 0 {
		end -= int(packet[len(packet)-1])
	}
	if begin > end {
		return nil
	}
	return packet[begin:end]
}

// cache keeps the GOP of one track of video.
type cache struct {
	look  func(payload []byte) content // nil: not known for the codec, nothing is cached
	mixed bool                         // there are several formats: nothing is cached
	space *space
	clock int

	mu      sync.Mutex
	packets []Packet // since the last key frame; before the first one, of the last picture
	bytes   int      // of packets, taken of the space
	closed  bool
	complete,
	tooLong bool

	unit    int // the first of packets that belongs to the last picture
	ts      uint32
	picture bool // the unit has more than parameter sets
	key     bool // the unit is where the packets begin
}

// content is what a packet has of a picture.
type content struct {
	key     bool   // the beginning of one that can be decoded without others, or parameter sets
	intra   bool   // the beginning of one that can be decoded without others
	picture bool   // any part of one
	sps     []byte // the first sequence parameter set that is whole
	tooLong bool   // with this packet the GOP exceeds what is cached
}

// newCache returns the cache for a media.
func newCache(m *description.Media, s *space) *cache {
	c := &cache{space: s}
	if m.Type != description.MediaTypeVideo || len(m.Formats) == 0 {
		return c
	}
	c.mixed, c.clock = len(m.Formats) > 1, m.Formats[0].ClockRate()
	c.look = lookInto(m.Formats[0])
	return c
}

var inH264, inH265 = h264Codec.content, h265Codec.content

// lookInto returns what reads the payloads of a format, or nil if its pictures are not known
// here.
func lookInto(f format.Format) func(payload []byte) content {
	switch codecName(f) {
	case "H264":
		return inH264
	case "H265":
		return inH265
	case "JPEG":
		return inMJPEG
	}
	return nil
}

// Begins reports whether a decoder can start with a payload: with a key frame or the
// parameter sets before it. known is false for formats of which that is not known here.
func Begins(f format.Format, payload []byte) (begins, known bool) {
	look := lookInto(f)
	return look != nil && len(payload) > 0 && look(payload).key, look != nil
}

// add takes a packet, and returns what it has. Where that is not known, a decoder may
// start with any packet.
func (c *cache) add(p Packet) (has content) {
	if c.look == nil {
		return content{key: true}
	}
	payload := Payload(p.Data)
	if len(payload) == 0 {
		return content{}
	}
	has = c.look(payload)
	if c.mixed {
		has.key = true
		return has
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return has
	}
	if ts := Timestamp(p.Data); len(c.packets) == 0 || c.picture && ts != c.ts {
		if !c.complete {
			c.drop()
		}
		c.unit, c.ts, c.picture, c.key = len(c.packets), ts, false, false
	}
	c.picture = c.picture || has.picture
	if has.key && !c.key {
		c.begin()
	}
	if c.space.take(costOf(p)) {
		c.packets = append(c.packets, p)
		c.bytes += costOf(p)
	} else {
		c.tooLong = c.tooLong || c.complete
		c.drop()
		c.complete, c.unit = false, 0
	}
	has.tooLong = c.tooLong
	return has
}

// drop lets the packets go.
func (c *cache) drop() {
	c.space.give(c.bytes)
	c.packets, c.bytes = nil, 0
}

// close lets the packets go, and caches none any more.
func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
	c.closed, c.complete = true, false
}

// begin makes the packets begin with the picture that is being received.
func (c *cache) begin() {
	unit := c.packets[c.unit:]
	c.packets = append(make([]Packet, 0, max(len(c.packets), 64)), unit...) // the old ones are in use
	before := c.bytes
	c.bytes = 0
	for _, p := range c.packets {
		c.bytes += costOf(p)
	}
	c.space.give(before - c.bytes)
	c.complete, c.tooLong, c.unit, c.key = true, false, 0, true
}

// gop returns what is cached: nothing if that is not from a key frame on.
func (c *cache) gop() GOP {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.complete {
		return GOP{}
	}
	return GOP{Packets: c.packets[:len(c.packets):len(c.packets)], clockRate: c.clock}
}

// inMJPEG reads a payload of RFC 2435: a picture begins at offset 0.
func inMJPEG(p []byte) content {
	return content{picture: true, intra: true, key: len(p) >= 4 && p[1]|p[2]|p[3] == 0}
}
