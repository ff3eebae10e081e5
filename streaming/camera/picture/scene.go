package picture

import (
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
	img     *image.YCbCr
	stage   *image.YCbCr
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
	return &Scene{
		img:   image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420),
		stage: image.NewYCbCr(image.Rect(0, 0, windowWidth, windowHeight), image.YCbCrSubsampleRatio420),
		sums:  make([]int, width),
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
func (s *Scene) sample(st stage) {
	w, h := s.img.Rect.Dx(), s.img.Rect.Dy()
	sw, sh := st.Rect.Dx(), st.Rect.Dy()
	s.scale(s.img.Y, s.img.YStride, w, h, st.Y, st.YStride, sw, sh)
	s.scale(s.img.Cb, s.img.CStride, w/2, h/2, st.Cb, st.CStride, sw/2, sh/2)
	s.scale(s.img.Cr, s.img.CStride, w/2, h/2, st.Cr, st.CStride, sw/2, sh/2)
}

func (s *Scene) scale(to []byte, toStride, w, h int, from []byte, fromStride, fw, fh int) {
	taps := max(1, int(math.Round(float64(fw)/float64(w))))
	s.columns = s.columns[:0]
	for i := range w * taps {
		s.columns = append(s.columns, (2*i+1)*fw/(2*w*taps))
	}
	for y := range h {
		sums := s.sums[:w]
		clear(sums)
		for j := range taps {
			row := from[(2*(y*taps+j)+1)*fh/(2*h*taps)*fromStride:]
			for x := range sums {
				for _, col := range s.columns[x*taps : x*taps+taps] {
					sums[x] += int(row[col])
				}
			}
		}
		out := to[y*toStride:][:w]
		for x, sum := range sums {
			out[x] = byte((sum + taps*taps/2) / (taps * taps))
		}
	}
}
