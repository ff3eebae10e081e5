package fmp4

import (
	"fmt"
	"strings"
)

// The numbers of the tracks in every file.
const (
	VideoTrack = 1
	SoundTrack = 2
)

// VideoScale is the time scale of the video: ticks in a second, as in RTP.
const VideoScale = 90000

// Init is what a player must have before the samples that refer to it. It never changes.
type Init struct {
	// Codecs are the names of the codecs (RFC 6381), such as avc1.640028 and flac. The
	// second is missing if there is no sound that can be played.
	Codecs []string
	// SoundScale is the time scale of the sound, in ticks a second; 0: there is no sound.
	SoundScale int
	// Width and Height are those of the pictures, in pixels.
	Width, Height int
	// Segment is the initialization segment: ftyp and moov.
	Segment []byte
}

// MIME is the type for MediaSource, such as video/mp4; codecs="avc1.640028,flac".
func (i *Init) MIME() string {
	return fmt.Sprintf(`video/mp4; codecs="%s"`, strings.Join(i.Codecs, ","))
}

// newInit describes the tracks; sound may be nil.
func newInit(v videoConfig, sound *soundConfig) *Init {
	i := &Init{Codecs: []string{v.codec}, Width: v.width, Height: v.height}
	var b boxes
	b.box("ftyp", func() {
		b.text("iso5")
		b.u32(512)
		b.text("iso5iso6mp41")
	})
	b.box("moov", func() {
		b.full("mvhd", 0, 0, func() {
			b.zero(8)
			b.u32(1000) // ticks a second
			b.u32(0)    // it has no end
			b.u32(0x10000)
			b.u16(0x100)
			b.zero(10)
			b.matrix()
			b.zero(24)
			b.u32(SoundTrack + 1)
		})
		b.track(VideoTrack, VideoScale, "vide", v.width, v.height, v.entry)
		if sound != nil {
			i.Codecs = append(i.Codecs, sound.codec)
			i.SoundScale = sound.scale
			b.track(SoundTrack, sound.scale, "soun", 0, 0, sound.entry)
		}
		b.box("mvex", func() {
			for track := range len(i.Codecs) {
				b.full("trex", 0, 0, func() {
					b.u32(uint32(VideoTrack + track))
					b.u32(1) // the sample description
					b.zero(12)
				})
			}
		})
	})
	i.Segment = b.data
	return i
}

func (b *boxes) matrix() {
	for _, v := range []uint32{0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000} {
		b.u32(v)
	}
}

// track writes a trak whose samples are in fragments.
func (b *boxes) track(number, scale int, handler string, width, height int, entry func(*boxes)) {
	sound := handler == "soun"
	b.box("trak", func() {
		b.full("tkhd", 0, 3, func() {
			b.zero(8)
			b.u32(uint32(number))
			b.zero(4 + 4 + 8 + 2)
			if sound {
				b.u16(1) // the alternate group
				b.u16(0x100)
			} else {
				b.u16(0)
				b.u16(0)
			}
			b.u16(0)
			b.matrix()
			b.u32(uint32(width) << 16)
			b.u32(uint32(height) << 16)
		})
		b.box("mdia", func() {
			b.full("mdhd", 0, 0, func() {
				b.zero(8)
				b.u32(uint32(scale))
				b.u32(0)
				b.u16(0x55c4) // "und"
				b.u16(0)
			})
			b.full("hdlr", 0, 0, func() {
				b.u32(0)
				b.text(handler)
				b.zero(12 + 1)
			})
			b.box("minf", func() {
				if sound {
					b.full("smhd", 0, 0, func() { b.zero(4) })
				} else {
					b.full("vmhd", 0, 1, func() { b.zero(8) })
				}
				b.box("dinf", func() {
					b.full("dref", 0, 0, func() {
						b.u32(1)
						b.full("url ", 0, 1, func() {})
					})
				})
				b.box("stbl", func() {
					b.full("stsd", 0, 0, func() {
						b.u32(1)
						entry(b)
					})
					for _, empty := range []string{"stts", "stsc", "stco"} {
						b.full(empty, 0, 0, func() { b.u32(0) })
					}
					b.full("stsz", 0, 0, func() { b.zero(8) })
				})
			})
		})
	})
}

// videoEntry writes a sample entry of pictures (ISO/IEC 14496-12, section 12.1.3).
func (b *boxes) videoEntry(kind string, width, height int, config func()) {
	b.box(kind, func() {
		b.zero(6)
		b.u16(1) // the data reference
		b.zero(16)
		b.u16(uint16(width))
		b.u16(uint16(height))
		b.u32(0x480000) // 72 dpi
		b.u32(0x480000)
		b.u32(0)
		b.u16(1)   // pictures in a sample
		b.zero(32) // the compressor's name
		b.u16(24)
		b.u16(0xffff)
		config()
	})
}

// soundEntry writes a sample entry of sound (ISO/IEC 14496-12, section 12.2.3).
func (b *boxes) soundEntry(kind string, channels, rate int, config func()) {
	b.box(kind, func() {
		b.zero(6)
		b.u16(1) // the data reference
		b.zero(8)
		b.u16(uint16(channels))
		b.u16(16)
		b.u32(0)
		b.u16(uint16(rate))
		b.u16(0)
		config()
	})
}
