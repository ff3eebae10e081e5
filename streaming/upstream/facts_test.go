package upstream

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"latchkey/streaming/cameratest"
)

// sent is one packet of a picture: the NAL units that begin in it, at a time in
// milliseconds.
type sent struct {
	at      int
	payload []byte
}

func TestFacts(t *testing.T) {
	sps := must(base64.StdEncoding.DecodeString("Z0LADNkAoD2hAAADAAEAAAMAMg8UKkg=")) // 640x480
	stap := append([]byte{24, 0, byte(len(sps))}, sps...)
	idr, fragment, p := []byte{0x65, 1, 2}, []byte{0x7c, 0x85, 1}, []byte{0x41, 1, 2}
	h264 := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	h265 := &format.H265{PayloadTyp: 96}
	gop := func(from, frames, apart int) (list []sent) {
		list = append(list, sent{from, stap}, sent{from, fragment}, sent{from, []byte{0x7c, 0x45, 1}})
		for i := 1; i < frames; i++ {
			list = append(list, sent{from + i*apart, p})
		}
		return list
	}
	for name, c := range map[string]struct {
		format format.Format
		sent   []sent
		want   VideoFacts
	}{
		"nothing was sent": {h264, nil, VideoFacts{Codec: "H264"}},
		"parameter sets in the stream, fragmented key frames": {
			h264, append(append(gop(0, 50, 40), gop(2000, 50, 40)...), gop(4000, 1, 40)...),
			VideoFacts{Codec: "H264", Profile: "Constrained Baseline", Level: "1.2", Width: 640, Height: 480, FrameRate: 25, GOP: 2 * time.Second, GOPFrames: 50},
		},
		"B-frames": {
			h264, []sent{{0, idr}, {120, p}, {40, p}, {80, p}, {160, idr}},
			VideoFacts{Codec: "H264", FrameRate: 25, GOP: 160 * time.Millisecond, GOPFrames: 4, BFrames: true},
		},
		"a smart codec": {
			h264, append(append(gop(0, 10, 100), gop(1000, 80, 100)...), gop(9000, 1, 40)...),
			VideoFacts{Codec: "H264", Profile: "Constrained Baseline", Level: "1.2", Width: 640, Height: 480, FrameRate: 10, GOP: 8 * time.Second, GOPFrames: 80, VaryingGOP: true},
		},
		"H.265": {
			h265, []sent{{0, []byte{19 << 1, 1, 0}}, {50, []byte{1 << 1, 1, 0}}, {100, []byte{49 << 1, 1, 0x80 | 21, 0}}},
			VideoFacts{Codec: "H265", FrameRate: 20, GOP: 100 * time.Millisecond, GOPFrames: 2},
		},
		"MJPEG": {&format.MJPEG{}, []sent{{0, []byte{0}}, {0, []byte{0}}, {100, []byte{0}}}, VideoFacts{Codec: "JPEG", FrameRate: 10, GOP: 100 * time.Millisecond, GOPFrames: 1}},
		"broken units": {
			h264, []sent{{0, nil}, {0, []byte{24}}, {0, []byte{24, 0, 0}}, {0, []byte{24, 0, 200, 7}}, {0, []byte{28}}, {0, []byte{7, 1}}},
			VideoFacts{Codec: "H264"},
		},
		"parameter sets that cannot be read": {
			h264, []sent{{0, []byte{0x67, 100, 0, 41, 0xff}}}, VideoFacts{Codec: "H264", Profile: "High", Level: "4.1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			flow := newFlow(&description.Session{Medias: []*description.Media{
				{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{SampleRate: 8000, ChannelCount: 1}}},
				{Type: description.MediaTypeVideo, Formats: []format.Format{c.format}},
			}}, &space{})
			for _, s := range c.sent {
				pkt := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, Timestamp: uint32(1<<32 - 90*100 + s.at*90)}, Payload: s.payload}
				flow.hand(Packet{Track: 1, Data: must(pkt.Marshal())})
			}
			flow.hand(Packet{Track: 1, Data: []byte{0}})
			last := time.Unix(1e9, 0)
			flow.hand(Packet{Track: 0, NTP: last, Data: must((&rtp.Packet{Header: rtp.Header{Version: 2}, Payload: idr}).Marshal())})
			got := flow.facts.seen()
			if !got.Seen.Equal(last) { // sound counts, too
				t.Errorf("the last packet came at %v", got.Seen)
			}
			if got.Video != c.want {
				t.Errorf("%+v, want %+v", got.Video, c.want)
			}
			if got.Audio != (AudioFacts{Codec: "PCMA", SampleRate: 8000, Channels: 1}) {
				t.Errorf("audio: %+v", got.Audio)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func FuzzFacts(f *testing.F) {
	f.Add([]byte{24, 0, 3, 0x67, 1, 2}, false)
	f.Add([]byte{0x7c, 0x85}, false)
	f.Add([]byte{48 << 1, 1, 0, 3, 33 << 1, 1, 0}, true)
	f.Fuzz(func(t *testing.T, payload []byte, h265 bool) {
		var video format.Format = &format.H264{PayloadTyp: 96}
		if h265 {
			video = &format.H265{PayloadTyp: 96}
		}
		flow := newFlow(&description.Session{Medias: []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{video}}}}, &space{})
		flow.hand(Packet{Data: append([]byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, payload...)})
		if v := flow.facts.seen().Video; v.Width < 0 || v.Height < 0 {
			t.Errorf("%+v", v)
		}
	})
}

// TestLook: a stream that was not seen is pulled to see it, once; it is remembered until
// its device changes, and nobody looks who may not.
func TestLook(t *testing.T) {
	cam := (&cameratest.Camera{}).Start(t)
	h := open(t, cam)
	of := Stream{Device: "dev-1", Channel: 1}
	yes, no := func() bool { return true }, func() bool { return false }
	if _, err := h.Look(t.Context(), of, no); !errors.Is(err, ErrLeft) || cam.Dials.Load() != 0 {
		t.Errorf("not permitted: %v", err)
	}
	f, err := h.Look(t.Context(), of, yes)
	if err != nil || f.Video.Codec != "H264" || !f.Pulled {
		t.Errorf("%+v, %v", f, err)
	}
	eventually(t, "its key frames are counted, and it is pulled no more", func() bool {
		f, err := h.Look(t.Context(), of, yes)
		return err == nil && f.Video.GOPFrames == 1 && !f.Pulled
	})
	if f, err := h.Look(t.Context(), of, no); err != nil || f.Video.Codec != "H264" {
		t.Errorf("what was seen: %+v, %v", f, err)
	}
	if cam.Dials.Load() != 1 {
		t.Errorf("%d dials", cam.Dials.Load())
	}
	if _, err := h.Look(t.Context(), Stream{Device: "dev-1", Channel: 1, Quality: Sub}, yes); !errors.Is(err, ErrNoStream) {
		t.Errorf("the sub stream: %v", err)
	}
	h.Recheck("", "dev-1")
	if _, err := h.Look(t.Context(), of, no); !errors.Is(err, ErrLeft) {
		t.Errorf("after the device changed: %v", err)
	}
}
