package fmp4_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/pion/rtp"

	"latchkey/streaming/fmp4"
)

// footage is a stream as a camera would send it.
type footage struct {
	desc    *description.Session
	packets []fmp4.Packet // in the order of their arrival
	source  []byte        // as MPEG-TS
	sound   []byte        // G.711
	times   []int64       // PTS of the pictures, in ticks
}

// run runs a program and returns what it writes; what it complains of fails the test.
func run(t testing.TB, in []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, complaints.String())
	}
	if complaints.Len() > 0 {
		t.Errorf("%s %v complains: %s", name, args, complaints.String())
	}
	return out.Bytes()
}

// film encodes pictures, and sound if its encoder is not empty.
func film(t testing.TB, video []string, sound []string) *footage {
	t.Helper()
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=4"}
	if sound != nil {
		args = append(args, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=4")
	}
	args = append(args, video...)
	args = append(args, sound...)
	f := &footage{desc: &description.Session{}}
	f.source = run(t, nil, "ffmpeg", append(args, "-f", "mpegts", "-muxdelay", "0", "-")...)
	f.split(t)
	return f
}

// split takes the source apart into packets, the sound on a clock of its own.
func (f *footage) split(t testing.TB) {
	t.Helper()
	r := &mpegts.Reader{R: bytes.NewReader(f.source)}
	if err := r.Initialize(); err != nil {
		t.Fatal(err)
	}
	send := func(track int, pts int64, list []*rtp.Packet) {
		for _, p := range list {
			f.packets = append(f.packets, fmp4.Packet{
				Track: track, Sequence: p.SequenceNumber, Timestamp: uint32(pts), Marker: p.Marker, Payload: p.Payload,
			})
		}
	}
	for n, track := range r.Tracks() {
		media := &description.Media{Type: description.MediaTypeVideo}
		f.desc.Medias = append(f.desc.Medias, media)
		switch c := track.Codec.(type) {
		case *mpegts.CodecH264:
			forma := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
			media.Formats = []format.Format{forma}
			e, err := forma.CreateEncoder()
			if err != nil {
				t.Fatal(err)
			}
			r.OnDataH264(track, func(pts, _ int64, au [][]byte) error {
				list, err := e.Encode(au)
				send(n, pts, list)
				f.times = append(f.times, pts)
				return err
			})
		case *mpegts.CodecH265:
			forma := &format.H265{PayloadTyp: 96}
			media.Formats = []format.Format{forma}
			e, err := forma.CreateEncoder()
			if err != nil {
				t.Fatal(err)
			}
			r.OnDataH265(track, func(pts, _ int64, au [][]byte) error {
				list, err := e.Encode(au)
				send(n, pts, list)
				f.times = append(f.times, pts)
				return err
			})
		case *mpegts.CodecMPEG4Audio:
			media.Type = description.MediaTypeAudio
			forma := &format.MPEG4Audio{PayloadTyp: 97, Config: &c.Config, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
			media.Formats = []format.Format{forma}
			e, err := forma.CreateEncoder()
			if err != nil {
				t.Fatal(err)
			}
			r.OnDataMPEG4Audio(track, func(pts int64, aus [][]byte) error {
				list, err := e.Encode(aus)
				for _, p := range list {
					send(n, pts*int64(c.Config.SampleRate)/90000+int64(p.Timestamp), []*rtp.Packet{p})
				}
				return err
			})
		case *mpegts.CodecOpus:
			media.Type = description.MediaTypeAudio
			forma := &format.Opus{PayloadTyp: 97, ChannelCount: c.ChannelCount}
			media.Formats = []format.Format{forma}
			seq := uint16(0)
			r.OnDataOpus(track, func(pts int64, packets [][]byte) error {
				for i, p := range packets {
					seq++
					send(n, pts*48000/90000+int64(i*960), []*rtp.Packet{{Header: rtp.Header{SequenceNumber: seq}, Payload: p}})
				}
				return nil
			})
		default:
			t.Fatalf("track of %T", c)
		}
	}
	for r.Read() == nil {
	}
}

// withG711 adds sound of G.711 in packets of 20 ms between the pictures.
func (f *footage) withG711(muLaw bool) *footage {
	random := rand.New(rand.NewPCG(1, 2))
	track := len(f.desc.Medias)
	pt := uint8(8)
	if muLaw {
		pt = 0
	}
	f.desc.Medias = append(f.desc.Medias, &description.Media{
		Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{PayloadTyp: pt, MULaw: muLaw, SampleRate: 8000, ChannelCount: 1}},
	})
	first, last := slices.Min(f.times), slices.Max(f.times)
	var sound []fmp4.Packet
	for at := int64(0); at < (last-first)*8000/90000; at += 160 {
		payload := make([]byte, 160)
		for i := range payload {
			switch at / 8000 {
			case 0: // silence
				payload[i] = 0xff
			case 1: // anything
				payload[i] = byte(random.Uint32())
			default: // a voice that swells
				payload[i] = byte(128 + 100*math.Sin(float64(at)/50+float64(i)/7))
			}
		}
		sound = append(sound, fmp4.Packet{Track: track, Sequence: uint16(65500 + at/160), Timestamp: uint32(first*8000/90000 + at), Payload: payload})
		f.sound = append(f.sound, payload...)
	}
	mixed := f.packets[:0:0]
	for _, p := range f.packets {
		for len(sound) > 0 && int64(sound[0].Timestamp)*90000/8000 <= int64(p.Timestamp) {
			mixed, sound = append(mixed, sound[0]), sound[1:]
		}
		mixed = append(mixed, p)
	}
	f.packets = append(mixed, sound...)
	return f
}

// pack packs the footage into a file.
func (f *footage) pack(t testing.TB) (samples []fmp4.Sample, file []byte) {
	t.Helper()
	m, err := fmp4.New(f.desc)
	if err != nil {
		t.Fatal(err)
	}
	scale := int64(0)
	if m.Sound() >= 0 {
		scale = int64(f.desc.Medias[m.Sound()].Formats[0].ClockRate())
	}
	for _, p := range f.packets {
		samples = append(samples, m.Write(p)...)
		if m.Sound() >= 0 && !m.Synced() {
			m.Sync(90000, uint32(scale))
		}
	}
	samples = append(samples, m.Flush()...)
	if len(samples) == 0 {
		t.Fatal("nothing is packed")
	}
	file = slices.Clone(samples[0].Init.Segment)
	for n := range samples {
		file = samples[n].AppendFragment(file, uint32(n))
	}
	return samples, file
}

// hashes returns the sums of the decoded pictures of a file, in the order in which they are
// shown.
func hashes(t testing.TB, file []byte) []string {
	t.Helper()
	out := run(t, file, "ffmpeg", "-v", "error", "-i", "-", "-map", "0:v", "-fps_mode", "passthrough", "-copyts", "-f", "framehash", "-hash", "md5", "-")
	var list []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			fields := strings.Split(line, ",")
			list = append(list, strings.TrimSpace(fields[len(fields)-1]))
		}
	}
	return list
}

