package fmp4

import "math"

// Sample is a picture, or a piece of sound. It is shared: its data must not be modified.
type Sample struct {
	// Init is what a player must have before it: another than that of the sample before if
	// the camera has changed its stream.
	Init *Init
	// Track is VideoTrack or SoundTrack.
	Track int
	// DTS and PTS are when it is decoded and shown, in ticks of its track. The DTS of a track
	// is where the sample before ends, except after Reset.
	DTS, PTS int64
	Duration uint32 // in ticks
	// Key reports that a decoder can start with it.
	Key  bool
	Data []byte
}

// Flags of samples (ISO/IEC 14496-12, section 8.8.3.1).
const (
	dependsOnNone   = 0x02000000
	dependsOnOthers = 0x01010000
)

// AppendFragment appends a fragment with one sample, as moof and mdat, to a buffer. Its
// number is for orientation: those of a file should grow.
func (s *Sample) AppendFragment(buf []byte, number uint32) []byte {
	const offsetAt = 16 // of the trun's data offset
	b := boxes{buf}
	moof, trun := len(buf), 0
	b.box("moof", func() {
		b.full("mfhd", 0, 0, func() { b.u32(number) })
		b.box("traf", func() {
			const baseIsMoof = 0x20000
			b.full("tfhd", 0, baseIsMoof, func() { b.u32(uint32(s.Track)) })
			b.full("tfdt", 1, 0, func() { b.u64(uint64(max(s.DTS, 0))) })
			trun = len(b.data)
			const offset, duration, size, flags, composition = 0x1, 0x100, 0x200, 0x400, 0x800
			b.full("trun", 1, offset|duration|size|flags|composition, func() {
				b.u32(1)
				b.u32(0)
				b.u32(s.Duration)
				b.u32(uint32(len(s.Data)))
				if s.Key {
					b.u32(dependsOnNone)
				} else {
					b.u32(dependsOnOthers)
				}
				b.u32(uint32(int32(min(max(s.PTS-max(s.DTS, 0), math.MinInt32), math.MaxInt32))))
			})
		})
	})
	header := boxes{b.data[:trun+offsetAt]}
	header.u32(uint32(len(b.data) - moof + 8))
	b.box("mdat", func() { b.u8(s.Data...) })
	return b.data
}
