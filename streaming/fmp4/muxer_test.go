package fmp4_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/streaming/fmp4"
)

// h264Format is of profile High at level 1.2, without B-frames.
var h264Format = &format.H264{
	PayloadTyp: 96, PacketizationMode: 1,
	SPS: []byte{0x67, 0x64, 0x00, 0x0c, 0xac, 0x3b, 0x50, 0xb0, 0x4b, 0x42, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x3d, 0x08},
	PPS: []byte{0x68, 0xee, 0x3c, 0x80},
}

var pcmu = &format.G711{PayloadTyp: 0, MULaw: true, SampleRate: 8000, ChannelCount: 1}

func describe(formats ...format.Format) *description.Session {
	d := &description.Session{}
	for _, f := range formats {
		m := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{f}}
		switch f.(type) {
		case *format.G711, *format.Opus, *format.MPEG4Audio, *format.G722:
			m.Type = description.MediaTypeAudio
		}
		d.Medias = append(d.Medias, m)
	}
	return d
}

// camera makes packets of pictures of a few bytes.
type camera struct {
	m         *fmp4.Muxer
	sequence  uint16
	timestamp uint32
	sound     uint16
}

func newCamera(t *testing.T, formats ...format.Format) *camera {
	t.Helper()
	m, err := fmp4.New(describe(formats...))
	if err != nil {
		t.Fatal(err)
	}
	return &camera{m: m, sequence: 65534, timestamp: 1<<32 - 5000}
}

const (
	keyFrame  = 0x65
	otherOne  = 0x41
	oneFrame  = 3600
	firstShow = 90000
)

// show sends a picture that is shown after the one before.
func (c *camera) show(kind byte) []fmp4.Sample {
	c.sequence++
	c.timestamp += oneFrame
	return c.m.Write(fmp4.Packet{Track: 0, Sequence: c.sequence, Timestamp: c.timestamp, Marker: true, Payload: []byte{kind, 0x88, 1, 2, 3}})
}

// say sends 20 ms of sound that begin at a timestamp.
func (c *camera) say(timestamp uint32) []fmp4.Sample {
	c.sound++
	return c.m.Write(fmp4.Packet{Track: 1, Sequence: c.sound, Timestamp: timestamp, Payload: make([]byte, 160)})
}

type shown struct {
	pts int64
	key bool
}

func pictures(list []fmp4.Sample) (out []shown) {
	for _, s := range list {
		if s.Track == fmp4.VideoTrack {
			out = append(out, shown{s.PTS, s.Key})
		}
	}
	return out
}

func TestWhatIsMissingEndsWithAKeyFrame(t *testing.T) {
	c := newCamera(t, h264Format)
	var got []fmp4.Sample
	for n, kind := range []byte{otherOne, keyFrame, otherOne, otherOne, otherOne, keyFrame, otherOne} {
		if n == 3 {
			c.sequence++ // is lost, and with it what refers to it
		}
		got = append(got, c.show(kind)...)
	}
	got = append(got, c.m.Flush()...)
	want := []shown{{firstShow + oneFrame, true}, {firstShow + 2*oneFrame, false}, {firstShow + 5*oneFrame, true}, {firstShow + 6*oneFrame, false}}
	if !slices.Equal(pictures(got), want) {
		t.Errorf("shown: %v, want %v", pictures(got), want)
	}
	for i := 1; i < len(got); i++ {
		if got[i].DTS != got[i-1].DTS+int64(got[i-1].Duration) {
			t.Errorf("sample %d is not where the one before ends", i)
		}
	}
}

// TestLateAndRepeatedPackets are left out; one from far away begins another count.
func TestLateAndRepeatedPackets(t *testing.T) {
	c := newCamera(t, h264Format)
	c.show(keyFrame)
	c.show(otherOne)
	c.sequence--
	if got := c.show(otherOne); got != nil {
		t.Errorf("a packet that comes once more completes %v", got)
	}
	c.timestamp -= oneFrame
	c.sequence -= 5000
	c.show(keyFrame)
	if got := pictures(c.m.Flush()); len(got) != 1 || !got[0].key {
		t.Errorf("after another count began: %v", got)
	}
}

func TestResetGoesOnWhereItIsTold(t *testing.T) {
	for _, c := range []struct {
		name string
		at   time.Duration
		want int64
	}{
		{"after what was", -1, firstShow + 2*oneFrame},
		{"elsewhere", time.Hour, 3600 * 90000},
		{"earlier", time.Second, 90000},
	} {
		t.Run(c.name, func(t *testing.T) {
			cam := newCamera(t, h264Format)
			cam.show(keyFrame)
			cam.show(otherOne)
			if got := pictures(cam.m.Reset(c.at)); len(got) != 1 {
				t.Errorf("what was being received: %v", got)
			}
			cam.sequence, cam.timestamp = 7, 12345678
			for _, kind := range []byte{otherOne, keyFrame, otherOne, otherOne} {
				got := pictures(cam.show(kind))
				if got == nil {
					continue
				}
				if late := got0(got).pts - c.want - oneFrame; late < 0 || late > oneFrame {
					t.Errorf("begins with %v, want about %d", got, c.want+oneFrame)
				}
				return
			}
		})
	}
}

func got0(list []shown) shown {
	if len(list) == 0 || !list[0].key {
		return shown{}
	}
	return list[0]
}

func TestAnotherTimelineGoesOn(t *testing.T) {
	c := newCamera(t, h264Format, pcmu)
	c.show(keyFrame)
	c.m.Sync(c.timestamp, 0)
	c.show(otherOne)
	c.timestamp += 1 << 30
	got := pictures(c.show(otherOne))
	got = append(got, pictures(c.m.Flush())...)
	if len(got) != 2 || got[1].pts <= got[0].pts || got[1].pts > got[0].pts+3*oneFrame {
		t.Errorf("shown: %v", got)
	}
	if c.m.Synced() {
		t.Error("it is unknown where the sound belongs, and Synced is true")
	}
}