var h264 = []string{"-c:v", "libx264", "-preset", "fast", "-g", "25", "-pix_fmt", "yuv420p", "-threads", "1"}

func h264With(bFrames int, more ...string) []string {
	return append(append(slices.Clone(h264), "-bf", fmt.Sprint(bFrames)), more...)
}

func h265With(bFrames int) []string {
	return []string{"-c:v", "libx265", "-preset", "fast", "-pix_fmt", "yuv420p", "-x265-params", fmt.Sprintf("log-level=none:keyint=25:pools=none:frame-threads=1:bframes=%d", bFrames)}
}

// TestFFmpegDecodesEveryPicture: what is decoded of the file are the pictures of the camera,
// each decoded before it is shown and shown when the camera said.
func TestFFmpegDecodesEveryPicture(t *testing.T) {
	t.Parallel()
	aac := []string{"-c:a", "aac", "-ar", "16000", "-ac", "1"}
	for _, c := range []struct {
		name   string
		video  []string
		sound  []string
		codecs string
	}{
		{"H.264 without B-frames", h264With(0), nil, `^avc1\.6400[0-9a-f]{2}$`},
		{"H.264 with B-frames", h264With(3, "-x264-params", "b-pyramid=2:b-adapt=0"), nil, `^avc1\.6400[0-9a-f]{2}$`},
		{"H.264 with AAC", h264With(2), aac, `^avc1\.[0-9a-f]{6},mp4a\.40\.2$`},
		{"H.264 with Opus", h264With(2), []string{"-c:a", "libopus", "-ac", "2"}, `^avc1\.[0-9a-f]{6},opus$`},
		{"H.265 with B-frames", h265With(4), nil, `^hvc1\.1\.6\.L\d+\.90$`},
		{"H.265 without B-frames", h265With(0), aac, `^hvc1\.1\.6\.L\d+\.90,mp4a\.40\.2$`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := film(t, c.video, c.sound)
			samples, file := f.pack(t)
			got, want := hashes(t, file), hashes(t, f.source)
			if !slices.Equal(got, want) {
				t.Errorf("%d pictures are decoded, or others than the %d of the camera", len(got), len(want))
			}
			if mime, want := samples[0].Init.MIME(), regexp.MustCompile(c.codecs); !want.MatchString(strings.Join(samples[0].Init.Codecs, ",")) || !strings.HasPrefix(mime, `video/mp4; codecs="`) {
				t.Errorf("the type is %s", mime)
			}
			checkTimes(t, f, samples)
			run(t, file, "ffmpeg", "-v", "error", "-i", "-", "-f", "null", "-")
		})
	}
}

