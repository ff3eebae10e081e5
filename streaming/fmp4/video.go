package fmp4

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/pion/rtp"
)

const (
	// maxPicture is how large a picture may be, in bytes.
	maxPicture = 8 << 20
	// maxStep is how far the timestamps of two packets may be apart, in ticks of video.
	// Beyond it, another timeline begins.
	maxStep = 10 * VideoScale
	// usualFrame is how long a picture is shown if that is not known, in ticks; longestFrame
	// is what is believed.
	usualFrame   = VideoScale / 25
	longestFrame = 2 * VideoScale
	// startAt is where the first picture is shown, in ticks: before it must be room for the
	// pictures that are decoded before they are shown.
	startAt = VideoScale
	// maxLate is how many packets one may be late. One that is later begins another count.
	maxLate = 1000
)

// Types of NAL units.
const (
	idrH264 = 5
	seiH264 = 6
	spsH264 = 7
	ppsH264 = 8

	raslNH265, raslRH265   = 8, 9
	firstIRAP, lastIRAP    = 16, 21 // those with which a decoder can start
	vpsH265                = 32
	spsH265                = 33
	ppsH265                = 34
	seiH265, seiSuffixH265 = 39, 40
)

// depacketizer takes the NAL units out of packets.
type depacketizer interface {
	Decode(pkt *rtp.Packet) ([][]byte, error)
}

// picture is one that is being received.
type picture struct {
	pts, dts int64
	timed    bool // dts is known
	marker   bool // its last packet has the marker
	key      bool
	skipped  bool // what it needs was not sent
	has      bool // anything of a picture
	data     []byte
}

// video packs the video of a stream.
type video struct {
	h265    bool
	fresh   func() depacketizer
	units   depacketizer
	sets    sets
	changed bool // the sets, since init
	sound   *soundConfig
	config  videoConfig
	init    *Init

	begun     bool // seq is known
	seq       uint16
	timed     bool // timestamp is known
	timestamp uint32
	ticks     int64 // of it
	newLine   bool  // the timestamps began another timeline

	order   order
	now     *picture
	waiting bool  // for a picture that a decoder can start with
	jump    bool  // the next one need not follow the one before
	noRASL  bool  // pictures that refer to some before the last key frame are left out
	end     int64 // DTS where the last sample ends
	shown   int64 // until when any sample is shown
	frame   int64 // how long a picture is shown, about
}

// errFormat is returned for a format that is not packed.
var errFormat = errors.New("the format has no place in MP4")

func newVideo(f format.Format, sound *soundConfig) (*video, error) {
	v := &video{sound: sound, waiting: true, jump: true, frame: usualFrame, end: startAt, shown: startAt, changed: true}
	switch f := f.(type) {
	case *format.H264:
		if f.PacketizationMode > 1 {
			return nil, fmt.Errorf("packing H.264 in packetization-mode %d: %w", f.PacketizationMode, errFormat)
		}
		v.fresh = func() depacketizer { return &rtph264.Decoder{PacketizationMode: f.PacketizationMode} }
		sps, pps := f.SafeParams()
		v.describe(nil, sps, pps)
	case *format.H265:
		if f.MaxDONDiff != 0 {
			return nil, fmt.Errorf("packing interleaved H.265: %w", errFormat)
		}
		v.h265 = true
		v.fresh = func() depacketizer { return &rtph265.Decoder{} }
		vps, sps, pps := f.SafeParams()
		v.describe(vps, sps, pps)
	default:
		return nil, errFormat
	}
	v.units = v.fresh()
	return v, nil
}

// describe takes the sets of a description.
func (v *video) describe(vps, sps, pps []byte) {
	if len(vps) > 0 {
		v.sets.setVPS(vps)
	}
	if len(sps) > 0 {
		v.sets.setSPS(sps)
	}
	if len(pps) > 0 {
		v.sets.addPPS(pps)
	}
	_ = v.configure() // if something is missing, it may come with the pictures
}

// configure makes Init from the sets.
func (v *video) configure() error {
	read := v.sets.h264Config
	if v.h265 {
		read = v.sets.h265Config
	}
	c, err := read()
	if err != nil {
		return err
	}
	v.config, v.init, v.changed = c, newInit(c, v.sound), false
	if c.rate > 1 && c.rate <= 240 {
		v.frame = int64(VideoScale / c.rate)
	}
	return nil
}

// write takes a packet and returns the picture that is complete with it, if any is.
func (v *video) write(p Packet) (out []Sample) {
	if v.begun {
		switch ahead := int16(p.Sequence - v.seq); {
		case ahead <= 0 && ahead > -maxLate:
			return nil
		case ahead != 1:
			out = v.lose()
		}
	}
	v.begun, v.seq = true, p.Sequence
	if v.now == nil || p.Timestamp != v.timestamp {
		out = append(out, v.next(p.Timestamp)...)
	}
	units, err := v.units.Decode(&rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: p.Sequence, Timestamp: p.Timestamp, Marker: true},
		Payload: p.Payload,
	})
	if err != nil && !errors.Is(err, rtph264.ErrMorePacketsNeeded) && !errors.Is(err, rtph265.ErrMorePacketsNeeded) {
		v.now.skipped = true
	}
	for _, unit := range units {
		v.add(unit)
	}
	v.now.marker = p.Marker
	return out
}

