package fanout

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

const (
	perSecond  = 25
	perGOP     = 2 * perSecond
	keySize    = 60_000 // bytes of a key picture
	otherSize  = 8_900  // of the others on average: 2 Mbit/s with the key pictures
	maxPayload = 1400
	perReport  = 5 * perSecond // pictures between sender reports
	ticks      = 90_000 / perSecond
)

// 1080p, High profile.
var (
	sps = []byte{0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58}
	pps = []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}
)

const description = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=bench\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
	"a=fmtp:96 packetization-mode=1;profile-level-id=640028;sprop-parameter-sets=Z2QAKKzZQHgCJ+XARAAAAwAEAAADAPA8YMZY,aOvjyyLA\r\na=control:trackID=0\r\n"

// packer makes the pictures of one camera, as interleaved packets.
type packer struct {
	number    uint64
	sequence  uint16
	timestamp uint32
	packets   uint32
	octets    uint32
	sizes     *rand.Rand
	filler    []byte
	out       []byte
}

const ssrc = 0x62656e63

func newPacker() *packer {
	p := &packer{sequence: 1000, timestamp: 90_000, sizes: rand.New(rand.NewPCG(1, 2)), filler: make([]byte, keySize)}
	for i := range p.filler {
		p.filler[i] = 0x80 | byte(p.sizes.Uint32()) // no start code anywhere
	}
	return p
}

// next returns the next picture, which is valid until the one after it.
func (p *packer) next(now time.Time) []byte {
	p.out = p.out[:0]
	if p.number%perReport == 0 {
		p.report(now)
	}
	s := stamp{number: p.number, sent: now.UnixNano(), key: p.number%perGOP == 0}
	head, size := byte(0x41), otherSize/2+p.sizes.IntN(otherSize)
	if s.key {
		p.add(false, sps)
		p.add(false, pps)
		head, size = 0x65, keySize
	}
	s.size = uint64(size)
	p.slice(head, append(s.append(make([]byte, 0, size)), p.filler[:size-stampLen]...))
	p.number++
	p.timestamp += ticks
	return p.out
}

// slice adds a NAL unit of more than one packet, which ends the picture.
func (p *packer) slice(head byte, body []byte) {
	for begin := byte(0x80); len(body) > 0; begin = 0 {
		n, end := min(len(body), maxPayload-2), byte(0)
		if n == len(body) {
			end = 0x40
		}
		p.add(end != 0, []byte{head&0xe0 | 28, begin | end | head&0x1f}, body[:n])
		body = body[n:]
	}
}

func (p *packer) add(marker bool, parts ...[]byte) {
	n, kind := 12, byte(96)
	for _, part := range parts {
		n += len(part)
	}
	if marker {
		kind |= 0x80
	}
	p.out = append(p.out, '$', 0, byte(n>>8), byte(n), 0x80, kind)
	p.out = binary.BigEndian.AppendUint16(p.out, p.sequence)
	p.out = binary.BigEndian.AppendUint32(p.out, p.timestamp)
	p.out = binary.BigEndian.AppendUint32(p.out, ssrc)
	for _, part := range parts {
		p.out = append(p.out, part...)
	}
	p.sequence++
	p.packets++
	p.octets += uint32(n - 12)
}

// report adds a sender report (RFC 3550 section 6.4.1).
func (p *packer) report(now time.Time) {
	const to1900 = 2_208_988_800 // s before 1970
	p.out = append(p.out, '$', 1, 0, 28, 0x80, 200, 0, 6)
	p.out = binary.BigEndian.AppendUint32(p.out, ssrc)
	p.out = binary.BigEndian.AppendUint32(p.out, uint32(now.Unix()+to1900))
	p.out = binary.BigEndian.AppendUint32(p.out, uint32(uint64(now.Nanosecond())<<32/1e9))
	p.out = binary.BigEndian.AppendUint32(p.out, p.timestamp)
	p.out = binary.BigEndian.AppendUint32(p.out, p.packets)
	p.out = binary.BigEndian.AppendUint32(p.out, p.octets)
}
