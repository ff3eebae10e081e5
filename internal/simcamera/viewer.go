package simcamera

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtplpcm"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// viewer is one RTSP session: what it watches and the goroutine that sends it.
type viewer struct {
	camera  *Camera
	session *gortsplib.ServerSession
	stream  *gortsplib.ServerStream
	target  target
	medias  medias
	video   *rtph264.Encoder
	sound   *rtplpcm.Encoder
	base    uint32        // RTP timestamps begin here
	sent    time.Duration // of the stream, over all its parts between pauses

	listening bool // the back channel is connected

	mu       sync.Mutex
	part     span // what to play next, for playback
	scale    float64
	cseq     byte               // of the last PLAY
	cancel   context.CancelFunc // of the goroutine that sends, nil if there is none
	finished chan struct{}      // closed when it has ended
	closed   bool
}

func (s *rtspServer) newViewer(session *gortsplib.ServerSession, t target) (*viewer, error) {
	v := &viewer{camera: s.camera, session: session, target: t, medias: s.camera.medias(t),
		base: rand.Uint32(), part: span{t.start, t.end}, scale: 1}
	v.stream = &gortsplib.ServerStream{Server: s.server, Desc: &description.Session{Medias: v.medias.all()}}

	var err error
	if v.video, err = v.medias.video.Formats[0].(*format.H264).CreateEncoder(); err != nil {
		return nil, fmt.Errorf("packing the picture: %w", err)
	}
	if v.medias.sound != nil {
		if v.sound, err = v.medias.sound.Formats[0].(*format.G711).CreateEncoder(); err != nil {
			return nil, fmt.Errorf("packing the sound: %w", err)
		}
	}
	if err := v.stream.Initialize(); err != nil {
		return nil, fmt.Errorf("opening the stream: %w", err)
	}
	return v, nil
}

// prepare reads a PLAY request and returns its response; with an error the response
// refuses it.
func (v *viewer) prepare(req *base.Request) (*base.Response, error) {
	res := answer(base.StatusOK)
	if !v.target.playback {
		res.Header["Range"] = base.HeaderValue{"npt=0.000-"}
		return res, nil
	}

	v.pause()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.target.replay && v.sent == 0 && len(req.Header["Range"]) == 0 {
		return answer(base.StatusInvalidRange), fmt.Errorf("replaying: from when?")
	}
	if h := req.Header["CSeq"]; len(h) > 0 {
		n, _ := strconv.ParseUint(h[0], 10, 32)
		v.cseq = byte(n)
	}
	if h := req.Header["Scale"]; len(h) > 0 {
		scale, err := parseScale(h[0])
		if err != nil {
			return answer(base.StatusBadRequest), err
		}
		v.scale = scale
	}
	if h := req.Header["Range"]; len(h) > 0 {
		part, err := parseRange(h[0], v.target)
		if err != nil {
			return answer(base.StatusInvalidRange), err
		}
		if part.start.After(v.camera.cfg.Now()) {
			return answer(base.StatusInvalidRange), fmt.Errorf("seeking: not recorded yet")
		}
		if !isResume(h[0]) || v.sent == 0 {
			v.part = part
		}
	}
	res.Header["Range"] = base.HeaderValue{v.part.String()}
	res.Header["Scale"] = base.HeaderValue{strconv.FormatFloat(v.scale, 'f', -1, 64)}
	return res, nil
}

// String is the part as a Range header gives it.
func (s span) String() string {
	const layout = "20060102T150405.000Z"
	out := "clock=" + s.start.UTC().Format(layout) + "-"
	if !s.end.IsZero() {
		out += s.end.UTC().Format(layout)
	}
	return out
}

// isResume reports whether a Range means: resume after a pause (RFC 2326 section 3.6).
func isResume(value string) bool { return strings.TrimSpace(value) == "npt=now-" }

