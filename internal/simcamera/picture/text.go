package picture

import (
	"image"
	"time"
)

// ClockLayout is how the clock is written, in UTC.
const ClockLayout = "2006-01-02 15:04:05.0 UTC"

const ink = 235

// TextScale is how many pixels of a picture of that width one pixel of a glyph takes:
// the clock always fits.
func TextScale(width int) int { return max(1, (width+106)/213) }

// ClockCell returns the place of character i of the clock in a picture of that width.
// A glyph begins at the upper left pixel of its cell.
func ClockCell(width, i int) image.Rectangle {
	scale := TextScale(width)
	x := margin(scale) + i*CellWidth*scale
	y := margin(scale)
	return image.Rect(x, y, x+CellWidth*scale, y+CellHeight*scale)
}

func margin(scale int) int { return 4 * scale }

func (s *Scene) write(at time.Time, t Text) {
	w, h := s.img.Rect.Dx(), s.img.Rect.Dy()
	scale := TextScale(w)
	clock := ClockCell(w, 0).Min
	s.line(clock.X, clock.Y, scale, at.UTC().Format(ClockLayout))

	small := max(1, scale-1)
	low := h - margin(small) - GlyphHeight*small
	s.line(w-margin(small)-len([]rune(t.Name))*CellWidth*small, low, small, t.Name)
	s.line(margin(small), low, small, t.Note)
	if t.Alarm {
		c := canvas{s.img}
		r := float64(3 * scale)
		c.ellipse(float64(w)-2*r, float64(clock.Y)+r, r, r, rgb(226, 32, 28))
	}
}

// line writes text on a darkened strip.
func (s *Scene) line(x, y, scale int, text string) {
	runes := []rune(text)
	if len(runes) == 0 {
		return
	}
	box := image.Rect(x-2*scale, y-2*scale, x+(len(runes)*CellWidth+1)*scale, y+(GlyphHeight+2)*scale)
	s.darken(box.Intersect(s.img.Rect))
	for i, r := range runes {
		s.glyph(x+i*CellWidth*scale, y, scale, Glyph(r))
	}
}

func (s *Scene) darken(r image.Rectangle) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := s.img.Y[y*s.img.YStride:][r.Min.X:r.Max.X]
		for i, v := range row {
			row[i] = 16 + (max(v, 16)-16)/4
		}
	}
	for y := r.Min.Y / 2; y < (r.Max.Y+1)/2; y++ {
		for x := r.Min.X / 2; x < (r.Max.X+1)/2; x++ {
			at := y*s.img.CStride + x
			s.img.Cb[at] = 128 + byte((int(s.img.Cb[at])-128)/4)
			s.img.Cr[at] = 128 + byte((int(s.img.Cr[at])-128)/4)
		}
	}
}

func (s *Scene) glyph(x, y, scale int, g [GlyphHeight]byte) {
	for gy, row := range g {
		for gx := range GlyphWidth {
			if row>>(GlyphWidth-1-gx)&1 == 0 {
				continue
			}
			s.block(image.Rect(x+gx*scale, y+gy*scale, x+(gx+1)*scale, y+(gy+1)*scale))
		}
	}
}

func (s *Scene) block(r image.Rectangle) {
	r = r.Intersect(s.img.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		fill(s.img.Y[y*s.img.YStride:][r.Min.X:r.Max.X], ink)
	}
}
