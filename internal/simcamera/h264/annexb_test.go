package h264

import (
	"bytes"
	"errors"
	"image"
	"testing"
)

// recorded returns a short stream of our own, with a delimiter and an SEI in it.
func recorded(t testing.TB) []byte {
	t.Helper()
	e, err := NewEncoder(Format{Width: 32, Height: 32, RateNum: 25, RateDen: 1, QP: 22})
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewYCbCr(image.Rect(0, 0, 32, 32), image.YCbCrSubsampleRatio420)
	var stream []byte
	for n := range 6 {
		img.Y[n]++
		nalu, err := e.Encode(img, n%3 == 0)
		if err != nil {
			t.Fatal(err)
		}
		stream = AppendAnnexB(stream, []byte{9, 0xf0})
		if n%3 == 0 {
			stream = AppendAnnexB(stream, e.SPS(), e.PPS(), []byte{6, 5, 1, 0x20, 0x80})
		}
		stream = AppendAnnexB(stream, nalu)
	}
	return stream
}

func TestParseAnnexB(t *testing.T) {
	r, err := ParseAnnexB(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Pictures) != 6 || len(r.SPS) == 0 || len(r.PPS) == 0 {
		t.Fatalf("%d pictures, parameter sets of %d and %d bytes", len(r.Pictures), len(r.SPS), len(r.PPS))
	}
	for i, p := range r.Pictures {
		nalus := 1
		if i%3 == 0 {
			nalus = 2 // the SEI belongs to the picture that follows it
		}
		if p.Key != (i%3 == 0) || len(p.NALUs) != nalus {
			t.Errorf("picture %d: key %v, %d NAL units", i, p.Key, len(p.NALUs))
		}
	}
}

func TestParseAnnexBRefuses(t *testing.T) {
	sps, pps, idr := []byte{0x67, 66, 0xc0, 30}, []byte{0x68, 0xce}, []byte{0x65, 0x88, 0x84}
	for name, c := range map[string]struct {
		nalus [][]byte
		want  error
	}{
		"nothing":            {nil, ErrNoParameters},
		"no parameters":      {[][]byte{idr}, ErrNoParameters},
		"no key picture":     {[][]byte{sps, pps, {0x41, 0x9a}}, ErrNoKey},
		"changing SPS":       {[][]byte{sps, pps, idr, {0x67, 66, 0xc0, 31}}, ErrParameters},
		"B slices":           {[][]byte{sps, pps, idr, {0x01, 0x9f}}, ErrReordered},
		"an early end":       {[][]byte{sps, pps, {0x65}}, nil},
		"a data partition":   {[][]byte{sps, pps, {0x42, 0x88}}, nil},
		"a slice type of 10": {[][]byte{sps, pps, {0x65, 0x8b, 0x80}}, nil},
	} {
		_, err := ParseAnnexB(AppendAnnexB(nil, c.nalus...))
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseAnnexB(f *testing.F) {
	f.Add(recorded(f))
	f.Add([]byte{0, 0, 1, 0x67, 0, 0, 1, 0x68, 1, 0, 0, 1, 0x65, 0x88})
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := ParseAnnexB(file)
		if err != nil {
			return
		}
		if !r.Pictures[0].Key {
			t.Fatal("a recording does not begin with a key picture")
		}
		for _, p := range r.Pictures {
			if len(p.NALUs) == 0 {
				t.Fatal("a picture is empty")
			}
			for _, n := range p.NALUs {
				if len(n) == 0 || bytes.Contains(n, []byte{0, 0, 1}) {
					t.Fatalf("a broken NAL unit of %d bytes", len(n))
				}
			}
		}
	})
}
