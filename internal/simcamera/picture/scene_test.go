package picture

import (
	"bytes"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 34, 56, 700e6, time.UTC)

// luma returns the picture's luma without padding, as decoders give it.
func luma(s *Scene, at time.Time, v View, t Text) []byte {
	img := s.Draw(at, v, t)
	return bytes.Clone(img.Y)
}

func TestTheClockIsReadable(t *testing.T) {
	for _, size := range [][2]int{{640, 360}, {320, 180}, {1280, 720}, {352, 288}} {
		s := NewScene(size[0], size[1])
		for _, v := range []View{{Zoom: 1}, {Pan: 77, Tilt: MaxTilt, Zoom: 3}, {Pan: -400, Tilt: -99, Zoom: 99}} {
			for i := range 50 {
				at := noon.Add(time.Duration(i) * 7919 * 1100 * time.Millisecond)
				got, err := ReadClock(luma(s, at, v, Text{Name: "Camera 01"}), size[0], size[1])
				if err != nil {
					t.Fatalf("%v, %+v: %v", size, v, err)
				}
				if !got.Equal(at.Truncate(100 * time.Millisecond)) {
					t.Fatalf("%v, %+v: read %v, want %v", size, v, got, at)
				}
			}
		}
	}
}

func TestReadClockRefuses(t *testing.T) {
	s := NewScene(640, 360)
	p := luma(s, noon, View{Zoom: 1}, Text{})
	cell := ClockCell(640, 3)
	for y := cell.Min.Y; y < cell.Max.Y; y++ {
		clear(p[y*640+cell.Min.X : y*640+cell.Max.X])
	}
	for name, c := range map[string]struct {
		luma []byte
		w, h int
	}{
		"a damaged digit":     {p, 640, 360},
		"blackness":           {make([]byte, 640*360), 640, 360},
		"a short picture":     {p[:1000], 640, 360},
		"a tiny picture":      {p, 40, 30},
		"nothing":             {nil, 0, 0},
		"sizes that overflow": {make([]byte, 8), 1 << 33, 1 << 33},
	} {
		if at, err := ReadClock(c.luma, c.w, c.h); err == nil {
			t.Errorf("%s: read %v", name, at)
		}
	}
}

func TestAPictureIsAFunctionOfItsInstant(t *testing.T) {
	a, b := NewScene(640, 360), NewScene(640, 360)
	v := View{Pan: 30, Tilt: 2, Zoom: 1.5}
	luma(b, noon.Add(time.Hour), View{Zoom: 1}, Text{Note: "before"})
	if !bytes.Equal(luma(a, noon, v, Text{}), luma(b, noon, v, Text{})) {
		t.Error("two scenes draw the same instant differently")
	}
}

func TestThePictureMoves(t *testing.T) {
	s := NewScene(640, 360)
	still := luma(s, noon, View{Zoom: 1}, Text{})
	for name, p := range map[string][]byte{
		"time":   luma(s, noon.Add(40*time.Millisecond), View{Zoom: 1}, Text{}),
		"pan":    luma(s, noon, View{Pan: 5, Zoom: 1}, Text{}),
		"tilt":   luma(s, noon, View{Tilt: 5, Zoom: 1}, Text{}),
		"zoom":   luma(s, noon, View{Zoom: 1.5}, Text{}),
		"a name": luma(s, noon, View{Zoom: 1}, Text{Name: "X"}),
		"alarm":  luma(s, noon, View{Zoom: 1}, Text{Alarm: true}),
	} {
		if bytes.Equal(still, p) {
			t.Errorf("%s changes nothing", name)
		}
	}
	if !bytes.Equal(still, luma(s, noon, View{Pan: 720, Zoom: 1}, Text{})) {
		t.Error("two whole turns lead somewhere else")
	}
}

func TestEveryGlyphIsDistinct(t *testing.T) {
	seen := map[[GlyphHeight]byte]rune{}
	for r, g := range font {
		if other, ok := seen[g]; ok {
			t.Errorf("%q looks like %q", r, other)
		}
		seen[g] = r
	}
}

func BenchmarkDraw(b *testing.B) {
	s := NewScene(640, 360)
	for b.Loop() {
		s.Draw(noon, View{Zoom: 1}, Text{Name: "Camera 01"})
	}
}

// TestWhatWasDrawnBeforeDoesNotShow: a scene keeps what does not change from
// picture to picture; a fresh one draws all.
func TestWhatWasDrawnBeforeDoesNotShow(t *testing.T) {
	for _, size := range [][2]int{{640, 360}, {1280, 720}, {320, 180}} {
		old := NewScene(size[0], size[1])
		for i, c := range []struct {
			view View
			text Text
		}{
			{View{Zoom: 1}, Text{Name: "Camera 01", Note: "a note", Alarm: true}},
			{View{Zoom: 1}, Text{Name: "Camera 01"}},
			{View{Pan: 3, Zoom: 1}, Text{}},
			{View{Pan: 3, Zoom: 4}, Text{}},
			{View{Pan: 3, Zoom: 4}, Text{Alarm: true}},
			{View{Pan: 3, Tilt: 9, Zoom: 2.5}, Text{}},
			{View{Zoom: 1}, Text{}},
			{View{Zoom: 1}, Text{}},
		} {
			at := noon.Add(time.Duration(i) * 700 * time.Millisecond)
			got, want := old.Draw(at, c.view, c.text), NewScene(size[0], size[1]).Draw(at, c.view, c.text)
			if !bytes.Equal(got.Y, want.Y) || !bytes.Equal(got.Cb, want.Cb) || !bytes.Equal(got.Cr, want.Cr) {
				t.Errorf("%v, picture %d: what was drawn before shows", size, i)
			}
		}
	}
}
