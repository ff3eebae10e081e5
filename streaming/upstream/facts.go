package upstream

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// Facts are what a stream was seen to be while it was pulled: what a player has to know
// before it connects. Zero values are unknown.
type Facts struct {
	Video VideoFacts
	Audio AudioFacts
	Seen  time.Time // when something came last
	// Pulled reports whether the stream is being pulled now.
	Pulled bool
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
	// GOPTooLong reports whether the pictures since the last key frame, or those of the whole
	// GOP before, exceed what MaxGOP leaves them: new viewers wait for the next key frame.
	GOPTooLong bool
}

// AudioFacts describe the first audio of a stream.
type AudioFacts struct {
	Codec      string // as in RTP: PCMU, PCMA, MPEG4-GENERIC; "": there is no audio
	SampleRate int    // Hz
	Channels   int
}

// lookWithin is how long Look waits for a key frame.
const lookWithin = 3 * time.Second

// Look returns what a stream is: what was seen of it, or else what is seen now of a camera
// that is pulled for that, if permitted (see Acquire). It waits for a key frame, for 3 s at
// most. It fails as Acquire does.
func (p *Pool) Look(ctx context.Context, of Stream, permitted func() bool) (Facts, error) {
	if f, ok := p.Seen(of); ok && (f.Pulled || f.Video.Codec == "" || f.Video.GOP > 0) {
		return f, nil
	}
	lease, err := p.Acquire(ctx, of, permitted)
	if err != nil {
		return Facts{}, err
	}
	defer lease.Release()
	p.mu.Lock()
	o := p.seen[of]
	p.mu.Unlock()
	if o == nil {
		return Facts{}, ErrLeft
	}
	timeout := time.NewTimer(lookWithin)
	defer timeout.Stop()
	select {
	case <-o.looked:
	case <-timeout.C:
	case <-ctx.Done():
		return Facts{}, ctx.Err()
	}
	if f, ok := p.Seen(of); ok {
		return f, nil
	}
	return Facts{}, ErrLeft
}

// Seen returns what was seen of a stream since this process began and its device last
// changed.
func (p *Pool) Seen(of Stream) (Facts, bool) {
	p.mu.Lock()
	o, u := p.seen[of], p.streams[of]
	pulled := u != nil && u.flowing != nil
	p.mu.Unlock()
	if o == nil {
		return Facts{}, false
	}
	f := o.seen()
	f.Pulled = pulled
	return f, true
}

// observe keeps the facts of a flow, which outlast it. The caller holds the pool's mutex.
func (p *Pool) observe(of Stream, flow *Flow) {
	delete(p.seen, of)
	for other := range p.seen {
		if len(p.seen) < maxSources {
			break
		}
		delete(p.seen, other)
	}
	p.seen[of] = flow.facts
}

// observer finds the facts of a flow.
type observer struct {
	track int // of the video; -1: none
	codec nalCodec
	clock float64 // Hz of the video's timestamps

	looked chan struct{} // closed at the first key frame, or when there is none to wait for
	saw    sync.Once

	mu         sync.Mutex
	facts      Facts
	began      bool   // a picture was seen
	picture    uint32 // timestamp of the current picture
	keyed      bool   // a key frame was seen
	key        uint32 // timestamp of the last one
	frames     int    // since then
	tooLong    bool   // what was sent since then was not cached
	longBefore bool   // what was sent between the two before was not
	shortest   time.Duration
	longest    time.Duration
	parameters bool // those of the current picture were read
}

// newObserver returns the observer of a stream of that description.
func newObserver(desc *description.Session) *observer {
	o := &observer{track: -1, looked: make(chan struct{})}
	o.facts.Seen = time.Now()
	for i, m := range desc.Medias {
		f := m.Formats[0]
		switch {
		case m.Type == description.MediaTypeVideo && o.track < 0:
			o.track, o.codec, o.clock = i, codecOf(f), float64(f.ClockRate())
			o.describe(f)
		case m.Type == description.MediaTypeAudio && o.facts.Audio.Codec == "":
			o.facts.Audio = audioFacts(f)
		}
	}
	if o.track < 0 || o.codec.header == 0 && o.facts.Video.Codec != "JPEG" {
		close(o.looked)
		o.saw.Do(func() {})
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
	case *format.H264:
		return "H264"
	case *format.H265:
		return "H265"
	case *format.MPEG4Audio: // incomplete ones have no rtpmap
		return "MPEG4-GENERIC"
	case *format.Generic:
		name, _, _ := strings.Cut(f.RTPMap(), "/")
		return strings.ToUpper(name)
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
		if len(unit) >= 4 {
			v.Profile, v.Level = h264Profile(unit[1], unit[2]), level(int(unit[3]), 10)
		}
		var sps h264.SPS
		if sps.Unmarshal(unit) == nil {
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
func h264Profile(idc, constraints byte) string {
	switch idc {
	case 66:
		if constraints&0x40 != 0 {
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

// add takes a packet, and what it has.
func (o *observer) add(p Packet, has content) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.facts.Seen = p.NTP
	if p.Track != o.track {
		return
	}
	at := Timestamp(p.Data)
	if !o.began || at != o.picture {
		o.nextPicture(at)
	}
	if has.sps != nil && !o.parameters {
		o.parameters = true
		o.parameterSet(has.sps)
	}
	if has.intra {
		o.keyFrame(at)
	}
	o.tooLong = o.tooLong || has.picture && has.tooLong
	o.facts.Video.GOPTooLong = o.tooLong || o.longBefore
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
	o.longBefore, o.tooLong = o.tooLong, false
	o.saw.Do(func() { close(o.looked) })
}

// end ends the waiting for facts. Those that were found remain.
func (o *observer) end() { o.saw.Do(func() { close(o.looked) }) }

// seen returns the facts so far.
func (o *observer) seen() Facts {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.facts
}
