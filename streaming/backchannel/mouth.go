package backchannel

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// mouth is what a camera is talked to with. Say and Close are not called at once.
type mouth interface {
	Say(sound []byte) error
	// Done is closed when the camera has hung up; nil if that is only seen at Say.
	Done() <-chan struct{}
	Close()
}

// sayWithin limits the sending of one piece of sound.
const sayWithin = time.Second

var errDoor = errors.New("a door never serves a door")

// dialRTSP connects to the camera of a source.
func dialRTSP(ctx context.Context, source Source, dial upstream.DialFunc) (*rtspclient.Client, error) {
	return rtspclient.Dial(ctx, source.URL, rtspclient.Options{
		Dial: dial, Username: source.Username, Password: source.Password, Certificate: source.Certificate,
		UserAgent: upstream.Agent, WriteTimeout: sayWithin,
		Check: func(header base.Header) error {
			if upstream.IsAgent(header["Server"]) {
				return errDoor
			}
			return nil
		},
	})
}

// open opens the way to a channel, which must take the codec.
func (l *Lines) open(ctx context.Context, at place, codec Codec) (m mouth, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	source, err := l.cfg.Sources.Source(ctx, at.device, at.channel)
	if err != nil {
		return nil, err
	}
	way, err := l.way(ctx, at, source)
	if err != nil {
		return nil, err
	}
	if way.isapi {
		m, err = l.openISAPI(ctx, at, source, codec)
	} else {
		m, err = l.openRTSP(ctx, at, source, codec)
	}
	if err != nil {
		l.forget(at) // it may have changed
		return nil, err
	}
	return m, nil
}

// rtspMouth sends RTP to a back channel.
type rtspMouth struct {
	client *rtspclient.Client
	track  *rtspclient.Track
	talkspurts
}

// talkspurts are the packets of one line. Sequence and clock are its own: they go on where
// those of talkers, or of packets that were lost, do not.
type talkspurts struct {
	pt        uint8
	sequence  uint16
	timestamp uint32
	ssrc      uint32
	next      time.Time // when the sound that was sent ends; zero: nothing was
}

func (l *Lines) openRTSP(ctx context.Context, at place, source Source, codec Codec) (mouth, error) {
	var m *rtspMouth
	err := l.cfg.Contact(ctx, at.device, source.URL, func(ctx context.Context, dial upstream.DialFunc) error {
		client, err := dialRTSP(ctx, source, dial)
		if err != nil {
			return err
		}
		back, err := describe(ctx, client)
		if err == nil && back.codec != codec {
			err = errOther
		}
		if err == nil {
			err = client.Setup(ctx, back.track, require)
		}
		if err == nil {
			_, err = client.Play(ctx, require)
		}
		if err != nil {
			client.Close()
			return err
		}
		m = &rtspMouth{client, back.track, talkspurts{pt: back.pt, sequence: uint16(rand.Uint32()), timestamp: rand.Uint32(), ssrc: rand.Uint32()}}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

var errOther = errors.New("the camera takes another codec than before")

const (
	clock = 8000 // samples, and bytes, a second
	// maxGap is how far the sound may be behind its clock: after that there was a pause.
	maxGap = 100 * time.Millisecond
)

// Say sends one packet.
func (m *rtspMouth) Say(sound []byte) error {
	return m.client.SendRTP(m.track, m.packet(sound, time.Now()))
}

// packet returns the next packet (RFC 3550, section 5.1).
func (m *talkspurts) packet(sound []byte, now time.Time) []byte {
	first := m.next.IsZero()
	if gap := now.Sub(m.next); first || gap > maxGap {
		if !first {
			m.timestamp += uint32(gap * clock / time.Second)
		}
		first, m.next = true, now
	}
	packet := make([]byte, 12, 12+len(sound))
	packet[0], packet[1] = 0x80, m.pt
	if first {
		packet[1] |= 0x80 // a talkspurt begins (RFC 3551, 4.1)
	}
	binary.BigEndian.PutUint16(packet[2:], m.sequence)
	binary.BigEndian.PutUint32(packet[4:], m.timestamp)
	binary.BigEndian.PutUint32(packet[8:], m.ssrc)
	m.sequence++
	m.timestamp += uint32(len(sound))
	m.next = m.next.Add(time.Duration(len(sound)) * time.Second / clock)
	return append(packet, sound...)
}

func (m *rtspMouth) Done() <-chan struct{} { return m.client.Done() }
func (m *rtspMouth) Close()                { m.client.Close() }
