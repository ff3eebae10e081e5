package fmp4

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/pion/rtp"
)

const (
	// maxSkew is how far the sound may be from where its timestamps say, in milliseconds,
	// before silence is put in or sound is left out.
	maxSkew = 80
	// maxGap is the longest silence that is put in before a packet, in seconds. After a longer
	// one, the sound begins again.
	maxGap = 10
	// maxBehind is how far the sound may be behind the picture before silence takes its place,
	// in milliseconds: a player would wait for it.
	maxBehind = 700
	// maxUnits is how many pieces a packet of sound may have.
	maxUnits = 64
)

// soundConfig is what a player must know of a sound.
type soundConfig struct {
	codec string // RFC 6381
	scale int    // ticks a second: those of RTP
	entry func(*boxes)
}

// piece is sound that is decoded at once.
type piece struct {
	data     []byte
	duration int64 // ticks
}

// sound packs the sound of a stream.
type sound struct {
	config *soundConfig
	pieces func(p Packet) []piece // of a packet; what is too short for one waits
	quiet  func() piece           // silence
	drop   func()                 // what waits
	held   func() int64           // the ticks that wait

	synced bool
	at     int64  // where the timestamp is on the timeline of the picture, in ticks of sound
	stamp  uint32 // that timestamp

	begun  bool
	seq    uint16
	next   int64 // where the next piece begins
	silent bool  // silence takes the place of what does not come
}

// newSound returns what packs a format; an error if it has no place in MP4.
func newSound(f format.Format) (*sound, error) {
	switch f := f.(type) {
	case *format.G711:
		if f.ChannelCount == 1 && f.SampleRate > 0 && f.SampleRate <= 65535 {
			return newG711(f), nil
		}
	case *format.MPEG4Audio:
		if c := f.Config; c != nil && c.SampleRate > 0 && f.ClockRate() > 0 && (c.ChannelCount == 1 || c.ChannelCount == 2) {
			return newAAC(f)
		}
	case *format.Opus:
		if f.ChannelCount == 1 || f.ChannelCount == 2 {
			return newOpus(f), nil
		}
	}
	return nil, errFormat
}

func newG711(f *format.G711) *sound {
	encoder := &flacEncoder{rate: f.SampleRate}
	var waits []int16
	s := &sound{config: &soundConfig{codec: "flac", scale: f.SampleRate, entry: func(b *boxes) {
		b.soundEntry("fLaC", 1, f.SampleRate, func() {
			b.full("dfLa", 0, 0, func() { // Encapsulation of FLAC in ISO BMFF, section 3.3.2
				info := encoder.streamInfo()
				b.u32(0x80<<24 | uint32(len(info))) // the last block
				b.u8(info...)
			})
		})
	}}}
	s.pieces = func(p Packet) (out []piece) {
		waits = append(waits, linear(p.Payload, f.MULaw)...)
		for ; len(waits) >= flacBlock; waits = waits[flacBlock:] {
			out = append(out, piece{encoder.frame(waits[:flacBlock]), flacBlock})
		}
		return out
	}
	s.quiet = func() piece { return piece{encoder.frame(make([]int16, flacBlock)), flacBlock} }
	s.drop = func() { waits = nil }
	s.held = func() int64 { return int64(len(waits)) }
	return s
}

// linear decodes G.711 to 16 bits a sample.
func linear(data []byte, muLaw bool) []int16 {
	var plain []byte
	if muLaw {
		var c g711.Mulaw
		c.Unmarshal(data)
		plain = c
	} else {
		var c g711.Alaw
		c.Unmarshal(data)
		plain = c
	}
	out := make([]int16, len(data))
	for i := range out {
		out[i] = int16(binary.BigEndian.Uint16(plain[2*i:]))
	}
	return out
}

func newAAC(f *format.MPEG4Audio) (*sound, error) {
	config, err := f.Config.Marshal()
	if err != nil {
		return nil, fmt.Errorf("packing AAC: %w", errors.Join(err, errFormat))
	}
	const frame = 1024
	duration := int64(frame * f.ClockRate() / f.Config.SampleRate)
	fresh := func() *rtpmpeg4audio.Decoder {
		return &rtpmpeg4audio.Decoder{SizeLength: f.SizeLength, IndexLength: f.IndexLength, IndexDeltaLength: f.IndexDeltaLength}
	}
	decoder := fresh()
	s := withoutWaiting(&soundConfig{codec: fmt.Sprintf("mp4a.40.%d", f.Config.Type), scale: f.ClockRate(), entry: func(b *boxes) {
		b.soundEntry("mp4a", f.Config.ChannelCount, f.Config.SampleRate, func() { b.esds(config) })
	}})
	s.pieces = func(p Packet) (out []piece) {
		units, err := decoder.Decode(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: p.Sequence, Marker: p.Marker}, Payload: p.Payload})
		if err != nil {
			return nil // it is incomplete, or broken: then silence takes its place
		}
		for _, unit := range units {
			out = append(out, piece{unit, duration})
		}
		return out
	}
	s.quiet = func() piece {
		if f.Config.ChannelCount == 1 {
			return piece{[]byte{0x00, 0xc8, 0x00, 0x80, 0x23, 0x80}, duration}
		}
		return piece{[]byte{0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80}, duration}
	}
	s.drop = func() { decoder = fresh() }
	return s, nil
}

