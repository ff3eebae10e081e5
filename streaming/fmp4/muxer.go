package fmp4

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

// Packet is an RTP packet of a stream.
type Packet struct {
	Track     int // of the description
	Sequence  uint16
	Timestamp uint32
	Marker    bool
	Payload   []byte // may be reused after Write
}

// Muxer packs one stream. It keeps a picture until the next one begins: only then is known
// how long it is shown. It is not safe for concurrent use.
type Muxer struct {
	video, audio   int // tracks of the description; -1: there is none
	videoPT, audPT uint8
	picture        *video
	sound          *sound // nil: there is none that can be packed
	began          bool
	first          int64 // when the first picture since New or Reset is shown, in ticks
}

// UnsupportedError is why a stream cannot be packed.
type UnsupportedError struct {
	Codec string // of the video; "": there is no video
}

// Error names the codec.
func (e *UnsupportedError) Error() string {
	if e.Codec == "" {
		return "packing a stream that has no video"
	}
	return fmt.Sprintf("packing a stream with video of %s, which is not packed", e.Codec)
}

// New returns a muxer for the first video of a description and its first sound that can be
// packed. It fails with an *UnsupportedError.
func New(desc *description.Session) (*Muxer, error) {
	m := &Muxer{video: -1, audio: -1}
	var pictures format.Format
	for n, media := range desc.Medias {
		f := media.Formats[0]
		switch {
		case media.Type == description.MediaTypeVideo && m.video < 0:
			m.video, m.videoPT, pictures = n, f.PayloadType(), f
		case media.Type == description.MediaTypeAudio && m.audio < 0:
			if s, err := newSound(f); err == nil {
				m.audio, m.audPT, m.sound = n, f.PayloadType(), s
			}
		}
	}
	if pictures == nil {
		return nil, &UnsupportedError{}
	}
	var config *soundConfig
	if m.sound != nil {
		config = m.sound.config
	}
	var err error
	if m.picture, err = newVideo(pictures, config); err != nil {
		return nil, &UnsupportedError{Codec: codecName(pictures)}
	}
	return m, nil
}

// Video and Sound return the tracks of the description that are packed; -1: none is.
func (m *Muxer) Video() int { return m.video }

// Sound is described with Video.
func (m *Muxer) Sound() int { return m.audio }

// Init returns what the stream is as far as is known; nil if it is not known before the
// first key frame. Each sample has the one that counts for it.
func (m *Muxer) Init() *Init { return m.picture.init }

// Read takes an RTP packet of a track apart. ok is false if the packet is broken, or belongs
// to no format that is packed.
func (m *Muxer) Read(track int, data []byte) (p Packet, ok bool) {
	if len(data) < 12 || data[0]>>6 != 2 || track < 0 {
		return p, false
	}
	switch pt := data[1] & 0x7f; {
	case track == m.video && pt == m.videoPT, track == m.audio && pt == m.audPT:
	default:
		return p, false
	}
	begin, end := 12+4*int(data[0]&0x0f), len(data)
	if data[0]&0x10 != 0 {
		if len(data) < begin+4 {
			return p, false
		}
		begin += 4 + 4*int(binary.BigEndian.Uint16(data[begin+2:]))
	}
	if data[0]&0x20 != 0 {
		end -= int(data[end-1])
	}
	if begin > end {
		return p, false
	}
	return Packet{
		Track: track, Marker: data[1]&0x80 != 0, Sequence: binary.BigEndian.Uint16(data[2:]),
		Timestamp: binary.BigEndian.Uint32(data[4:]), Payload: data[begin:end],
	}, true
}

// Write takes a packet and returns the samples that are complete with it. Samples begin with
// a picture that a decoder can start with; after packets that are missing, they go on with
// the next such picture. Sound is left out until Sync has been called.
func (m *Muxer) Write(p Packet) []Sample {
	switch p.Track {
	case m.video:
		out := m.picture.write(p)
		if m.picture.newLine && m.sound != nil {
			m.sound.synced = false
		}
		m.picture.newLine = false
		return m.withSilence(out)
	case m.audio:
		if m.sound != nil && m.began {
			return m.sound.write(p, m.picture.init, m.first)
		}
	}
	return nil
}

// withSilence adds silence where sound is missing.
func (m *Muxer) withSilence(pictures []Sample) []Sample {
	for _, s := range pictures {
		if !m.began {
			m.began, m.first = true, s.PTS
		}
		if m.sound != nil {
			pictures = append(pictures, m.sound.fill(s.PTS, m.first, s.Init)...)
		}
	}
	return pictures
}

// Synced reports whether it is known how the timestamps of picture and sound belong together.
// It is lost when the timestamps of the picture begin another timeline.
func (m *Muxer) Synced() bool { return m.sound == nil || m.sound.synced }

// Sync says that two RTP timestamps, of picture and sound, are of the same instant. It does
// nothing before the first packet of the picture.
func (m *Muxer) Sync(picture, sound uint32) {
	if m.sound != nil && m.picture.timed {
		m.sound.sync(m.picture.ticks+int64(int32(picture-m.picture.timestamp)), sound)
	}
}

// Flush returns the picture that is being received as if the next one had begun: for the end
// of a recording.
func (m *Muxer) Flush() []Sample { return m.withSilence(m.picture.flush()) }

// Reset is for packets that do not continue what came before: a seek, a gap in a recording,
// another run. It returns what Flush does, and then begins again with the next picture that a
// decoder can start with, which is shown at the given time of the timeline (at least one
// second), or right after what was packed before if that is negative. Sync must be called
// again.
func (m *Muxer) Reset(at time.Duration) []Sample {
	ticks := int64(-1)
	if at >= 0 {
		ticks = int64(at/time.Second)*VideoScale + int64(at%time.Second)*VideoScale/int64(time.Second)
	}
	out := m.withSilence(m.picture.reset(ticks))
	m.began = false
	if m.sound != nil {
		m.sound.reset()
	}
	return out
}

// codecName is the name of a video in RTP.
func codecName(f format.Format) string {
	switch f.(type) {
	case *format.H264:
		return "H264"
	case *format.H265:
		return "H265"
	case *format.MJPEG:
		return "JPEG"
	}
	name, _, _ := strings.Cut(f.RTPMap(), "/")
	return strings.ToUpper(name)
}
