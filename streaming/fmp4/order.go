package fmp4

import "slices"

// maxDepth is how many pictures may be decoded before one that is shown before them
// (max_dec_frame_buffering of H.264 and H.265).
const maxDepth = 16

// order finds when pictures are decoded from when they are shown: RTP has only the latter.
// A picture is decoded when as many pictures are due as are decoded before it, with a delay
// of depth pictures. So decoding times grow, as often as pictures are shown, and each
// picture is decoded before it is shown, once the depth is right.
type order struct {
	depth   int // how far pictures are put into another order
	waiting []int64
	last    int64
	begun   bool
}

// begin begins with a depth, which grows if it turns out to be too small.
func (o *order) begin(depth int) {
	*o = order{depth: min(max(depth, 0), maxDepth)}
}

// dts returns when a picture is decoded, which is always later than the one before; frame is
// how long a picture is shown, about. All are in ticks.
func (o *order) dts(pts, frame int64) int64 {
	at, _ := slices.BinarySearch(o.waiting, pts)
	o.waiting = slices.Insert(o.waiting, at, pts)
	if o.begun && pts <= o.last && o.depth < maxDepth { // it is shown before it is decoded
		o.depth++
	}
	var dts int64
	switch missing := o.depth + 1 - len(o.waiting); {
	case missing <= 0:
		dts = o.waiting[0]
		o.waiting = slices.Delete(o.waiting, 0, 1)
	case !o.begun:
		dts = pts - int64(o.depth)*frame
	default:
		dts = o.last + min(frame, max(o.waiting[0]-o.last, 0)/int64(missing+1))
	}
	if o.begun {
		dts = max(dts, o.last+1)
	}
	o.last, o.begun = dts, true
	return dts
}

// resume is dts for a picture that is decoded at a given time.
func (o *order) resume(pts, at int64) {
	o.last, o.begun, o.waiting = at, true, nil
	if o.depth > 0 {
		o.waiting = append(o.waiting, pts)
	}
}
