package h264

// Intra prediction modes (tables 8-4 and 8-5). The chroma modes are the same three,
// numbered otherwise.
const (
	predictVertical   = 0
	predictHorizontal = 1
	predictDC         = 2
)

var chromaModeCode = [3]uint32{predictVertical: 2, predictHorizontal: 1, predictDC: 0}

// blockAt has the column and row, in 4x4 blocks, of each luma block in coding order
// (figure 6-10).
var blockAt = [16][2]int{
	{0, 0}, {1, 0}, {0, 1}, {1, 1}, {2, 0}, {3, 0}, {2, 1}, {3, 1},
	{0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 2}, {3, 2}, {2, 3}, {3, 3},
}

// intra16x16 codes one macroblock from what is around it and leaves in recon what a
// decoder makes of it (clauses 7.3.5, 8.3.3 and 8.3.4).
func (e *Encoder) intra16x16(mbX, mbY int, key bool) {
	var luma lumaResidual
	lumaMode := e.predict(mbX, mbY, 0, 16)
	e.transformLuma(&luma, mbX, mbY)

	var chroma [2]chromaResidual
	chromaMode := e.predict(mbX, mbY, 1, 8)
	e.transformChroma(&chroma[0], 1, mbX, mbY)
	e.transformChroma(&chroma[1], 2, mbX, mbY)
	chromaPattern := max(chroma[0].pattern(), chroma[1].pattern())

	w := &e.w
	mbType := 1 + uint32(lumaMode) + 4*chromaPattern
	if luma.hasAC {
		mbType += 12
	}
	if key {
		w.ue(mbType)
	} else {
		w.ue(e.skipped)
		e.skipped = 0
		w.ue(5 + mbType)
	}
	w.ue(chromaModeCode[chromaMode])
	w.se(0) // mb_qp_delta
	e.writeLuma(&luma, mbX, mbY)
	e.writeChroma(&chroma, chromaPattern, mbX, mbY)
}

// lumaResidual holds quantised levels in scan order, ready to be written.
type lumaResidual struct {
	dc    [16]int32
	ac    [16][15]int32 // by block in raster order
	hasAC bool
}

type chromaResidual struct {
	dc    [4]int32
	ac    [4][15]int32
	hasDC bool
	hasAC bool
}

// pattern is CodedBlockPatternChroma (clause 7.4.5).
func (c *chromaResidual) pattern() uint32 {
	switch {
	case c.hasAC:
		return 2
	case c.hasDC:
		return 1
	}
	return 0
}

// transformLuma quantises source minus the prediction in recon, and rebuilds recon.
func (e *Encoder) transformLuma(r *lumaResidual, mbX, mbY int) {
	var (
		blocks [16][16]int32
		dc     [16]int32
	)
	for i := range blocks {
		b := &blocks[i]
		e.difference(b, 0, 16*mbX+i%4*4, 16*mbY+i/4*4)
		forward4x4(b)
		dc[i] = b[0]
		if e.quantiseAC(b, &r.ac[i]) {
			r.hasAC = true
		}
	}

	hadamard4x4(&dc)
	for i := range dc {
		dc[i] = e.q.levelDC(dc[i] / 2)
	}
	for i, at := range zigzag {
		r.dc[i] = dc[at]
	}

	hadamard4x4(&dc)
	for i := range blocks {
		b := &blocks[i]
		b[0] = dc[i] * e.q.scale[0] >> 2 // clause 8.5.10; exact because QP >= MinQP
		inverse4x4(b)
		e.add(b, 0, 16*mbX+i%4*4, 16*mbY+i/4*4)
	}
}

