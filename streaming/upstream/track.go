package upstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/pion/rtp"
)

// track is one track of a camera that is handed on.
type track struct {
	number   int
	media    *description.Media
	sequence sequence
	resizers []*resizer
	strange  int // packets of another payload type, while none of ours came

	asked time.Time // the arrival of the last packet
	live  bool      // what is permitted was known then

	parsed rtp.Packet // the last one
	out    []Packet   // of it
}

func newTrack(number int, m *description.Media) *track {
	t := &track{number: number, media: m}
	for _, f := range m.Formats {
		t.resizers = append(t.resizers, newResizer(f))
	}
	return t
}

var (
	errBroken = errors.New("a packet that is broken")
	errBig    = errors.New("a packet that is too large")
)

// packets returns what viewers get of a packet of the camera: the same with the SSRC and
// the sequence of the track, or several if it exceeds a datagram. The slice is valid until
// the next call.
func (t *track) packets(data []byte) ([]Packet, error) {
	sizes := t.resizer(data)
	data, ok := withoutExtension(data)
	if sizes == nil || !ok {
		return nil, errBroken
	}
	pkt := &t.parsed
	if !parse(pkt, data) {
		return nil, errBroken
	}
	t.sequence.fix(pkt)
	whole := len(data) <= maxPacket
	fitting := sizes.fit(pkt)
	if len(fitting) == 0 {
		return nil, errBig
	}
	t.out = t.out[:0]
	for _, pkt := range fitting {
		packet := Packet{Track: t.number, Media: t.media, Data: data}
		if whole {
			binary.BigEndian.PutUint16(data[2:], pkt.SequenceNumber)
			binary.BigEndian.PutUint32(data[8:], pkt.SSRC)
		} else {
			var err error
			if packet.Data, err = pkt.Marshal(); err != nil {
				return nil, errBroken
			}
		}
		t.out = append(t.out, packet)
	}
	return t.out, nil
}

// withoutExtension cuts the header extension out of a packet, if it has one: viewers are
// told of none, and a camera may write into it what only its owner should see. The rest of
// the header moves up to the payload. It reports false if the extension exceeds the packet.
func withoutExtension(data []byte) ([]byte, bool) {
	const extended, fixed, field = 0x10, 12, 4
	if len(data) == 0 || data[0]&extended == 0 {
		return data, true
	}
	at := fixed + field*int(data[0]&0xf) // after the contributing sources
	if len(data) < at+field {
		return nil, false
	}
	size := field + field*int(binary.BigEndian.Uint16(data[at+2:]))
	if len(data) < at+size {
		return nil, false
	}
	data[0] &^= extended
	copy(data[size:], data[:at])
	if data = data[size:]; size > maxCut {
		data = bytes.Clone(data)
	}
	return data, true
}

// maxCut is the largest extension that is kept in the memory of its packet, in bytes. A
// larger one would not be counted when the packet is cached: see packetCost.
const maxCut = 64

// parse reads a packet, and reports whether it is one. Some cameras mark padding that is
// not there.
func parse(pkt *rtp.Packet, data []byte) bool {
	*pkt = rtp.Packet{}
	err := pkt.Unmarshal(data)
	if err != nil && len(data) > 0 && data[0]&0x20 != 0 {
		data[0] &^= 0x20
		*pkt = rtp.Packet{}
		err = pkt.Unmarshal(data)
	}
	return err == nil
}

// mostStrange is how many packets of an undescribed payload type a track may begin with
// before they are taken for the only one that it has.
const mostStrange = 32

// resizer returns that of the packet's payload type; nil if the track has no such format.
// A camera that describes its only format with another payload type than it sends is
// corrected.
func (t *track) resizer(data []byte) *resizer {
	pt := data[1] & 0x7f
	for _, r := range t.resizers {
		if r.payloadType == pt {
			t.strange = -1
			return r
		}
	}
	if t.strange < 0 || len(t.media.Formats) != 1 {
		return nil
	}
	if t.strange++; t.strange < mostStrange {
		return nil
	}
	t.strange = mostStrange
	only := t.resizers[0]
	data[1] = data[1]&0x80 | only.payloadType
	return only
}

// sequence gives a track one SSRC, and sequence numbers that go on where the camera begins
// others: a player takes a large step for a loss, or for old packets.
type sequence struct {
	known bool
	ssrc  uint32 // for viewers
	from  uint32 // of the camera, now
	last  uint16 // of the camera, the newest
	shift uint16
}

// maxGap is how many packets may be missing, or how old one may be, in the same count.
const maxGap = 1000

func (s *sequence) fix(pkt *rtp.Packet) {
	seq := pkt.SequenceNumber
	if !s.known {
		s.known, s.ssrc, s.from, s.last = true, pkt.SSRC, pkt.SSRC, seq
		return
	}
	ahead := int16(seq - s.last)
	counts := pkt.SSRC == s.from || ahead > 0
	if s.from = pkt.SSRC; !counts || ahead > maxGap || ahead < -maxGap {
		s.shift += s.last + 1 - seq
		s.last = seq
	} else if ahead > 0 {
		s.last = seq
	}
	pkt.SequenceNumber, pkt.SSRC = seq+s.shift, s.ssrc
}
