package h264

import (
	"bytes"
	"fmt"
	"image"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// paint draws picture n of a sequence that has flat, smooth, noisy and moving parts,
// and extremes that reach every branch of the entropy coder.
func paint(img *image.YCbCr, n int, r *rand.Rand) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	for y := range h {
		for x := range w {
			v := byte(x + y/2)
			switch {
			case x < w/4 && y > h/2 && n%3 != 1:
				v = byte(r.Uint32())
			case x >= 3*w/4:
				v = 255 * byte((x/8+y/8+n)&1)
			case x > w/2 && y > h/2:
				v = byte(int(img.Y[y*img.YStride+x]) + int(r.Uint32()%(1+uint32(n))))
			}
			img.Y[y*img.YStride+x] = v
		}
	}
	for y := range h / 2 {
		for x := range w / 2 {
			img.Cb[y*img.CStride+x] = byte(2*x + n*(x/16%2))
			img.Cr[y*img.CStride+x] = byte(y ^ x)
			if x < w/8 && n%2 == 0 {
				img.Cb[y*img.CStride+x] = byte(r.Uint32())
			}
		}
	}
}

// crop returns the planes that a decoder shows, one after the other.
func (e *Encoder) crop() []byte {
	var out []byte
	for c := range 3 {
		w, h := e.format.Width, e.format.Height
		if c > 0 {
			w, h = w/2, h/2
		}
		for y := range h {
			out = append(out, e.recon.pix[c][y*e.recon.stride[c]:][:w]...)
		}
	}
	return out
}

// decode runs a decoder that we did not write over an Annex B stream, and fails on
// anything that it has to say.
func decode(t *testing.T, stream []byte, command string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Stdin = bytes.NewReader(stream)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Fatalf("%s: %v\n%s", command, err, said.String())
	}
	return out.Bytes()
}

func TestDecodersSeeWhatTheEncoderReconstructed(t *testing.T) {
	for _, f := range []Format{
		{Width: 64, Height: 48, RateNum: 25, RateDen: 1, QP: MinQP},
		{Width: 102, Height: 70, RateNum: 25, RateDen: 2, QP: 17},
		{Width: 320, Height: 180, RateNum: 30000, RateDen: 1001, QP: 22},
		{Width: 16, Height: 16, RateNum: 1, RateDen: 1, QP: 26},
		{Width: 640, Height: 360, RateNum: 25, RateDen: 1, QP: MaxQP},
	} {
		t.Run(fmt.Sprintf("%dx%d QP %d", f.Width, f.Height, f.QP), func(t *testing.T) {
			e, err := NewEncoder(f)
			if err != nil {
				t.Fatal(err)
			}
			var stream, want []byte
			r := rand.New(rand.NewPCG(1, uint64(f.QP)))
			img := image.NewYCbCr(image.Rect(0, 0, f.Width, f.Height), image.YCbCrSubsampleRatio420)
			for n := range 12 {
				paint(img, n, r)
				key := n%5 == 0
				nalu, err := e.Encode(img, key)
				if err != nil {
					t.Fatal(err)
				}
				if key {
					stream = AppendAnnexB(stream, e.SPS(), e.PPS())
				}
				stream = AppendAnnexB(stream, nalu)
				want = append(want, e.crop()...)
			}

			got := decode(t, stream, "ffmpeg", "-v", "warning", "-f", "h264", "-i", "-",
				"-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
			comparePlanes(t, "ffmpeg", got, want)
			got = decode(t, stream, "gst-launch-1.0", "-q", "fdsrc", "!", "h264parse", "!", "avdec_h264", "!",
				"videoconvert", "!", "video/x-raw,format=I420", "!", "filesink", "buffer-mode=2", "location=/dev/stdout")
			if f.Width%8 == 0 { // otherwise GStreamer pads its rows
				comparePlanes(t, "GStreamer", got, want)
			} else if len(got) == 0 {
				t.Error("GStreamer decoded nothing")
			}
		})
	}
}

func comparePlanes(t *testing.T, who string, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s decoded %d bytes of picture, want %d", who, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s differs from the encoder's reconstruction at byte %d: %d, want %d", who, i, got[i], want[i])
		}
	}
}

func TestReconstructionIsCloseToTheSource(t *testing.T) {
	e, err := NewEncoder(Format{Width: 64, Height: 64, RateNum: 25, RateDen: 1, QP: 20})
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewYCbCr(image.Rect(0, 0, 64, 64), image.YCbCrSubsampleRatio420)
	paint(img, 0, rand.New(rand.NewPCG(1, 2)))
	if _, err := e.Encode(img, true); err != nil {
		t.Fatal(err)
	}
	for i, v := range img.Y {
		if d := int(v) - int(e.recon.pix[0][i]); d > 24 || d < -24 {
			t.Fatalf("luma %d became %d at %d", v, e.recon.pix[0][i], i)
		}
	}
}