// lose notes that packets are missing. What was being received may be one of several
// pictures that are not complete.
func (v *video) lose() (out []Sample) {
	if v.now != nil && v.now.marker {
		out = v.flush()
	}
	v.now, v.waiting = nil, true
	v.units = v.fresh()
	return out
}

// flush returns the picture that was being received, shown for as long as usual.
func (v *video) flush() []Sample {
	now := v.now
	v.now = nil
	if now == nil || !v.accept(now) {
		return nil
	}
	return []Sample{v.sample(now, now.dts+v.frame)}
}

// next begins a picture, and returns the one before.
func (v *video) next(timestamp uint32) (out []Sample) {
	before := v.now
	v.now = &picture{pts: v.at(timestamp)}
	switch {
	case before == nil:
	case v.accept(before):
		v.now.dts, v.now.timed = v.order.dts(v.now.pts, min(v.frame, usualFrame)), true
		out = append(out, v.sample(before, v.now.dts))
	case !v.waiting: // it was none, and its time is that of the next
		v.now.dts, v.now.timed = before.dts, before.timed
	}
	return out
}

// at returns the place of a timestamp on the timeline.
func (v *video) at(timestamp uint32) int64 {
	step := int64(int32(timestamp - v.timestamp))
	switch {
	case !v.timed:
		v.ticks = v.shown
	case step > maxStep || step < -maxStep:
		v.ticks, v.newLine = max(v.ticks, v.shown)+v.frame, true
	default:
		v.ticks += step
	}
	v.timed, v.timestamp = true, timestamp
	return v.ticks
}

// accept reports whether a picture is passed on, and notes when it is decoded.
func (v *video) accept(p *picture) bool {
	switch {
	case p.skipped:
		v.waiting = true
		return false
	case !p.has, v.waiting && !p.key:
		return false
	case p.key && v.changed && v.configure() != nil:
		v.waiting = true
		return false
	}
	if !v.waiting && p.timed {
		return true
	}
	if v.waiting {
		v.order.begin(v.config.depth)
	}
	switch {
	case !v.jump:
		p.dts = v.end
		v.order.resume(p.pts, p.dts)
	default:
		p.dts = v.order.dts(p.pts, min(v.frame, usualFrame))
	}
	v.waiting, v.jump, p.timed = false, false, true
	return true
}

// sample returns a picture that ends at a DTS.
func (v *video) sample(p *picture, end int64) Sample {
	duration := min(max(end-p.dts, 1), 1<<31)
	v.end, v.shown = p.dts+duration, max(v.shown, p.pts+duration)
	if duration <= longestFrame {
		v.frame = max((3*v.frame+duration)/4, 1)
	}
	return Sample{Init: v.init, Track: VideoTrack, DTS: p.dts, PTS: p.pts, Duration: uint32(duration), Key: p.key, Data: p.data}
}

// add takes a NAL unit of the current picture.
func (v *video) add(unit []byte) {
	if v.h265 {
		v.addH265(unit)
	} else {
		v.addH264(unit)
	}
}

func (v *video) addH264(unit []byte) {
	if len(unit) == 0 {
		return
	}
	switch kind := unit[0] & 0x1f; {
	case kind == spsH264:
		v.changed = v.sets.setSPS(unit) || v.changed
	case kind == ppsH264:
		v.changed = v.sets.addPPS(unit) || v.changed
	case kind == seiH264:
		v.put(unit)
	case kind >= 1 && kind <= idrH264:
		v.now.has = true
		v.now.key = v.now.key || kind == idrH264
		v.put(unit)
	}
}

func (v *video) addH265(unit []byte) {
	if len(unit) < 2 {
		return
	}
	switch kind := unit[0] >> 1 & 0x3f; {
	case kind == vpsH265:
		v.changed = v.sets.setVPS(unit) || v.changed
	case kind == spsH265:
		v.changed = v.sets.setSPS(unit) || v.changed
	case kind == ppsH265:
		v.changed = v.sets.addPPS(unit) || v.changed
	case kind == seiH265, kind == seiSuffixH265:
		v.put(unit)
	case kind == raslNH265 || kind == raslRH265:
		if v.noRASL {
			return
		}
		v.now.has = true
		v.put(unit)
	case kind < vpsH265:
		if kind >= firstIRAP && kind <= lastIRAP {
			v.now.key, v.noRASL = true, v.waiting
		}
		v.now.has = true
		v.put(unit)
	}
}

// put appends a NAL unit to the current picture (ISO/IEC 14496-15, section 4.2).
func (v *video) put(unit []byte) {
	if len(v.now.data)+4+len(unit) > maxPicture {
		v.now.skipped = true
		return
	}
	v.now.data = binary.BigEndian.AppendUint32(v.now.data, uint32(len(unit)))
	v.now.data = append(v.now.data, unit...)
}

// reset begins again with the next picture that a decoder can start with: there, or where
// the last one ends if at is negative.
func (v *video) reset(at int64) (out []Sample) {
	out = v.flush()
	v.units = v.fresh()
	v.begun, v.timed, v.waiting = false, false, true
	if at >= 0 {
		v.end, v.shown, v.jump = at, at, true
	}
	return out
}
