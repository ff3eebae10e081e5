package picture

import (
	"fmt"
	"image"
	"time"
)

// ReadClock reads the clock back from the luma of a decoded picture, w*h bytes: how a
// test, or a measurement of delay, learns which instant a picture shows. It says which
// character it could not read.
func ReadClock(luma []byte, w, h int) (time.Time, error) {
	last := ClockCell(w, len(ClockLayout)-1)
	if w <= 0 || h <= 0 || h > len(luma)/w || !last.In(image.Rect(0, 0, w, h)) {
		return time.Time{}, fmt.Errorf("a picture of %dx%d in %d bytes is too small for a clock", w, h, len(luma))
	}
	text := make([]rune, 0, len(ClockLayout))
	for i := range len(ClockLayout) {
		r, ok := readCell(luma, w, ClockCell(w, i).Min)
		if !ok {
			return time.Time{}, fmt.Errorf("character %d of the clock is not readable after %q", i, string(text))
		}
		text = append(text, r)
	}
	at, err := time.Parse(ClockLayout, string(text))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the clock %q: %w", string(text), err)
	}
	return at, nil
}

// readCell finds the character whose glyph differs least; more than two wrong pixels
// are not believed.
func readCell(luma []byte, w int, at image.Point) (rune, bool) {
	scale := TextScale(w)
	best, bestWrong := rune(0), 3
	for _, r := range "0123456789-:. UTC" {
		wrong := 0
		for y, row := range Glyph(r) {
			for x := range GlyphWidth {
				lit := luma[(at.Y+y*scale+scale/2)*w+at.X+x*scale+scale/2] > 150
				if lit != (row>>(GlyphWidth-1-x)&1 == 1) {
					wrong++
				}
			}
		}
		if wrong < bestWrong {
			best, bestWrong = r, wrong
		}
	}
	return best, bestWrong < 3
}
