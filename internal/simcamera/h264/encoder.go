package h264

import (
	"bytes"
	"fmt"
	"image"
)

// Bounds of Format. QP stays where the chroma quantiser equals the luma one and where
// every level fits its CAVLC escape code.
const (
	MaxSide = 1920
	MinQP   = 12
	MaxQP   = 29
)

// Format says what an Encoder is given.
type Format struct {
	Width, Height    int // pixels, even, at most MaxSide
	RateNum, RateDen int // pictures in each second, as a fraction
	QP               int // quantiser, MinQP (fine) to MaxQP (coarse)
}

// Encoder turns drawn pictures into NAL units. It is not safe for concurrent use.
type Encoder struct {
	format Format
	sps    []byte
	pps    []byte
	w      bitWriter
	q      quantiser

	mbWidth, mbHeight int
	source            plane3 // the picture before, to find what changed
	recon             plane3 // what a decoder has
	counts            [3][]uint8
	skipped           uint32 // macroblocks skipped since the last coded one
	frameNum          uint32
	idrID             uint32
	started           bool
}

// plane3 is a 4:2:0 picture whose sides are whole macroblocks.
type plane3 struct {
	pix    [3][]byte
	stride [3]int
}

func newPlane3(mbWidth, mbHeight int) plane3 {
	var p plane3
	p.stride = [3]int{16 * mbWidth, 8 * mbWidth, 8 * mbWidth}
	p.pix[0] = make([]byte, 256*mbWidth*mbHeight)
	p.pix[1] = make([]byte, 64*mbWidth*mbHeight)
	p.pix[2] = make([]byte, 64*mbWidth*mbHeight)
	return p
}

// NewEncoder returns an encoder, or an error if the format is not valid.
func NewEncoder(f Format) (*Encoder, error) {
	if f.Width < 16 || f.Height < 16 || f.Width > MaxSide || f.Height > MaxSide || f.Width%2 != 0 || f.Height%2 != 0 {
		return nil, fmt.Errorf("h264: a picture of %dx%d: sides must be even, 16 to %d", f.Width, f.Height, MaxSide)
	}
	if f.RateNum < 1 || f.RateDen < 1 || f.RateNum > 240*f.RateDen {
		return nil, fmt.Errorf("h264: a rate of %d/%d pictures a second", f.RateNum, f.RateDen)
	}
	if f.QP < MinQP || f.QP > MaxQP {
		return nil, fmt.Errorf("h264: quantiser %d is not within %d to %d", f.QP, MinQP, MaxQP)
	}
	e := &Encoder{format: f, q: newQuantiser(f.QP), mbWidth: (f.Width + 15) / 16, mbHeight: (f.Height + 15) / 16}
	e.source = newPlane3(e.mbWidth, e.mbHeight)
	e.recon = newPlane3(e.mbWidth, e.mbHeight)
	e.counts[0] = make([]uint8, 16*e.mbWidth*e.mbHeight)
	e.counts[1] = make([]uint8, 4*e.mbWidth*e.mbHeight)
	e.counts[2] = make([]uint8, 4*e.mbWidth*e.mbHeight)
	e.sps = e.sequenceParameters()
	e.pps = e.pictureParameters()
	return e, nil
}

// SPS returns the sequence parameter set, a NAL unit that the caller must not change.
func (e *Encoder) SPS() []byte { return e.sps }

// PPS returns the picture parameter set, a NAL unit that the caller must not change.
func (e *Encoder) PPS() []byte { return e.pps }

// Encode returns the picture as one slice NAL unit. The first picture, and each one
// that key asks for, is an IDR picture; the others refer to the one before. The image
// must be 4:2:0 and have the format's size; its pixels are not kept.
func (e *Encoder) Encode(img *image.YCbCr, key bool) ([]byte, error) {
	if img.SubsampleRatio != image.YCbCrSubsampleRatio420 ||
		img.Rect.Dx() != e.format.Width || img.Rect.Dy() != e.format.Height {
		return nil, fmt.Errorf("h264: encoding a picture of %dx%d %v where %dx%d 4:2:0 is expected",
			img.Rect.Dx(), img.Rect.Dy(), img.SubsampleRatio, e.format.Width, e.format.Height)
	}
	key = key || !e.started
	e.started = true

	e.beginSlice(key)
	for mbY := range e.mbHeight {
		for mbX := range e.mbWidth {
			changed := e.load(img, mbX, mbY)
			if !key && !changed {
				e.skip(mbX, mbY)
				continue
			}
			e.intra16x16(mbX, mbY, key)
		}
	}
	if e.skipped > 0 {
		e.w.ue(e.skipped)
		e.skipped = 0
	}
	return e.w.nalu(), nil
}

// load copies a macroblock of the image into source, repeating the edge beyond it,
// and reports whether that changed anything.
func (e *Encoder) load(img *image.YCbCr, mbX, mbY int) bool {
	changed := e.loadPlane(0, img.Y, img.YStride, e.format.Width, e.format.Height, 16, mbX, mbY)
	cw, ch := e.format.Width/2, e.format.Height/2
	if e.loadPlane(1, img.Cb, img.CStride, cw, ch, 8, mbX, mbY) {
		changed = true
	}
	if e.loadPlane(2, img.Cr, img.CStride, cw, ch, 8, mbX, mbY) {
		changed = true
	}
	return changed
}

func (e *Encoder) loadPlane(c int, src []byte, srcStride, width, height, size, mbX, mbY int) bool {
	var (
		changed = false
		x       = mbX * size
		n       = min(size, width-x)
		stride  = e.source.stride[c]
	)
	for i := range size {
		y := mbY*size + i
		from := src[min(y, height-1)*srcStride+x:][:n]
		to := e.source.pix[c][y*stride+x:][:size]
		if bytes.Equal(from, to[:n]) {
			continue
		}
		changed = true
		copy(to, from)
		for j := n; j < size; j++ {
			to[j] = from[n-1]
		}
	}
	return changed
}

// skip leaves a macroblock as it was: P_Skip, whose motion vector is zero because no
// macroblock ever has another one (clause 8.4.1.1).
func (e *Encoder) skip(mbX, mbY int) {
	e.skipped++
	for c := range 3 {
		e.clearCounts(c, mbX, mbY)
	}
}
