package webrtc

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"latchkey/streaming/upstream"
)

const (
	// maxHistory is how many packets of a track may be asked for again.
	maxHistory = 512
	// maxGap is how many packets of the camera may be missing in one place: a viewer sees the
	// gap. A larger one is the beginning of another count.
	maxGap = 1000
)

// track is what is sent of one track to one viewer. Numbers only ever grow: a number that
// was used for two packets would break the encryption.
type track struct {
	of      int // of the flow
	mime    string
	id      string
	bound   chan struct{} // closed when it can be sent
	binding sync.Once
	ssrc    uint32
	payload uint8
	writer  webrtc.TrackLocalWriter

	mu      sync.Mutex
	begun   bool
	taken   bool   // the camera's last packet was sent, and not left out
	in, out uint16 // numbers of the last packet, of the camera and for the viewer
	history [maxHistory]sent
	header  rtp.Header // of the packet that is being written
	packets uint32
	octets  uint32
	report  time.Time // of the last one
}

// sent is a packet that may be asked for again.
type sent struct {
	number    uint16
	marker    bool
	timestamp uint32
	payload   []byte // shared; nil: none was sent
}

func newTrack(of int, mime string) *track {
	return &track{
		of: of, mime: mime, id: fmt.Sprint("track-", of), bound: make(chan struct{}),
		out: uint16(rand.UintN(1 << 15)), // far from its wrap (RFC 3711, section 3.3.1)
	}
}

// Bind is called by pion when the codec is agreed on.
func (t *track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	for _, p := range c.CodecParameters() {
		if p.MimeType == t.mime {
			t.binding.Do(func() {
				t.ssrc, t.payload, t.writer = uint32(c.SSRC()), uint8(p.PayloadType), c.WriteStream()
				close(t.bound)
			})
			return p, nil
		}
	}
	return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
}

// Unbind does nothing: the viewer has ended.
func (t *track) Unbind(webrtc.TrackLocalContext) error { return nil }

// ID names the track.
func (t *track) ID() string { return t.id }

// RID is empty: there is one encoding.
func (t *track) RID() string { return "" }

// StreamID is the same for picture and sound: they are played together.
func (t *track) StreamID() string { return "camera" }

// Kind is that of the codec.
func (t *track) Kind() webrtc.RTPCodecType {
	if t.mime[0] == 'v' {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

// send sends a piece; one that is late is left out.
func (t *track) send(p piece) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.follows {
		if !t.taken || p.number != t.in {
			return nil
		}
		return t.write(1, p)
	}
	step := uint16(1)
	t.taken = false
	if t.begun && !p.resumes {
		switch ahead := int16(p.number - t.in); {
		case ahead <= 0 && ahead > -maxGap:
			return nil
		case ahead > 0 && ahead <= maxGap:
			step = uint16(ahead)
		}
	}
	t.begun, t.taken, t.in = true, true, p.number
	if p.sets != nil {
		if err := t.write(step, piece{timestamp: p.timestamp, payload: p.sets}); err != nil {
			return err
		}
		step = 1
	}
	return t.write(step, p)
}

// write sends a packet. The caller holds mu.
func (t *track) write(step uint16, p piece) error {
	t.out += step
	if len(p.payload) == 0 {
		return nil
	}
	s := sent{t.out, p.marker, p.timestamp, p.payload}
	t.history[t.out%maxHistory] = s
	t.packets++
	t.octets += uint32(len(p.payload))
	return t.writeRTP(s)
}

func (t *track) writeRTP(s sent) error {
	t.header = rtp.Header{
		Version: 2, Marker: s.marker, PayloadType: t.payload, SequenceNumber: s.number, Timestamp: s.timestamp, SSRC: t.ssrc,
	}
	_, err := t.writer.WriteRTP(&t.header, s.payload)
	return err
}

// again sends a packet once more, if it is remembered: the same bytes.
func (t *track) again(number uint16) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.history[number%maxHistory]
	if s.payload == nil || s.number != number {
		return nil
	}
	return t.writeRTP(s)
}

// reportEvery is how often a viewer gets a sender report of each track.
const reportEvery = time.Second

// reportOf returns the report that is due; nil if none is.
func (t *track) reportOf(flow *upstream.Flow, now time.Time) *rtcp.SenderReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.packets == 0 || now.Sub(t.report) < reportEvery {
		return nil
	}
	ntp, timestamp, ok := flow.Report(t.of, now)
	if !ok {
		return nil
	}
	t.report = now
	return &rtcp.SenderReport{SSRC: t.ssrc, NTPTime: ntp, RTPTime: timestamp, PacketCount: t.packets, OctetCount: t.octets}
}
