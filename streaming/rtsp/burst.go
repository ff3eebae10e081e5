package rtsp

import (
	"bytes"
	"encoding/binary"

	"latchkey/streaming/upstream"
)

// maxBurst is how much of a picture is collected before it is sent: the rest follows in
// further bursts.
const maxBurst = 64 << 10

// burst is what is written to each viewer at once: the packets of a picture, or of a part
// of one, or one packet of sound. It does not change once it was offered to viewers.
type burst struct {
	track   int
	video   bool
	first   bool // with it a picture begins
	key     bool // a decoder can start with this picture
	control bool // a response or a report, which is never left out
	partial bool // the same, but what is left of a packet that was begun

	channel byte    // of data
	data    []byte  // each packet after the header of its interleaved frame (RFC 2326, 10.12)
	ends    []int32 // of the packets in data
	octets  uint32  // of payload
	at      int64   // when it was offered, by now

	others map[byte][]byte // data, for other channels
	runs   *datagrams      // data, for UDP
	kept   bool            // a viewer has it in its queue
	pooled bool            // see release
}

// reset empties a burst that no viewer kept.
func (b *burst) reset() {
	*b = burst{track: b.track, video: b.video, channel: b.channel, data: b.data[:0], ends: b.ends[:0]}
}

// add appends a packet under another SSRC, and with another timestamp.
func (b *burst) add(packet []byte, ssrc, timestamp uint32) {
	b.data = append(b.data, '$', b.channel, byte(len(packet)>>8), byte(len(packet)))
	at := len(b.data)
	b.data = append(b.data, packet...)
	binary.BigEndian.PutUint32(b.data[at+4:], timestamp)
	binary.BigEndian.PutUint32(b.data[at+8:], ssrc)
	b.ends = append(b.ends, int32(len(b.data)))
	b.octets += uint32(len(upstream.Payload(packet)))
}

// on returns the data for an interleaved channel.
func (b *burst) on(channel byte) []byte {
	if b.control || channel == b.channel {
		return b.data
	}
	if data := b.others[channel]; data != nil {
		return data
	}
	data, from := bytes.Clone(b.data), int32(0)
	for _, end := range b.ends {
		data[from+1] = channel
		from = end
	}
	if b.others == nil {
		b.others = map[byte][]byte{}
	}
	b.others[channel] = data
	return data
}

// packet returns one of its packets, for a datagram.
func (b *burst) packet(n int) []byte {
	from := int32(0)
	if n > 0 {
		from = b.ends[n-1]
	}
	return b.data[from+4 : b.ends[n]]
}

// boundary returns the end of the packet that ends after the first n bytes.
func (b *burst) boundary(n int) int {
	for _, end := range b.ends {
		if int(end) >= n {
			return int(end)
		}
	}
	return len(b.data)
}
