package upstream

import (
	"fmt"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/pion/rtp"
)

// Facts are what a stream was seen to be while it was pulled: what a player has to know
// before it connects. Zero values are unknown.
type Facts struct {
	Video VideoFacts
	Audio AudioFacts
	Seen  time.Time // when it was last pulled
}

// VideoFacts describe the first video of a stream.
type VideoFacts struct {
	Codec         string // as in RTP: H264, H265, JPEG; "": there is no video
	Profile       string // of H.264 and H.265: the name in the standard
	Level         string // such as 4.1
	Width, Height int
	FrameRate     float64       // pictures a second, as sent
	GOP           time.Duration // between the last two key frames
	GOPFrames     int           // pictures from one of them to the next
	BFrames       bool          // pictures were sent in another order than they are shown in
	// VaryingGOP reports whether key frames come at changing intervals, as a "smart codec"
	// does that leaves them out while nothing moves.
	VaryingGOP bool
}

// AudioFacts describe the first audio of a stream.
type AudioFacts struct {
	Codec      string // as in RTP: PCMU, PCMA, MPEG4-GENERIC; "": there is no audio
	SampleRate int    // Hz
	Channels   int
}

// Facts returns what a stream was seen to be when it was last pulled, and whether it is
// being pulled now; false if it never was since this process began, or the device has
// changed since.
func (p *Pool) Facts(of Stream) (f Facts, pulled, ok bool) {
	p.mu.Lock()
	o := p.seen[of]
	u := p.streams[of]
	pulled = u != nil && u.flowing != nil
	p.mu.Unlock()
	if o == nil {
		return Facts{}, pulled, false
	}
	return o.seen(), pulled, true
}

// observe begins to find the facts of a flow. The caller holds the pool's mutex.
func (p *Pool) observe(of Stream, flow *Flow) {
	o := newObserver(flow.Description(), p.cfg.Now)
	if _, err := flow.Attach(o); err != nil {
		return
	}
	for other := range p.seen {
		if len(p.seen) < maxSources {
			break
		}
		delete(p.seen, other)
	}
	p.seen[of] = o
}

// observer is the reader of a flow that finds its facts.
type observer struct {
	now   func() time.Time
	track int // of the video; -1: none
	codec nalCodec
	clock float64 // Hz of the video's timestamps

	mu         sync.Mutex
	facts      Facts
	began      bool   // a picture was seen
	picture    uint32 // timestamp of the current picture
	keyed      bool   // a key frame was seen
	key        uint32 // timestamp of the last one
	frames     int    // since then
	shortest   time.Duration
	longest    time.Duration
	parameters bool // those of the current picture were read
}

// newObserver returns the observer of a stream of that description.
func newObserver(desc *description.Session, now func() time.Time) *observer {
	o := &observer{now: now, track: -1}
	o.facts.Seen = now()
	for i, m := range desc.Medias {
		f := m.Formats[0]
		switch {
		case m.Type == description.MediaTypeVideo && o.track < 0:
			o.track, o.codec, o.clock = i, newResizer(f).codec, float64(f.ClockRate())
			o.describe(f)
		case m.Type == description.MediaTypeAudio && o.facts.Audio.Codec == "":
			o.facts.Audio = audioFacts(f)
		}
	}
	return o
}

func audioFacts(f format.Format) AudioFacts {
	a := AudioFacts{Codec: codecName(f), SampleRate: f.ClockRate()}
	switch f := f.(type) {
	case *format.G711:
		a.Channels = f.ChannelCount
	case *format.LPCM:
		a.Channels = f.ChannelCount
	case *format.Opus:
		a.Channels = f.ChannelCount
	case *format.MPEG4Audio:
		if f.Config != nil {
			a.SampleRate, a.Channels = f.Config.SampleRate, f.Config.ChannelCount
		}
	}
	return a
}

// codecName returns the encoding name of a format, as in an rtpmap.
func codecName(f format.Format) string {
	switch f := f.(type) {
	case *format.G711:
		if f.MULaw {
			return "PCMU"
		}
		return "PCMA"
	case *format.MJPEG:
		return "JPEG"
	}
	name := f.RTPMap()
	for i, c := range name {
		if c == '/' {
			return name[:i]
		}
	}
	return f.Codec()
}

func (o *observer) describe(f format.Format) {
	v := &o.facts.Video
	v.Codec = codecName(f)
	switch f := f.(type) {
	case *format.H264:
		sps, _ := f.SafeParams()
		o.parameterSet(sps)
	case *format.H265:
		_, sps, _ := f.SafeParams()
		o.parameterSet(sps)
	}
}

// parameterSet reads a sequence parameter set. One that cannot be read changes nothing.
func (o *observer) parameterSet(unit []byte) {
	v := &o.facts.Video
	switch o.codec.header {
	case h264Codec.header:
		var sps h264.SPS
		if sps.Unmarshal(unit) == nil {
			v.Profile, v.Level = h264Profile(sps), level(int(sps.LevelIdc), 10)
			v.Width, v.Height = sps.Width(), sps.Height()
		}
	case h265Codec.header:
		var sps h265.SPS
		if sps.Unmarshal(unit) == nil {
			v.Profile, v.Level = h265Profile(sps), level(int(sps.ProfileTierLevel.GeneralLevelIdc), 30)
			v.Width, v.Height = sps.Width(), sps.Height()
		}
	}
}