func TestStillPictureCostsNothing(t *testing.T) {
	e, err := NewEncoder(Format{Width: 640, Height: 360, RateNum: 25, RateDen: 1, QP: 22})
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewYCbCr(image.Rect(0, 0, 640, 360), image.YCbCrSubsampleRatio420)
	paint(img, 0, rand.New(rand.NewPCG(1, 2)))
	if _, err := e.Encode(img, true); err != nil {
		t.Fatal(err)
	}
	nalu, err := e.Encode(img, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(nalu) > 16 {
		t.Errorf("a picture without change takes %d bytes", len(nalu))
	}
}

func TestFFprobeReadsTheParameterSets(t *testing.T) {
	e, err := NewEncoder(Format{Width: 640, Height: 360, RateNum: 25, RateDen: 2, QP: 22})
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewYCbCr(image.Rect(0, 0, 640, 360), image.YCbCrSubsampleRatio420)
	nalu, err := e.Encode(img, true)
	if err != nil {
		t.Fatal(err)
	}
	stream := AppendAnnexB(nil, e.SPS(), e.PPS(), nalu)
	got := decode(t, stream, "ffprobe", "-v", "warning", "-f", "h264", "-i", "-", "-of", "compact=p=0", "-show_entries",
		"stream=profile,width,height,level,r_frame_rate,has_b_frames,color_space,sample_aspect_ratio")
	want := "profile=Constrained Baseline|width=640|height=360|has_b_frames=0|sample_aspect_ratio=1:1|" +
		"level=30|color_space=bt709|r_frame_rate=25/2"
	if strings.TrimSpace(string(got)) != want {
		t.Errorf("ffprobe: %s\nwant %s", got, want)
	}
}

func TestNewEncoderRefuses(t *testing.T) {
	good := Format{Width: 64, Height: 48, RateNum: 25, RateDen: 1, QP: 20}
	for name, change := range map[string]func(*Format){
		"an odd width":    func(f *Format) { f.Width = 65 },
		"a small height":  func(f *Format) { f.Height = 8 },
		"a huge width":    func(f *Format) { f.Width = MaxSide + 2 },
		"no rate":         func(f *Format) { f.RateNum = 0 },
		"no divisor":      func(f *Format) { f.RateDen = 0 },
		"a fine QP":       func(f *Format) { f.QP = MinQP - 1 },
		"a coarse QP":     func(f *Format) { f.QP = MaxQP + 1 },
		"a negative side": func(f *Format) { f.Height = -16 },
	} {
		f := good
		change(&f)
		if _, err := NewEncoder(f); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	e, err := NewEncoder(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Encode(image.NewYCbCr(image.Rect(0, 0, 64, 64), image.YCbCrSubsampleRatio420), true); err == nil {
		t.Error("a picture of another size was accepted")
	}
	if _, err := e.Encode(image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio444), true); err == nil {
		t.Error("a picture of another subsampling was accepted")
	}
}

// TestCodesArePrefixFree finds slips in the tables that the pictures above may miss.
func TestCodesArePrefixFree(t *testing.T) {
	check := func(name string, cs []code) {
		for i, a := range cs {
			for j, b := range cs {
				if i == j || a.len == 0 || b.len < a.len {
					continue
				}
				if b.bits>>(b.len-a.len) == a.bits {
					t.Errorf("%s: code %d is a prefix of code %d", name, i, j)
				}
			}
		}
	}
	for i := range coeffTokenLen {
		check(fmt.Sprint("coeff_token ", i), codes([][]uint8{coeffTokenLen[i][:]}, [][]uint8{coeffTokenBits[i][:]})[0])
	}
	check("chroma coeff_token", codes([][]uint8{chromaTokenLen[:]}, [][]uint8{chromaTokenBits[:]})[0])
	for i, cs := range totalZeros {
		check(fmt.Sprint("total_zeros ", i+1), cs)
	}
	for i, cs := range chromaTotalZeros {
		check(fmt.Sprint("chroma total_zeros ", i+1), cs)
	}
	for i, cs := range runBefore {
		check(fmt.Sprint("run_before ", i+1), cs)
	}
}

func BenchmarkEncodeKey(b *testing.B) {
	e, err := NewEncoder(Format{Width: 640, Height: 360, RateNum: 25, RateDen: 1, QP: 22})
	if err != nil {
		b.Fatal(err)
	}
	img := image.NewYCbCr(image.Rect(0, 0, 640, 360), image.YCbCrSubsampleRatio420)
	paint(img, 0, rand.New(rand.NewPCG(1, 2)))
	for b.Loop() {
		if _, err := e.Encode(img, true); err != nil {
			b.Fatal(err)
		}
	}
}