// listen connects the back channel, once.
func (v *viewer) listen() {
	if v.listening {
		return
	}
	v.listening = true
	for _, m := range v.session.SetuppedMedias() {
		if !m.IsBackChannel {
			continue
		}
		v.session.OnPacketRTP(m, m.Formats[0], func(p *rtp.Packet) { v.camera.talk.hear(len(p.Payload)) })
	}
}

// play starts sending, unless it is already in progress.
func (v *viewer) play() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || v.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(v.camera.ctx)
	finished := make(chan struct{})
	v.cancel, v.finished = cancel, finished
	part, scale := v.part, v.scale
	go func() {
		defer close(finished)
		if v.target.playback {
			v.replay(ctx, part, scale)
		} else {
			v.live(ctx)
		}
	}()
}

// pause stops sending and waits until nothing more is sent.
func (v *viewer) pause() {
	v.mu.Lock()
	cancel, finished := v.cancel, v.finished
	v.cancel = nil
	v.mu.Unlock()
	if cancel != nil {
		cancel()
		<-finished
	}
}

func (v *viewer) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.pause()
	v.stream.Close()
}

// live sends what the channel sees.
func (v *viewer) live(ctx context.Context) {
	f := v.camera.channel(v.target.channel).feed(v.target.quality)
	w := f.watch()
	defer f.leave(w)
	var (
		offset  time.Duration
		started = false
	)
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-w.units:
			if v.camera.faults.stalled() {
				started = false
				continue
			}
			if !started && !u.key {
				continue
			}
			if !started {
				offset = v.sent - u.pts
				started = true
			}
			u.pts += offset
			v.send(u)
		}
	}
}

// send packs one picture and the sound that goes with it.
func (v *viewer) send(u unit) {
	if v.camera.faults.brokenRTP() {
		v.sendNoise(u)
		return
	}
	packets, err := v.video.Encode(u.nalus)
	if err == nil {
		v.write(v.medias.video, packets, units(u.pts, 90000), u.at)
	}
	v.sendSound(u)
	v.sent = u.pts + u.length
}

func (v *viewer) sendSound(u unit) {
	if v.sound == nil || u.length == 0 {
		return
	}
	from, to := units(u.pts, soundRate), units(u.pts+u.length, soundRate)
	day := u.at.UnixNano() / int64(time.Second/soundRate)
	packets, err := v.sound.Encode(sound(day, int(to-from)))
	if err == nil {
		v.write(v.medias.sound, packets, from, u.at)
	}
}

func (v *viewer) write(m *description.Media, packets []*rtp.Packet, pts int64, at time.Time) {
	for _, p := range packets {
		p.Timestamp += v.base + uint32(pts)
		if v.target.replay {
			v.date(p, at)
		}
		// An error means that the stream is closed; the session is ending then.
		_ = v.stream.WritePacketRTPWithNTP(m, p, at)
	}
}

// date adds the time that a packet shows (ONVIF Streaming Specification, 6.3).
func (v *viewer) date(p *rtp.Packet, at time.Time) {
	const epoch = 2208988800 // 1970 in seconds since 1900
	b := binary.BigEndian.AppendUint32(nil, uint32(at.Unix()+epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(uint64(at.Nanosecond())<<32/1e9))
	p.Extension, p.ExtensionProfile = true, 0xABAC
	_ = p.SetExtension(0, append(b, 0, v.cseq, 0, 0)) // it is as long as it must be
}

// units turns a time into units of an RTP clock.
func units(d time.Duration, rate int64) int64 {
	seconds, rest := int64(d/time.Second), int64(d%time.Second)
	return seconds*rate + (rest*rate+int64(time.Second)/2)/int64(time.Second)
}

// bye reports that the stream is over (RFC 3550 section 6.6).
func (v *viewer) bye() {
	stats := v.stream.Stats()
	for m, one := range stats.Medias {
		for _, f := range one.Formats {
			_ = v.stream.WritePacketRTCP(m, &rtcp.Goodbye{Sources: []uint32{f.LocalSSRC}})
		}
	}
}