func level(idc, unit int) string {
	if minor := idc % unit * 10 / unit; minor != 0 {
		return fmt.Sprintf("%d.%d", idc/unit, minor)
	}
	return fmt.Sprint(idc / unit)
}

// h264Profile names the profiles of ITU-T H.264, annex A.
func h264Profile(sps h264.SPS) string {
	switch sps.ProfileIdc {
	case 66:
		if sps.ConstraintSet1Flag {
			return "Constrained Baseline"
		}
		return "Baseline"
	case 77:
		return "Main"
	case 88:
		return "Extended"
	case 100:
		return "High"
	case 110:
		return "High 10"
	case 122:
		return "High 4:2:2"
	case 244:
		return "High 4:4:4 Predictive"
	}
	return ""
}

// h265Profile names the profiles of ITU-T H.265, annex A.
func h265Profile(sps h265.SPS) string {
	switch sps.ProfileTierLevel.GeneralProfileIdc {
	case 1:
		return "Main"
	case 2:
		return "Main 10"
	case 3:
		return "Main Still Picture"
	case 4:
		return "Range Extensions"
	}
	return ""
}

// Take looks at a packet.
func (o *observer) Take(p Packet) {
	if p.Track != o.track {
		return
	}
	var pkt rtp.Header
	n, err := pkt.Unmarshal(p.Data)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.facts.Seen = o.now()
	if !o.began || pkt.Timestamp != o.picture {
		o.nextPicture(pkt.Timestamp)
	}
	switch {
	case o.facts.Video.Codec == "JPEG":
		o.keyFrame(pkt.Timestamp)
	case o.codec.header != 0:
		o.codec.units(p.Data[n:], func(kind byte, unit []byte) {
			switch {
			case o.codec.isSPS(kind) && !o.parameters && unit != nil:
				o.parameters = true
				o.parameterSet(unit)
			case o.codec.isKey(kind):
				o.keyFrame(pkt.Timestamp)
			}
		})
	}
}

func (o *observer) nextPicture(at uint32) {
	if o.began && int32(at-o.picture) < 0 && o.since(at, o.picture) < time.Second {
		o.facts.Video.BFrames = true
	}
	o.began, o.picture, o.parameters = true, at, false
	o.frames++
}

// since returns the time between two timestamps.
func (o *observer) since(from, to uint32) time.Duration {
	if o.clock <= 0 {
		return 0
	}
	return time.Duration(float64(int32(to-from)) / o.clock * float64(time.Second))
}

// keyFrame counts a picture that was sent as a key frame; its further packets say so
// again.
func (o *observer) keyFrame(at uint32) {
	if o.keyed && at == o.key {
		return
	}
	if gop := o.since(o.key, at); o.keyed && gop > 0 {
		v := &o.facts.Video
		v.GOP, v.GOPFrames, v.FrameRate = gop, o.frames, float64(o.frames)/gop.Seconds()
		if o.longest = max(o.longest, gop); o.shortest == 0 || gop < o.shortest {
			o.shortest = gop
		}
		v.VaryingGOP = o.longest > 2*o.shortest
	}
	o.keyed, o.key, o.frames = true, at, 0
}

// End does nothing: the facts remain.
func (o *observer) End(error) {}

// seen returns the facts so far.
func (o *observer) seen() Facts {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.facts
}

// units calls each with the type of each NAL unit that begins in the payload of a packet,
// and with the unit itself if it is whole.
func (c nalCodec) units(payload []byte, each func(kind byte, unit []byte)) {
	if len(payload) <= c.header {
		return
	}
	switch kind := c.kind(payload); {
	case kind == c.fragment:
		if about := payload[c.header]; about&0x80 != 0 {
			each(about&c.fragmentKind(), nil)
		}
	case kind == c.aggregate:
		for body := payload[c.header:]; len(body) > 2; {
			size := int(body[0])<<8 | int(body[1])
			if body = body[2:]; size == 0 || size > len(body) {
				return
			}
			if size > c.header {
				each(c.kind(body), body[:size])
			}
			body = body[size:]
		}
	case kind < c.aggregate:
		each(kind, payload)
	}
}

func (c nalCodec) fragmentKind() byte {
	if c.header == h264Codec.header {
		return 0x1f
	}
	return 0x3f
}

func (c nalCodec) isSPS(kind byte) bool {
	if c.header == h264Codec.header {
		return kind == byte(h264.NALUTypeSPS)
	}
	return kind == byte(h265.NALUType_SPS_NUT)
}

// isKey reports whether a NAL unit belongs to a picture that can be decoded alone.
func (c nalCodec) isKey(kind byte) bool {
	if c.header == h264Codec.header {
		return kind == byte(h264.NALUTypeIDR)
	}
	return kind >= byte(h265.NALUType_BLA_W_LP) && kind <= byte(h265.NALUType_CRA_NUT)
}
