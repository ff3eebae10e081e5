package upstream

import (
	"bytes"
	"slices"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/pion/rtp"
)

// unit makes a NAL unit of so many bytes.
func unit(header []byte, size int) []byte {
	nalu := append([]byte{}, header...)
	for i := len(nalu); i < size; i++ {
		nalu = append(nalu, byte(i%251))
	}
	return nalu
}

// TestLargePacketsAreSplit: what the library's own depacketisers make of the
// pieces is what the camera sent, whatever kind of packet it was.
func TestLargePacketsAreSplit(t *testing.T) {
	for name, c := range map[string]struct {
		format format.Format
		header []byte
	}{
		"H.264": {&format.H264{PayloadTyp: 96, PacketizationMode: 1}, []byte{0x65}},
		"H.265": {&format.H265{PayloadTyp: 96}, []byte{0x26, 0x01}},
	} {
		for _, camera := range []int{2000, 9000, 60000} { // how large the camera's packets are
			for _, sizes := range [][]int{{100}, {1900}, {30000}, {500, 700, 900}, {20, 5000, 1600}, {100_000}} {
				var frame [][]byte
				for _, n := range sizes {
					frame = append(frame, unit(c.header, n))
				}
				sent := encode(t, c.format, camera, frame)
				var got [][]byte
				decode := decoder(t, c.format)
				r, next := newResizer(c.format), sent[0].SequenceNumber
				for range 2 { // the second time numbers are shifted
					got = nil
					for i, pkt := range sent {
						again := *pkt
						for _, p := range r.fit(&again) {
							if p.MarshalSize() > maxPacket {
								t.Fatalf("%s: a packet of %d bytes", name, p.MarshalSize())
							}
							if p.SequenceNumber != next {
								t.Fatalf("%s: number %d, want %d", name, p.SequenceNumber, next)
							}
							next++
							if units := decode(p); units != nil {
								got = units
							}
						}
						if i == len(sent)-1 {
							next -= uint16(len(sent)) // the camera counts on from the first packet again
						}
					}
				}
				if len(got) != len(frame) || !bytes.Equal(bytes.Join(got, nil), bytes.Join(frame, nil)) {
					t.Errorf("%s, packets of %d, units of %v: got %d units", name, camera, sizes, len(got))
				}
			}
		}
	}
}

func encode(t *testing.T, f format.Format, size int, frame [][]byte) []*rtp.Packet {
	t.Helper()
	var encode func([][]byte) ([]*rtp.Packet, error)
	if _, ok := f.(*format.H264); ok {
		e := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: size, PacketizationMode: 1}
		if err := e.Init(); err != nil {
			t.Fatal(err)
		}
		encode = e.Encode
	} else {
		e := &rtph265.Encoder{PayloadType: 96, PayloadMaxSize: size}
		if err := e.Init(); err != nil {
			t.Fatal(err)
		}
		encode = e.Encode
	}
	packets, err := encode(frame)
	if err != nil {
		t.Fatal(err)
	}
	return packets
}

func decoder(t *testing.T, f format.Format) func(*rtp.Packet) [][]byte {
	t.Helper()
	var decode func(*rtp.Packet) ([][]byte, error)
	switch f := f.(type) {
	case *format.H264:
		d, err := f.CreateDecoder()
		if err != nil {
			t.Fatal(err)
		}
		decode = d.Decode
	case *format.H265:
		d, err := f.CreateDecoder()
		if err != nil {
			t.Fatal(err)
		}
		decode = d.Decode
	}
	return func(p *rtp.Packet) [][]byte {
		units, _ := decode(p) // an error says that more packets are needed
		return units
	}
}

// TestLargeSoundIsSplit: sound of samples is cut between two, and each part has its time.
func TestLargeSoundIsSplit(t *testing.T) {
	for name, c := range map[string]struct {
		f     format.Format
		bytes int
		want  []uint32 // the times of the parts
	}{
		"G.711, 200 ms":         {&format.G711{SampleRate: 8000, ChannelCount: 1}, 1600, []uint32{1000, 1000 + 1460}},
		"that fits":             {&format.G711{SampleRate: 8000, ChannelCount: 1}, 1460, []uint32{1000}},
		"G.711 of two":          {&format.G711{SampleRate: 8000, ChannelCount: 2}, 3000, []uint32{1000, 1000 + 730, 1000 + 1460}},
		"L16 of two":            {&format.LPCM{BitDepth: 16, SampleRate: 48000, ChannelCount: 2}, 3840, []uint32{1000, 1000 + 365, 1000 + 730}},
		"L24":                   {&format.LPCM{BitDepth: 24, SampleRate: 48000, ChannelCount: 1}, 1461, []uint32{1000, 1000 + 486}},
		"samples of half bytes": {&format.LPCM{BitDepth: 20, SampleRate: 48000, ChannelCount: 1}, 2000, nil},
	} {
		sent := unit([]byte{1}, c.bytes)
		r := newResizer(c.f)
		var times []uint32
		var got []byte
		for i, p := range r.fit(&rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: 7, Timestamp: 1000}, Payload: sent}) {
			if p.MarshalSize() > maxPacket || p.SequenceNumber != 7+uint16(i) || p.Marker != (i == 0) {
				t.Errorf("%s: part %d has %d bytes, %+v", name, i, p.MarshalSize(), p.Header)
			}
			times, got = append(times, p.Timestamp), append(got, p.Payload...)
		}
		if !slices.Equal(times, c.want) || c.want != nil && !bytes.Equal(got, sent) {
			t.Errorf("%s: times %v, want %v; %d bytes", name, times, c.want, len(got))
		}
		if next := r.fit(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: 8}}); next[0].SequenceNumber != 7+uint16(len(c.want)) {
			t.Errorf("%s: the next packet has number %d", name, next[0].SequenceNumber)
		}
	}
}

func TestWhatCannotBeSplitIsLeftOut(t *testing.T) {
	large := func(b ...byte) []byte { return append(b, make([]byte, 2000)...) }
	for name, c := range map[string]struct {
		f       format.Format
		payload []byte
	}{
		"audio": {&format.Opus{}, large(1)}, "an unknown kind": {&format.H264{}, large(30)},
		"an aggregate that lies": {&format.H264{}, large(24, 0xff, 0xff)}, "nested": {&format.H264{}, large(24, 0, 9, 24)},
	} {
		r := newResizer(c.f)
		if got := r.fit(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: 7}, Payload: c.payload}); len(got) != 0 {
			t.Errorf("%s: %d packets", name, len(got))
		}
		if got := r.fit(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: 8}}); got[0].SequenceNumber != 7 {
			t.Errorf("%s: the next packet has number %d", name, got[0].SequenceNumber)
		}
	}
}

func FuzzResize(f *testing.F) {
	f.Add([]byte{0x65, 1, 2, 3}, true, uint16(1000))
	f.Add([]byte{24, 0, 2, 0x65, 1}, false, uint16(2000))
	f.Add([]byte{0x62, 0x01, 0x93, 1}, true, uint16(65000))
	f.Fuzz(func(t *testing.T, payload []byte, h265 bool, pad uint16) {
		r := &resizer{codec: h264Codec}
		if h265 {
			r.codec = h265Codec
		}
		payload = append(payload, make([]byte, pad)...)
		for _, p := range r.fit(&rtp.Packet{Header: rtp.Header{Version: 2}, Payload: payload}) {
			if p.MarshalSize() > maxPacket {
				t.Errorf("a packet of %d bytes", p.MarshalSize())
			}
		}
	})
}
