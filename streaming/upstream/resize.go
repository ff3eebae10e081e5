package upstream

import (
	"slices"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
)

// maxPacket is the largest RTP packet for viewers: it fits a datagram on Ethernet.
// Cameras send larger ones over TCP.
const maxPacket = 1472

// resizer splits the packets of one format that are too large for viewers, as
// RFC 6184 (H.264) and RFC 7798 (H.265) do, without touching the pictures. Sound that is
// made of samples is cut between two of them (RFC 3551, section 4.3).
type resizer struct {
	payloadType uint8
	codec       nalCodec // zero: it has no NAL units
	tick        int      // bytes of a tick of the clock, for sound of samples; 0: it is none
	shift       uint16   // how many more packets were sent than received

	fitting []*rtp.Packet
}

// nalCodec describes the differences of the two formats.
type nalCodec struct {
	header    int // bytes of a NAL unit's header
	kind      func(header []byte) byte
	kindBits  byte // those that have the type in the header of a fragment
	aggregate byte // the type of a packet with several NAL units
	fragment  byte // the type of a fragment of a NAL unit
	fragmentB byte // the same of interleaved packets, where the codec has that
	sps       byte // the type of a sequence parameter set
	rename    func(header []byte, kind byte) []byte
	note      func(has *content, kind byte) // that a NAL unit of the type begins
}

var (
	h264Codec = nalCodec{
		header: 1, kindBits: 0x1f, aggregate: 24, fragment: 28, fragmentB: 29, sps: 7,
		kind:   func(h []byte) byte { return h[0] & 0x1f },
		rename: func(h []byte, kind byte) []byte { return []byte{h[0]&0xe0 | kind} },
		note: func(has *content, kind byte) {
			has.picture = has.picture || kind >= 1 && kind <= 5
			has.intra = has.intra || kind == 5          // IDR
			has.key = has.key || kind == 5 || kind == 7 // SPS
		},
	}
	h265Codec = nalCodec{
		header: 2, kindBits: 0x3f, aggregate: 48, fragment: 49, fragmentB: 49, sps: 33,
		kind:   func(h []byte) byte { return h[0] >> 1 & 0x3f },
		rename: func(h []byte, kind byte) []byte { return []byte{h[0]&0x81 | kind<<1, h[1]} },
		note: func(has *content, kind byte) {
			intra := kind >= 16 && kind <= 21 // BLA, IDR, CRA
			has.picture = has.picture || kind < 32
			has.intra = has.intra || intra
			has.key = has.key || intra || kind == 32 || kind == 33 // VPS, SPS
		},
	}
)

// codecOf returns the codec of a format, of one whose parameters could not be read, too; a
// zero one if it has no NAL units.
func codecOf(f format.Format) nalCodec {
	switch codecName(f) {
	case "H264":
		return h264Codec
	case "H265":
		return h265Codec
	}
	return nalCodec{}
}

// content reads the payload of a packet (RFC 6184 and RFC 7798).
func (c nalCodec) content(payload []byte) (has content) {
	if len(payload) <= c.header {
		return has
	}
	switch kind := c.kind(payload); {
	case kind == c.fragment, kind == c.fragmentB:
		const begins = 0x80
		about := payload[c.header]
		c.note(&has, about&c.kindBits)
		if about&begins == 0 {
			has.key, has.intra = false, false
		}
	case kind == c.aggregate:
		for body := payload[c.header:]; len(body) > 2; {
			size := int(body[0])<<8 | int(body[1])
			if body = body[2:]; size == 0 || size > len(body) {
				return has
			}
			if size > c.header {
				c.unit(&has, body[:size])
			}
			body = body[size:]
		}
	case kind < c.aggregate:
		c.unit(&has, payload)
	}
	return has
}

// unit notes a whole NAL unit.
func (c nalCodec) unit(has *content, unit []byte) {
	kind := c.kind(unit)
	c.note(has, kind)
	if kind == c.sps && has.sps == nil {
		has.sps = unit
	}
}

func newResizer(f format.Format) *resizer {
	return &resizer{payloadType: f.PayloadType(), codec: codecOf(f), tick: tickOf(f)}
}

