package h264

// zigzag has the raster position of each coefficient of a 4x4 block in scan order
// (figure 8-8, frame scan).
var zigzag = [16]int{0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15}

// The quantiser's factors for the three kinds of positions in a 4x4 block: both
// indices even, both odd, mixed. quantFactor is the forward side (any encoder may
// choose; these invert the other), scaleFactor is normAdjust of clause 8.5.9.
var (
	quantFactor = [6][3]int32{
		{13107, 5243, 8066}, {11916, 4660, 7490}, {10082, 4194, 6554},
		{9362, 3647, 5825}, {8192, 3355, 5243}, {7282, 2893, 4559},
	}
	scaleFactor = [6][3]int32{
		{10, 16, 13}, {11, 18, 14}, {13, 20, 16},
		{14, 23, 18}, {16, 25, 20}, {18, 29, 23},
	}
	factorAt = [16]int{0, 2, 0, 2, 2, 1, 2, 1, 0, 2, 0, 2, 2, 1, 2, 1}
)

// quantiser holds what one QP means, spread over the 16 positions of a block.
type quantiser struct {
	forward [16]int32
	scale   [16]int32 // already shifted by QP/6
	shift   uint
	round   int32
}

func newQuantiser(qp int) quantiser {
	q := quantiser{shift: 15 + uint(qp/6)}
	q.round = 1 << q.shift / 3
	for i := range 16 {
		q.forward[i] = quantFactor[qp%6][factorAt[i]]
		q.scale[i] = scaleFactor[qp%6][factorAt[i]] << (qp / 6)
	}
	return q
}

// level quantises an AC coefficient at raster position i.
func (q *quantiser) level(c int32, i int) int32 {
	return quantise(c, q.forward[i], q.round, q.shift)
}

// levelDC quantises a coefficient of the second, Hadamard, transform.
func (q *quantiser) levelDC(c int32) int32 {
	return quantise(c, q.forward[0], 2*q.round, q.shift+1)
}

func quantise(c, factor, round int32, shift uint) int32 {
	if c < 0 {
		return -int32((int64(-c)*int64(factor) + int64(round)) >> shift)
	}
	return int32((int64(c)*int64(factor) + int64(round)) >> shift)
}

// forward4x4 is the core transform of a residual block, in place.
func forward4x4(b *[16]int32) {
	for i := 0; i < 16; i += 4 {
		s, d := b[i]+b[i+3], b[i]-b[i+3]
		t, e := b[i+1]+b[i+2], b[i+1]-b[i+2]
		b[i], b[i+1], b[i+2], b[i+3] = s+t, 2*d+e, s-t, d-2*e
	}
	for i := range 4 {
		s, d := b[i]+b[i+12], b[i]-b[i+12]
		t, e := b[i+4]+b[i+8], b[i+4]-b[i+8]
		b[i], b[i+4], b[i+8], b[i+12] = s+t, 2*d+e, s-t, d-2*e
	}
}

// inverse4x4 is clause 8.5.12.2, in place, with its rounding.
func inverse4x4(b *[16]int32) {
	for i := 0; i < 16; i += 4 {
		e, f := b[i]+b[i+2], b[i]-b[i+2]
		g, h := b[i+1]>>1-b[i+3], b[i+1]+b[i+3]>>1
		b[i], b[i+1], b[i+2], b[i+3] = e+h, f+g, f-g, e-h
	}
	for i := range 4 {
		e, f := b[i]+b[i+8], b[i]-b[i+8]
		g, h := b[i+4]>>1-b[i+12], b[i+4]+b[i+12]>>1
		b[i], b[i+4] = (e+h+32)>>6, (f+g+32)>>6
		b[i+8], b[i+12] = (f-g+32)>>6, (e-h+32)>>6
	}
}

// hadamard4x4 is its own inverse but for a factor of 16.
func hadamard4x4(b *[16]int32) {
	butterfly := func(i, step int) {
		s, d := b[i]+b[i+3*step], b[i]-b[i+3*step]
		t, e := b[i+step]+b[i+2*step], b[i+step]-b[i+2*step]
		b[i], b[i+step], b[i+2*step], b[i+3*step] = s+t, d+e, s-t, d-e
	}
	for i := range 4 {
		butterfly(4*i, 1)
	}
	for i := range 4 {
		butterfly(i, 4)
	}
}

// hadamard2x2 is its own inverse but for a factor of 4.
func hadamard2x2(b *[4]int32) {
	s, d := b[0]+b[1], b[0]-b[1]
	t, e := b[2]+b[3], b[2]-b[3]
	b[0], b[1], b[2], b[3] = s+t, d+e, s-t, d-e
}
