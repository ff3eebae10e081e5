package picture

import (
	"bytes"
	"image"
	"math"
	"time"
)

// Bounds of a View.
const (
	MaxTilt = 15 // degrees up and, negative, down
	MaxZoom = 4
)

// View is where a camera looks.
type View struct {
	Pan  float64 // degrees to the right, any number of turns
	Tilt float64 // degrees, -MaxTilt to MaxTilt
	Zoom float64 // times, 1 to MaxZoom
}

// Text is written over the picture.
type Text struct {
	Name  string // lower right
	Note  string // lower left, "" for none
	Alarm bool   // a red mark, upper right
}

// Scene draws pictures of one size. It is not safe for concurrent use.
type Scene struct {
	img    *image.YCbCr
	stage  *image.YCbCr
	scaled *image.YCbCr // the stage in the picture's size, before text is written over it
	seen   *image.YCbCr // the stage that scaled was made of
	part   image.Point  // how much of it

	columns []int // scratch of scale
	sums    []int
}

// The whole picture at zoom 1, in pixels of the world.
const (
	windowWidth  = 1280
	windowHeight = 720
)

// NewScene returns a scene for pictures of an even width and height.
func NewScene(width, height int) *Scene {
	picture := func(width, height int) *image.YCbCr {
		return image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	}
	return &Scene{
		img: picture(width, height), scaled: picture(width, height),
		stage: picture(windowWidth, windowHeight), seen: picture(windowWidth, windowHeight),
		sums: make([]int, width),
	}
}

// Draw returns the picture of an instant. It is overwritten by the next call.
func (s *Scene) Draw(at time.Time, v View, t Text) *image.YCbCr {
	st := s.cut(v)
	st.move(at)
	s.sample(st)
	s.write(at, t)
	return s.img
}

// cut copies the part of the panorama that a view shows.
func (s *Scene) cut(v View) stage {
	zoom := min(max(v.Zoom, 1), MaxZoom)
	tilt := min(max(v.Tilt, -MaxTilt), MaxTilt)
	w := round(windowWidth/zoom) &^ 1
	h := round(windowHeight/zoom) &^ 1
	// Even corners, so that chroma stays where luma is.
	left := (round(v.Pan/360*worldWidth)%worldWidth + worldWidth + windowWidth/2 - w/2) % worldWidth &^ 1
	top := round(worldHeight/2-tilt/MaxTilt*(worldHeight-windowHeight)/2-float64(h)/2) &^ 1

	world := panorama()
	part := s.stage.SubImage(image.Rect(0, 0, w, h)).(*image.YCbCr)
	for y := range h {
		copyRing(part.Y[y*part.YStride:][:w], world.Y[(top+y)*world.YStride:][:worldWidth], left)
	}
	for y := range h / 2 {
		row := (top/2 + y) * world.CStride
		copyRing(part.Cb[y*part.CStride:][:w/2], world.Cb[row:][:worldWidth/2], left/2)
		copyRing(part.Cr[y*part.CStride:][:w/2], world.Cr[row:][:worldWidth/2], left/2)
	}
	return stage{canvas: canvas{part}, left: float64(left), top: float64(top)}
}

func copyRing(to, ring []byte, from int) {
	n := copy(to, ring[from:])
	copy(to[n:], ring)
}

// sample scales the stage to the picture, each pixel the mean of what it covers.
// Most of a picture is as it was in the one before: those rows are kept.
func (s *Scene) sample(st stage) {
	w, h := s.img.Rect.Dx(), s.img.Rect.Dy()
	sw, sh := st.Rect.Dx(), st.Rect.Dy()
	same := s.part == st.Rect.Max
	s.scale(s.scaled.Y, s.img.YStride, w, h, st.Y, s.seen.Y, st.YStride, sw, sh, same)
	s.scale(s.scaled.Cb, s.img.CStride, w/2, h/2, st.Cb, s.seen.Cb, st.CStride, sw/2, sh/2, same)
	s.scale(s.scaled.Cr, s.img.CStride, w/2, h/2, st.Cr, s.seen.Cr, st.CStride, sw/2, sh/2, same)
	s.part = st.Rect.Max
	copyPicture(s.seen, s.stage)
	copyPicture(s.img, s.scaled)
}

func copyPicture(to, from *image.YCbCr) {
	copy(to.Y, from.Y)
	copy(to.Cb, from.Cb)
	copy(to.Cr, from.Cr)
}

// scale makes the rows of to whose source is not as it was seen; all of them
// unless the source has the same size.
func (s *Scene) scale(to []byte, toStride, w, h int, from, seen []byte, fromStride, fw, fh int, same bool) {
	taps := max(1, int(math.Round(float64(fw)/float64(w))))
	s.columns = s.columns[:0]
	for i := range w * taps {
		s.columns = append(s.columns, (2*i+1)*fw/(2*w*taps))
	}
	for y := range h {
		at := func(j int) int { return (2*(y*taps+j) + 1) * fh / (2 * h * taps) * fromStride }
		kept := same
		for j := 0; j < taps && kept; j++ {
			kept = bytes.Equal(from[at(j):][:fw], seen[at(j):][:fw])
		}
		if kept {
			continue
		}
		sums := s.sums[:w]
		clear(sums)
		for j := range taps {
			row := from[at(j):]
			columns := s.columns
			for x := range sums {
				sum := 0
				for _, column := range columns[:taps] {
					sum += int(row[column])
				}
				sums[x] += sum
				columns = columns[taps:]
			}
		}
		out := to[y*toStride:][:w]
		for x, sum := range sums {
			out[x] = byte((sum + taps*taps/2) / (taps * taps))
		}
	}
}