// tickOf returns how many bytes a tick of the clock has in a format that is made of
// samples; 0 if it is none, or they are not whole bytes.
func tickOf(f format.Format) int {
	switch f := f.(type) {
	case *format.G711:
		return f.ChannelCount
	case *format.LPCM:
		if bits := f.BitDepth * f.ChannelCount; bits%8 == 0 {
			return bits / 8
		}
	}
	return 0
}

// fit returns the packet, split if it exceeds maxPacket, or nil if it cannot be split.
// The slice is valid until the next call.
func (r *resizer) fit(pkt *rtp.Packet) []*rtp.Packet {
	pkt.SequenceNumber += r.shift
	if pkt.MarshalSize() <= maxPacket {
		r.fitting = append(r.fitting[:0], pkt)
		return r.fitting
	}
	room := maxPacket - pkt.Header.MarshalSize()
	payloads := r.split(pkt.Payload, room)
	packets := make([]*rtp.Packet, len(payloads))
	at := 0 // bytes before it
	for i, payload := range payloads {
		p := &rtp.Packet{Header: pkt.Header, Payload: payload}
		p.Padding = false
		p.Marker = pkt.Marker && i == len(payloads)-1
		if r.tick > 0 {
			p.Marker = pkt.Marker && i == 0 // that somebody begins to speak (RFC 3551, section 4.1)
			p.Timestamp += uint32(at / r.tick)
		}
		p.SequenceNumber += uint16(i)
		packets[i] = p
		at += len(payload)
	}
	r.shift += uint16(len(packets)) - 1 // none: minus one
	return packets
}

// Split cuts the payload of a packet of a format into payloads of at most room bytes, for
// readers whose packets must be smaller than maxPacket; it returns nil if it cannot be cut.
// Those of sound are later than the packet: see Later.
func Split(f format.Format, payload []byte, room int) [][]byte {
	return newResizer(f).split(payload, room)
}

// Later returns how much later than a packet what comes after so many bytes of its payload
// is, in ticks of the format's clock. All parts of a picture have one time.
func Later(f format.Format, bytes int) uint32 {
	if tick := tickOf(f); tick > 0 {
		return uint32(bytes / tick)
	}
	return 0
}

// split cuts the payload of a packet into payloads of at most room bytes.
func (r *resizer) split(payload []byte, room int) [][]byte {
	if r.tick > 0 {
		if room = room / r.tick * r.tick; room <= 0 {
			return nil
		}
		return slices.Collect(slices.Chunk(payload, room))
	}
	c := r.codec
	if c.header == 0 || len(payload) <= c.header || room <= c.header+1 {
		return nil
	}
	switch kind := c.kind(payload); {
	case kind == c.fragment:
		if len(payload) <= c.header+1 {
			return nil
		}
		return c.fragments(payload[:c.header], payload[c.header], payload[c.header+1:], room)
	case kind == c.aggregate:
		return r.disaggregate(payload[c.header:], room)
	case kind > c.aggregate:
		return nil // unknown here
	default:
		const whole = 0xc0 // the start and the end of a NAL unit
		return c.fragments(c.rename(payload[:c.header], c.fragment), whole|kind, payload[c.header:], room)
	}
}

// fragments splits a NAL unit, or a fragment of one, into smaller fragments. The two
// highest bits of about mark the start and the end of the NAL unit.
func (c nalCodec) fragments(header []byte, about byte, body []byte, room int) [][]byte {
	const begins, ends = 0x80, 0x40
	var list [][]byte
	for first := true; len(body) > 0; first = false {
		piece := body[:min(len(body), room-c.header-1)]
		body = body[len(piece):]
		mark := about &^ (begins | ends)
		if first {
			mark |= about & begins
		}
		if len(body) == 0 {
			mark |= about & ends
		}
		list = append(list, append(append(append(make([]byte, 0, c.header+1+len(piece)), header...), mark), piece...))
	}
	return list
}

// disaggregate returns a packet for each NAL unit, or several if it is large.
func (r *resizer) disaggregate(body []byte, room int) [][]byte {
	var list [][]byte
	for len(body) >= 2 {
		size := int(body[0])<<8 | int(body[1])
		body = body[2:]
		if size <= r.codec.header || size > len(body) || r.codec.kind(body) >= r.codec.aggregate {
			return nil
		}
		unit := body[:size]
		body = body[size:]
		if size <= room {
			list = append(list, unit)
		} else {
			list = append(list, r.split(unit, room)...)
		}
	}
	return list
}