func (e *Encoder) transformChroma(r *chromaResidual, c, mbX, mbY int) {
	var (
		blocks [4][16]int32
		dc     [4]int32
	)
	for i := range blocks {
		b := &blocks[i]
		e.difference(b, c, 8*mbX+i%2*4, 8*mbY+i/2*4)
		forward4x4(b)
		dc[i] = b[0]
		if e.quantiseAC(b, &r.ac[i]) {
			r.hasAC = true
		}
	}

	hadamard2x2(&dc)
	for i := range dc {
		dc[i] = e.q.levelDC(dc[i])
		r.hasDC = r.hasDC || dc[i] != 0
	}
	r.dc = dc

	hadamard2x2(&dc)
	for i := range blocks {
		b := &blocks[i]
		b[0] = dc[i] * e.q.scale[0] >> 1 // clause 8.5.11.2
		inverse4x4(b)
		e.add(b, c, 8*mbX+i%2*4, 8*mbY+i/2*4)
	}
}

// quantiseAC puts the levels of all but the first coefficient into out and their
// decoded values into b, and reports whether any is not zero.
func (e *Encoder) quantiseAC(b *[16]int32, out *[15]int32) bool {
	any := false
	for i, at := range zigzag[1:] {
		l := e.q.level(b[at], at)
		out[i] = l
		b[at] = l * e.q.scale[at]
		any = any || l != 0
	}
	return any
}

// difference fills b with source minus recon at a 4x4 block of plane c.
func (e *Encoder) difference(b *[16]int32, c, x, y int) {
	stride := e.source.stride[c]
	for i := range 4 {
		at := (y+i)*stride + x
		s, p := e.source.pix[c][at:at+4], e.recon.pix[c][at:at+4]
		for j := range 4 {
			b[4*i+j] = int32(s[j]) - int32(p[j])
		}
	}
}

// add puts the decoded residual on top of the prediction in recon.
func (e *Encoder) add(b *[16]int32, c, x, y int) {
	stride := e.recon.stride[c]
	for i := range 4 {
		p := e.recon.pix[c][(y+i)*stride+x:][:4]
		for j := range 4 {
			p[j] = byte(min(max(int32(p[j])+b[4*i+j], 0), 255))
		}
	}
}

func (e *Encoder) writeLuma(r *lumaResidual, mbX, mbY int) {
	e.w.residual(r.dc[:], e.context(0, mbX, mbY, 0, 0))
	if !r.hasAC {
		e.clearCounts(0, mbX, mbY)
		return
	}
	for _, at := range blockAt {
		n := e.w.residual(r.ac[at[1]*4+at[0]][:], e.context(0, mbX, mbY, at[0], at[1]))
		e.setCount(0, mbX, mbY, at[0], at[1], n)
	}
}

func (e *Encoder) writeChroma(r *[2]chromaResidual, pattern uint32, mbX, mbY int) {
	if pattern > 0 {
		e.w.residual(r[0].dc[:], chromaDC)
		e.w.residual(r[1].dc[:], chromaDC)
	}
	if pattern < 2 {
		e.clearCounts(1, mbX, mbY)
		e.clearCounts(2, mbX, mbY)
		return
	}
	for c := range 2 {
		for i := range 4 {
			n := e.w.residual(r[c].ac[i][:], e.context(1+c, mbX, mbY, i%2, i/2))
			e.setCount(1+c, mbX, mbY, i%2, i/2, n)
		}
	}
}

// side is how many 4x4 blocks a macroblock of plane c has in a row.
func side(c int) int {
	if c == 0 {
		return 4
	}
	return 2
}

func (e *Encoder) setCount(c, mbX, mbY, x, y, n int) {
	s := side(c)
	e.counts[c][(mbY*s+y)*e.mbWidth*s+mbX*s+x] = uint8(n)
}

func (e *Encoder) clearCounts(c, mbX, mbY int) {
	s := side(c)
	for y := range s {
		clear(e.counts[c][(mbY*s+y)*e.mbWidth*s+mbX*s:][:s])
	}
}