// TestSoundIsNeverMissing: where none comes silence does, so that no player waits for it.
func TestSoundIsNeverMissing(t *testing.T) {
	for _, c := range []struct {
		name  string
		sound format.Format
	}{
		{"G.711", pcmu}, {"Opus", &format.Opus{PayloadTyp: 97, ChannelCount: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cam := newCamera(t, h264Format, c.sound)
			var got []fmp4.Sample
			for range 100 {
				got = append(got, cam.show(keyFrame)...)
			}
			scale := int64(c.sound.ClockRate())
			end := int64(0)
			for _, s := range got {
				if s.Track == fmp4.SoundTrack {
					if end != 0 && s.DTS != end {
						t.Fatalf("silence at %d, want %d", s.DTS, end)
					}
					end = s.DTS + int64(s.Duration)
				}
			}
			if behind := (got[len(got)-2].PTS*scale/90000 - end) * 1000 / scale; behind > 100 {
				t.Errorf("the silence is %d ms behind the picture", behind)
			}
		})
	}
}

// TestSoundIsWhereItsClockSays: within the tolerance it is joined, beyond it silence or less
// sound corrects it.
func TestSoundIsWhereItsClockSays(t *testing.T) {
	c := newCamera(t, h264Format, pcmu)
	c.show(keyFrame)
	c.show(otherOne)
	c.m.Sync(c.timestamp, 1<<32-800) // the second picture
	at := uint32(1<<32 - 800)
	var got []fmp4.Sample
	for range 4 {
		got = append(got, c.say(at)...)
		at += 160
	}
	if len(got) != 2 || got[0].DTS != (firstShow+oneFrame)*8000/90000 || got[0].Duration != 320 {
		t.Fatalf("the first packets are %+v", got)
	}
	at += 1600 // 200 ms are missing
	got = nil
	for range 2 {
		got = append(got, c.say(at)...)
		at += 160
	}
	if n := len(got); n < 5 || n > 6 {
		t.Errorf("after 200 ms that are missing, %d frames of 40 ms come", n)
	}
	if got := c.say(at - 3200); got != nil {
		t.Errorf("sound that is too late: %v", got)
	}
}

func TestOtherParametersAreAnotherInit(t *testing.T) {
	c := newCamera(t, h264Format)
	c.show(keyFrame)
	before := c.show(keyFrame)
	sps := slices.Clone(h264Format.SPS)
	sps[3] = 0x1f // level 3.1
	c.sequence++
	c.timestamp += oneFrame
	stap := []byte{0x78}
	for _, unit := range [][]byte{sps, h264Format.PPS, {keyFrame, 0x88, 1}} {
		stap = binary.BigEndian.AppendUint16(stap, uint16(len(unit)))
		stap = append(stap, unit...)
	}
	same := c.m.Write(fmp4.Packet{Sequence: c.sequence, Timestamp: c.timestamp, Payload: stap})
	after := c.show(otherOne)
	if before[0].Init != same[0].Init || same[0].Init == after[0].Init {
		t.Fatal("there must be another Init from the picture with the other parameters on")
	}
	if got := after[0].Init.MIME(); got != `video/mp4; codecs="avc1.64001f"` {
		t.Errorf("the type is %s", got)
	}
}

func TestUnsupported(t *testing.T) {
	for _, c := range []struct {
		name string
		desc *description.Session
		want string
	}{
		{"no video", describe(pcmu), ""},
		{"MJPEG", describe(&format.MJPEG{}), "JPEG"},
		{"interleaved H.264", describe(&format.H264{PacketizationMode: 2}), "H264"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := fmp4.New(c.desc)
			if got, ok := errors.AsType[*fmp4.UnsupportedError](err); !ok || got.Codec != c.want {
				t.Errorf("error %v, want one for %q", err, c.want)
			}
		})
	}
	m, err := fmp4.New(describe(h264Format, &format.G722{}))
	if err != nil || m.Sound() != -1 || len(m.Init().Codecs) != 1 {
		t.Errorf("a sound that has no place in MP4 is left out: %v, %v", m, err)
	}
}

// FuzzMuxer: whatever packets come, samples are in order and bounded.
func FuzzMuxer(f *testing.F) {
	h265 := &format.H265{PayloadTyp: 96}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		formats := []format.Format{h264Format, pcmu}
		if kind&1 != 0 {
			formats[0] = h265
		}
		if kind&2 != 0 {
			formats[1] = &format.Opus{PayloadTyp: 0, ChannelCount: 2}
		}
		m, err := fmp4.New(describe(formats...))
		if err != nil {
			t.Fatal(err)
		}
		end := map[int]int64{}
		check := func(list []fmp4.Sample) {
			for _, s := range list {
				if s.Duration == 0 || s.DTS < end[s.Track] || s.Init == nil {
					t.Fatalf("sample %+v after %d", s, end[s.Track])
				}
				end[s.Track] = s.DTS + int64(s.Duration)
				s.AppendFragment(nil, 1)
			}
		}
		for n := 0; len(data) > 1; n++ {
			size := min(int(data[0])+1, len(data)-1)
			packet := slices.Clone(data[1 : 1+size])
			data = data[1+size:]
			if p, ok := m.Read(n&1, packet); ok {
				check(m.Write(p))
			}
			if n%5 == 0 {
				m.Sync(uint32(n), uint32(n))
			}
			if n%32 == 31 {
				check(m.Reset(-1))
			}
		}
		check(m.Flush())
	})
}
