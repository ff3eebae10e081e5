package upstream

import (
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
)

// FuzzPacket: whatever a camera sends as a packet, what viewers get is a packet of its
// track that fits a datagram.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x78, 0, 1, 0x65})
	f.Add([]byte{0x80, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x60, 1, 0, 1, 0x40})
	f.Add([]byte{0xb0, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 0x40, 0, 0, 0})
	formats := []format.Format{
		&format.H264{PayloadTyp: 96}, &format.H265{PayloadTyp: 97}, &format.MJPEG{}, &format.MPEG4Audio{PayloadTyp: 98},
		&format.Opus{PayloadTyp: 99}, &format.VP8{PayloadTyp: 100}, &format.AV1{PayloadTyp: 101}, &format.Generic{PayloadTyp: 102, ClockRat: 90000},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 12 {
			return
		}
		track := newTrack(0, &description.Media{Type: description.MediaTypeVideo, Formats: formats})
		packets, err := track.packets(data)
		if err != nil {
			return
		}
		var first rtp.Header
		for i, p := range packets {
			var pkt rtp.Packet
			if err := pkt.Unmarshal(p.Data); err != nil || len(p.Data) > maxPacket {
				t.Fatalf("packet %d has %d bytes: %v", i, len(p.Data), err)
			}
			if i == 0 {
				first = pkt.Header
			}
			if pkt.SSRC != first.SSRC || pkt.Timestamp != first.Timestamp || pkt.SequenceNumber != first.SequenceNumber+uint16(i) {
				t.Errorf("packet %d is %v after %v", i, pkt.Header, first)
			}
			for _, form := range formats {
				form.PTSEqualsDTS(&pkt)
			}
		}
	})
}