// context is nC of a block (clause 9.2.1): what the blocks to the left and above hold.
func (e *Encoder) context(c, mbX, mbY, x, y int) int {
	s := side(c)
	col, row, stride := mbX*s+x, mbY*s+y, e.mbWidth*s
	at := row*stride + col
	switch {
	case col > 0 && row > 0:
		return (int(e.counts[c][at-1]) + int(e.counts[c][at-stride]) + 1) / 2
	case col > 0:
		return int(e.counts[c][at-1])
	case row > 0:
		return int(e.counts[c][at-stride])
	}
	return 0
}

// predict fills recon with the best of three predictions for a macroblock of plane c
// (and of the next plane too when it is chroma, which share their mode).
func (e *Encoder) predict(mbX, mbY, c, size int) int {
	planes := []int{c}
	if c > 0 {
		planes = []int{1, 2}
	}
	modes := []int{predictDC}
	if mbY > 0 {
		modes = append(modes, predictVertical)
	}
	if mbX > 0 {
		modes = append(modes, predictHorizontal)
	}

	best, bestCost := modes[0], -1
	for _, m := range modes {
		cost := 0
		for _, p := range planes {
			e.fill(m, p, mbX, mbY, size)
			cost += e.distance(p, mbX*size, mbY*size, size)
		}
		if bestCost < 0 || cost < bestCost {
			best, bestCost = m, cost
		}
	}
	for _, p := range planes {
		e.fill(best, p, mbX, mbY, size)
	}
	return best
}

// fill writes one prediction into recon.
func (e *Encoder) fill(mode, c, mbX, mbY, size int) {
	stride := e.recon.stride[c]
	pix := e.recon.pix[c]
	origin := mbY*size*stride + mbX*size
	switch mode {
	case predictVertical:
		above := pix[origin-stride:][:size]
		for y := range size {
			copy(pix[origin+y*stride:][:size], above)
		}
	case predictHorizontal:
		for y := range size {
			row := pix[origin+y*stride-1:][:size+1]
			for x := 1; x <= size; x++ {
				row[x] = row[0]
			}
		}
	case predictDC:
		e.fillDC(c, mbX, mbY, size)
	}
}

// fillDC predicts luma with one mean, chroma with a mean for each 4x4 block, taken from
// the edges that clause 8.3.4.1 names.
func (e *Encoder) fillDC(c, mbX, mbY, size int) {
	step := 4
	if c == 0 {
		step = 16
	}
	for y := 0; y < size; y += step {
		for x := 0; x < size; x += step {
			useAbove, useLeft := mbY > 0, mbX > 0
			if useAbove && useLeft && x != y {
				useAbove, useLeft = x > y, y > x
			}
			e.fillMean(c, mbX*size, mbY*size, x, y, step, useAbove, useLeft)
		}
	}
}

func (e *Encoder) fillMean(c, left, top, x, y, step int, useAbove, useLeft bool) {
	stride := e.recon.stride[c]
	pix := e.recon.pix[c]
	sum, n := 0, 0
	if useAbove {
		for i := range step {
			sum += int(pix[(top-1)*stride+left+x+i])
		}
		n += step
	}
	if useLeft {
		for i := range step {
			sum += int(pix[(top+y+i)*stride+left-1])
		}
		n += step
	}
	mean := byte(128)
	if n > 0 {
		mean = byte((sum + n/2) / n)
	}
	for i := range step {
		row := pix[(top+y+i)*stride+left+x:][:step]
		for j := range row {
			row[j] = mean
		}
	}
}

// distance is the sum of absolute differences between source and recon in a square.
func (e *Encoder) distance(c, x, y, size int) int {
	sum := 0
	stride := e.source.stride[c]
	for i := range size {
		at := (y+i)*stride + x
		s, p := e.source.pix[c][at:at+size], e.recon.pix[c][at:at+size]
		for j := range s {
			d := int(s[j]) - int(p[j])
			sum += max(d, -d)
		}
	}
	return sum
}