// checkTimes holds the times of samples against those of the camera and the rules of MP4.
func checkTimes(t *testing.T, f *footage, samples []fmp4.Sample) {
	t.Helper()
	end := map[int]int64{}
	n, shift := 0, int64(0)
	for _, s := range samples {
		if e, ok := end[s.Track]; ok && s.DTS != e {
			t.Fatalf("a sample of track %d is at %d, and the one before ends at %d", s.Track, s.DTS, e)
		}
		end[s.Track] = s.DTS + int64(s.Duration)
		if s.Track != fmp4.VideoTrack {
			continue
		}
		if n == 0 {
			shift = s.PTS - f.times[0]
		}
		if s.PTS-shift != f.times[n] {
			t.Fatalf("picture %d is shown at %d, want %d", n, s.PTS-shift, f.times[n])
		}
		if s.DTS > s.PTS {
			t.Errorf("picture %d is decoded at %d and shown at %d", n, s.DTS, s.PTS)
		}
		n++
	}
	if n != len(f.times) {
		t.Errorf("%d pictures are packed, want %d", n, len(f.times))
	}
}

// TestFFmpegDecodesG711Exactly: FLAC gives back each sample, beside the picture that belongs
// to it.
func TestFFmpegDecodesG711Exactly(t *testing.T) {
	t.Parallel()
	for _, muLaw := range []bool{false, true} {
		t.Run(fmt.Sprintf("mu-law %t", muLaw), func(t *testing.T) {
			t.Parallel()
			f := film(t, h264With(2), nil).withG711(muLaw)
			samples, file := f.pack(t)
			if got := samples[0].Init.Codecs[1]; got != "flac" {
				t.Errorf("the sound is %s", got)
			}
			codec := map[bool]string{false: "alaw", true: "mulaw"}[muLaw]
			want := run(t, f.sound, "ffmpeg", "-v", "error", "-f", codec, "-ar", "8000", "-i", "-", "-f", "s16le", "-")
			got := run(t, file, "ffmpeg", "-v", "error", "-i", "-", "-map", "0:a", "-f", "s16le", "-")
			want = want[:len(want)/640*640] // whole frames
			if i := bytes.Index(want, got); len(got) < len(want)-3200 || i < 0 {
				t.Errorf("of %d bytes of sound %d are decoded, and they are not the same", len(want), len(got))
			}
			checkTimes(t, f, samples)
			checkTogether(t, file)
		})
	}
}

// checkTogether holds that sound begins with the picture, as soon as one is complete.
func checkTogether(t *testing.T, file []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var starts []float64
	for line := range strings.Lines(string(run(t, nil, "ffprobe", "-v", "error", "-show_entries", "stream=start_time", "-of", "csv=p=0", name))) {
		var s float64
		if _, err := fmt.Sscan(line, &s); err != nil {
			t.Fatal(err)
		}
		starts = append(starts, s)
	}
	if len(starts) != 2 || math.Abs(starts[0]-starts[1]) > 0.2 {
		t.Errorf("picture and sound begin at %v", starts)
	}
}
