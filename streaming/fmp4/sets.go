package fmp4

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// maxPPS is how many picture parameter sets are kept, the newest; maxSet is the size of the
// largest parameter set, in bytes.
const (
	maxPPS = 16
	maxSet = 16 << 10
)

// sets are the parameter sets of a video.
type sets struct {
	vps, sps []byte
	pps      [][]byte
}

// setSPS takes a sequence parameter set, and reports whether it is another one. The picture
// parameter sets belong to it.
func (s *sets) setSPS(unit []byte) bool {
	if bytes.Equal(s.sps, unit) || len(unit) > maxSet {
		return false
	}
	s.sps, s.pps = bytes.Clone(unit), nil
	return true
}

func (s *sets) setVPS(unit []byte) bool {
	if bytes.Equal(s.vps, unit) || len(unit) > maxSet {
		return false
	}
	s.vps = bytes.Clone(unit)
	return true
}

// addPPS takes a picture parameter set. Of two with the same id the later one counts.
func (s *sets) addPPS(unit []byte) bool {
	if len(unit) > maxSet || slices.ContainsFunc(s.pps, func(other []byte) bool { return bytes.Equal(other, unit) }) {
		return false
	}
	if len(s.pps) == maxPPS {
		s.pps = s.pps[1:]
	}
	s.pps = append(slices.Clip(s.pps), bytes.Clone(unit))
	return true
}

// videoConfig is what the sets say of a video.
type videoConfig struct {
	codec         string // RFC 6381
	width, height int
	depth         int     // pictures that are decoded before one that is shown before them
	rate          float64 // pictures a second; 0: unknown
	entry         func(*boxes)
}

var errNoSets = errors.New("a parameter set is missing")

// h264Config reads the sets of H.264.
func (s *sets) h264Config() (videoConfig, error) {
	if len(s.sps) < 4 || len(s.pps) == 0 {
		return videoConfig{}, errNoSets
	}
	var sps h264.SPS
	if err := sps.Unmarshal(s.sps); err != nil {
		return videoConfig{}, fmt.Errorf("reading a sequence parameter set of H.264: %w", err)
	}
	c := videoConfig{
		codec: fmt.Sprintf("avc1.%02x%02x%02x", s.sps[1], s.sps[2], s.sps[3]),
		width: sps.Width(), height: sps.Height(), rate: sps.FPS(),
	}
	if v := sps.VUI; v != nil && v.BitstreamRestriction != nil && sps.PicOrderCntType != 2 {
		c.depth = int(min(v.BitstreamRestriction.MaxNumReorderFrames, maxDepth))
	}
	kept := *s
	c.entry = func(b *boxes) {
		b.videoEntry("avc1", c.width, c.height, func() {
			b.box("avcC", func() { // ISO/IEC 14496-15, section 5.3.3.1
				b.u8(1, kept.sps[1], kept.sps[2], kept.sps[3], 0xff, 0xe1)
				b.sized(kept.sps)
				b.u8(byte(len(kept.pps)))
				for _, pps := range kept.pps {
					b.sized(pps)
				}
				switch kept.sps[1] {
				case 100, 110, 122, 144:
					b.u8(0xfc|byte(sps.ChromaFormatIdc), 0xf8|byte(sps.BitDepthLumaMinus8), 0xf8|byte(sps.BitDepthChromaMinus8), 0)
				}
			})
		})
	}
	return c, nil
}

// h265Config reads the sets of H.265.
func (s *sets) h265Config() (videoConfig, error) {
	if len(s.vps) == 0 || len(s.pps) == 0 {
		return videoConfig{}, errNoSets
	}
	var sps h265.SPS
	if err := sps.Unmarshal(s.sps); err != nil {
		return videoConfig{}, fmt.Errorf("reading a sequence parameter set of H.265: %w", err)
	}
	// The general part of profile_tier_level (ITU-T H.265, section 7.3.3) is copied.
	const header, size = 3, 12
	plain := h264.EmulationPreventionRemove(s.sps[:min(len(s.sps), 32)])
	if len(plain) < header+size {
		return videoConfig{}, errNoSets
	}
	general := plain[header : header+size]
	c := videoConfig{codec: hvc1(general), width: sps.Width(), height: sps.Height(), rate: sps.FPS()}
	if n := len(sps.MaxNumReorderPics); n > 0 {
		c.depth = int(min(sps.MaxNumReorderPics[n-1], maxDepth))
	}
	kept := *s
	c.entry = func(b *boxes) {
		b.videoEntry("hvc1", c.width, c.height, func() {
			b.box("hvcC", func() { // ISO/IEC 14496-15, section 8.3.3.1
				b.u8(1)
				b.u8(general...)
				b.u16(0xf000) // spatial segmentation is unknown
				b.u8(0xfc)    // and parallelism
				b.u8(0xfc|byte(sps.ChromaFormatIdc), 0xf8|byte(sps.BitDepthLumaMinus8), 0xf8|byte(sps.BitDepthChromaMinus8))
				b.u16(0) // the frame rate is not said
				nested := byte(0)
				if sps.TemporalIDNestingFlag {
					nested = 1 << 2
				}
				b.u8((sps.MaxSubLayersMinus1+1)&7<<3 | nested | 3)
				b.u8(3)
				for _, array := range []struct {
					kind  byte
					units [][]byte
				}{{vpsH265, [][]byte{kept.vps}}, {spsH265, [][]byte{kept.sps}}, {ppsH265, kept.pps}} {
					b.u8(0x80 | array.kind) // all of them are here
					b.u16(uint16(len(array.units)))
					for _, unit := range array.units {
						b.sized(unit)
					}
				}
			})
		})
	}
	return c, nil
}

// hvc1 names a profile (ISO/IEC 14496-15, annex E.3).
func hvc1(general []byte) string {
	space := []string{"", "A", "B", "C"}[general[0]>>6]
	tier := "L"
	if general[0]&0x20 != 0 {
		tier = "H"
	}
	compatible := uint32(general[1])<<24 | uint32(general[2])<<16 | uint32(general[3])<<8 | uint32(general[4])
	name := fmt.Sprintf("hvc1.%s%d.%X.%s%d", space, general[0]&0x1f, bits.Reverse32(compatible), tier, general[11])
	var out strings.Builder
	out.WriteString(name)
	for _, b := range bytes.TrimRight(general[5:11], "\x00") {
		fmt.Fprintf(&out, ".%X", b)
	}
	return out.String()
}