// esds writes the descriptor of an AAC stream (ISO/IEC 14496-14, section 5.6).
func (b *boxes) esds(config []byte) {
	b.full("esds", 0, 0, func() {
		b.u8(3, byte(3+5+13+len(config)+2+3+0)) // ES_Descriptor
		b.u16(SoundTrack)
		b.u8(0)
		b.u8(4, byte(13+2+len(config))) // DecoderConfigDescriptor
		b.u8(0x40, 0x15)                // MPEG-4 audio; a stream of sound
		b.zero(3)                       // the buffer
		b.u32(128000)                   // bits a second, at most and usually
		b.u32(128000)
		b.u8(5, byte(len(config))) // DecoderSpecificInfo
		b.u8(config...)
		b.u8(6, 1, 2) // SLConfigDescriptor
	})
}

func newOpus(f *format.Opus) *sound {
	s := withoutWaiting(&soundConfig{codec: "opus", scale: 48000, entry: func(b *boxes) {
		b.soundEntry("Opus", f.ChannelCount, 48000, func() {
			b.box("dOps", func() { // Encapsulation of Opus in ISO BMFF, section 4.3.2
				b.u8(0, byte(f.ChannelCount))
				b.u16(0)
				b.u32(48000)
				b.u16(0)
				b.u8(0)
			})
		})
	}})
	s.pieces = func(p Packet) []piece {
		duration := opus.PacketDuration2(p.Payload)
		if duration <= 0 {
			return nil
		}
		return []piece{{append([]byte(nil), p.Payload...), duration}}
	}
	s.quiet = func() piece { return piece{[]byte{0xf8, 0xff, 0xfe}, 960} } // 20 ms
	return s
}

// withoutWaiting returns a sound whose packets are whole pieces.
func withoutWaiting(c *soundConfig) *sound {
	return &sound{config: c, drop: func() {}, held: func() int64 { return 0 }}
}

// sync says where a timestamp is on the timeline of the picture, in ticks of video.
func (s *sound) sync(ticks int64, timestamp uint32) {
	s.synced, s.at, s.stamp = true, s.scaled(ticks), timestamp
}

// scaled converts ticks of video.
func (s *sound) scaled(ticks int64) int64 {
	rate := int64(s.config.scale)
	return ticks/VideoScale*rate + ticks%VideoScale*rate/VideoScale
}

func (s *sound) milliseconds(n int64) int64 { return n * int64(s.config.scale) / 1000 }

// write takes a packet and returns the sound that is complete with it. Nothing is shown
// before first, in ticks of video.
func (s *sound) write(p Packet, init *Init, first int64) (out []Sample) {
	if s.begun {
		if ahead := int16(p.Sequence - s.seq); ahead <= 0 && ahead > -maxLate {
			return nil
		}
	}
	if !s.synced || init == nil {
		return nil
	}
	at := s.at + int64(int32(p.Timestamp-s.stamp))
	if s.seq = p.Sequence; !s.begun {
		if at < s.scaled(first) {
			return nil
		}
		s.begun, s.next = true, at
	}
	ahead := at - s.next - s.held()
	switch {
	case ahead < -s.milliseconds(maxSkew):
		return nil // silence is in its place, or the same once more
	case ahead > maxGap*int64(s.config.scale):
		s.drop()
		s.next = at
	case ahead > s.milliseconds(maxSkew):
		s.drop()
		out = s.silence(at-s.milliseconds(maxSkew)/2, init)
	}
	s.silent = false
	pieces := s.pieces(p)
	for _, piece := range pieces[:min(len(pieces), maxUnits)] {
		out = append(out, s.sample(piece, init))
	}
	return out
}

// fill puts silence where sound should be that does not come, up to when a picture is shown.
func (s *sound) fill(shown, first int64, init *Init) []Sample {
	to := s.scaled(shown)
	if !s.begun {
		if to-s.scaled(first) < s.milliseconds(maxBehind) {
			return nil
		}
		s.next, s.begun = s.scaled(first), true
		s.seq -= maxLate // whatever comes is new
	}
	if !s.silent && to-s.next < s.milliseconds(maxBehind) {
		return nil
	}
	if !s.silent {
		s.silent = true
		s.drop()
	}
	if to-s.next > maxGap*int64(s.config.scale) {
		s.next = to
	}
	return s.silence(to, init)
}

// silence returns silence up to a time.
func (s *sound) silence(to int64, init *Init) (out []Sample) {
	for s.next < to {
		out = append(out, s.sample(s.quiet(), init))
	}
	return out
}

func (s *sound) sample(p piece, init *Init) Sample {
	at := s.next
	s.next += p.duration
	return Sample{Init: init, Track: SoundTrack, DTS: at, PTS: at, Duration: uint32(p.duration), Key: true, Data: p.data}
}

// reset begins again.
func (s *sound) reset() {
	s.drop()
	s.begun, s.synced, s.silent = false, false, false
}
