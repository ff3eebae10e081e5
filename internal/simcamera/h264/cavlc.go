package h264

// code is one variable-length code: its low bits and how many there are.
type code struct {
	bits uint8
	len  uint8
}

// The tables are kept as the standard prints them: lengths and values apart, so that
// each can be compared with the page.

// coeffTokenLen and coeffTokenBits are table 9-5 for nC 0..1, 2..3, 4..7 and 8 or
// more, indexed by 4*total_coeff + trailing_ones.
var coeffTokenLen = [4][4 * 17]uint8{
	{
		1, 0, 0, 0,
		6, 2, 0, 0, 8, 6, 3, 0, 9, 8, 7, 5, 10, 9, 8, 6,
		11, 10, 9, 7, 13, 11, 10, 8, 13, 13, 11, 9, 13, 13, 13, 10,
		14, 14, 13, 11, 14, 14, 14, 13, 15, 15, 14, 14, 15, 15, 15, 14,
		16, 15, 15, 15, 16, 16, 16, 15, 16, 16, 16, 16, 16, 16, 16, 16,
	},
	{
		2, 0, 0, 0,
		6, 2, 0, 0, 6, 5, 3, 0, 7, 6, 6, 4, 8, 6, 6, 4,
		8, 7, 7, 5, 9, 8, 8, 6, 11, 9, 9, 6, 11, 11, 11, 7,
		12, 11, 11, 9, 12, 12, 12, 11, 12, 12, 12, 11, 13, 13, 13, 12,
		13, 13, 13, 13, 13, 14, 13, 13, 14, 14, 14, 13, 14, 14, 14, 14,
	},
	{
		4, 0, 0, 0,
		6, 4, 0, 0, 6, 5, 4, 0, 6, 5, 5, 4, 7, 5, 5, 4,
		7, 5, 5, 4, 7, 6, 6, 4, 7, 6, 6, 4, 8, 7, 7, 5,
		8, 8, 7, 6, 9, 8, 8, 7, 9, 9, 8, 8, 9, 9, 9, 8,
		10, 9, 9, 9, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
	},
	{
		6, 0, 0, 0,
		6, 6, 0, 0, 6, 6, 6, 0, 6, 6, 6, 6, 6, 6, 6, 6,
		6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
		6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
		6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
	},
}

var coeffTokenBits = [4][4 * 17]uint8{
	{
		1, 0, 0, 0,
		5, 1, 0, 0, 7, 4, 1, 0, 7, 6, 5, 3, 7, 6, 5, 3,
		7, 6, 5, 4, 15, 6, 5, 4, 11, 14, 5, 4, 8, 10, 13, 4,
		15, 14, 9, 4, 11, 10, 13, 12, 15, 14, 9, 12, 11, 10, 13, 8,
		15, 1, 9, 12, 11, 14, 13, 8, 7, 10, 9, 12, 4, 6, 5, 8,
	},
	{
		3, 0, 0, 0,
		11, 2, 0, 0, 7, 7, 3, 0, 7, 10, 9, 5, 7, 6, 5, 4,
		4, 6, 5, 6, 7, 6, 5, 8, 15, 6, 5, 4, 11, 14, 13, 4,
		15, 10, 9, 4, 11, 14, 13, 12, 8, 10, 9, 8, 15, 14, 13, 12,
		11, 10, 9, 12, 7, 11, 6, 8, 9, 8, 10, 1, 7, 6, 5, 4,
	},
	{
		15, 0, 0, 0,
		15, 14, 0, 0, 11, 15, 13, 0, 8, 12, 14, 12, 15, 10, 11, 11,
		11, 8, 9, 10, 9, 14, 13, 9, 8, 10, 9, 8, 15, 14, 13, 13,
		11, 14, 10, 12, 15, 10, 13, 12, 11, 14, 9, 12, 8, 10, 13, 8,
		13, 7, 9, 12, 9, 12, 11, 10, 5, 8, 7, 6, 1, 4, 3, 2,
	},
	{
		3, 0, 0, 0,
		0, 1, 0, 0, 4, 5, 6, 0, 8, 9, 10, 11, 12, 13, 14, 15,
		16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
		32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
		48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
	},
}

// chromaTokenLen and chromaTokenBits are the column of table 9-5 for nC = -1.
var chromaTokenLen = [4 * 5]uint8{
	2, 0, 0, 0,
	6, 1, 0, 0,
	6, 6, 3, 0,
	6, 7, 7, 6,
	6, 8, 8, 7,
}

var chromaTokenBits = [4 * 5]uint8{
	1, 0, 0, 0,
	7, 1, 0, 0,
	4, 6, 1, 0,
	3, 3, 2, 5,
	2, 3, 2, 0,
}

// totalZeros is tables 9-7 and 9-8: total_zeros for 4x4 blocks, by total_coeff - 1.
var totalZeros = codes([][]uint8{
	{1, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 9},
	{3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 6, 6, 6},
	{4, 3, 3, 3, 4, 4, 3, 3, 4, 5, 5, 6, 5, 6},
	{5, 3, 4, 4, 3, 3, 3, 4, 3, 4, 5, 5, 5},
	{4, 4, 4, 3, 3, 3, 3, 3, 4, 5, 4, 5},
	{6, 5, 3, 3, 3, 3, 3, 3, 4, 3, 6},
	{6, 5, 3, 3, 3, 2, 3, 4, 3, 6},
	{6, 4, 5, 3, 2, 2, 3, 3, 6},
	{6, 6, 4, 2, 2, 3, 2, 5},
	{5, 5, 3, 2, 2, 2, 4},
	{4, 4, 3, 3, 1, 3},
	{4, 4, 2, 1, 3},
	{3, 3, 1, 2},
	{2, 2, 1},
	{1, 1},
}, [][]uint8{
	{1, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 1},
	{7, 6, 5, 4, 3, 5, 4, 3, 2, 3, 2, 3, 2, 1, 0},
	{5, 7, 6, 5, 4, 3, 4, 3, 2, 3, 2, 1, 1, 0},
	{3, 7, 5, 4, 6, 5, 4, 3, 3, 2, 2, 1, 0},
	{5, 4, 3, 7, 6, 5, 4, 3, 2, 1, 1, 0},
	{1, 1, 7, 6, 5, 4, 3, 2, 1, 1, 0},
	{1, 1, 5, 4, 3, 3, 2, 1, 1, 0},
	{1, 1, 1, 3, 3, 2, 2, 1, 0},
	{1, 0, 1, 3, 2, 1, 1, 1},
	{1, 0, 1, 3, 2, 1, 1},
	{0, 1, 1, 2, 1, 3},
	{0, 1, 1, 1, 1},
	{0, 1, 1, 1},
	{0, 1, 1},
	{0, 1},
})

// chromaTotalZeros is table 9-9(a): total_zeros for chroma DC, by total_coeff - 1.
var chromaTotalZeros = codes(
	[][]uint8{{1, 2, 3, 3}, {1, 2, 2}, {1, 1}},
	[][]uint8{{1, 1, 1, 0}, {1, 1, 0}, {1, 0}},
)

// runBefore is table 9-10, by min(zerosLeft, 7) - 1.
var runBefore = codes([][]uint8{
	{1, 1},
	{1, 2, 2},
	{2, 2, 2, 2},
	{2, 2, 2, 3, 3},
	{2, 2, 3, 3, 3, 3},
	{2, 3, 3, 3, 3, 3, 3},
	{3, 3, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11},
}, [][]uint8{
	{1, 0},
	{1, 1, 0},
	{3, 2, 1, 0},
	{3, 2, 1, 1, 0},
	{3, 2, 3, 2, 1, 0},
	{3, 0, 1, 3, 2, 5, 4},
	{7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1},
})

func codes(lens, values [][]uint8) [][]code {
	out := make([][]code, len(lens))
	for i := range lens {
		out[i] = make([]code, len(lens[i]))
		for j := range lens[i] {
			out[i][j] = code{bits: values[i][j], len: lens[i][j]}
		}
	}
	return out
}

// chromaDC is the nC of a block of chroma DC coefficients (clause 9.2.1).
const chromaDC = -1

// residual writes one block of quantised coefficients, given in scan order, with
// CAVLC (clause 9.2). nC is the context that the neighbours give, or chromaDC. It
// returns how many coefficients were not zero.
func (w *bitWriter) residual(coeffs []int32, nC int) int {
	var (
		levels [16]int32 // highest frequency first
		runs   [16]int   // zeros just before each
		total  int
		zeros  int // zeros below the highest coefficient
		ones   int // trailing ones
	)
	last := len(coeffs) - 1
	for last >= 0 && coeffs[last] == 0 {
		last--
	}
	for i := last; i >= 0; i-- {
		if coeffs[i] == 0 {
			runs[total-1]++
			zeros++
			continue
		}
		levels[total] = coeffs[i]
		total++
	}
	for ones < total && ones < 3 && (levels[ones] == 1 || levels[ones] == -1) {
		ones++
	}

	w.coeffToken(total, ones, nC)
	if total == 0 {
		return 0
	}
	for _, l := range levels[:ones] {
		w.flag(l < 0)
	}
	w.levels(levels[ones:total], total, ones)

	if total < len(coeffs) {
		table := totalZeros
		if nC == chromaDC {
			table = chromaTotalZeros
		}
		c := table[total-1][zeros]
		// The table for 4x4 blocks serves those of 15 coefficients too: one zero
		// fewer is possible, and its code is not used.
		w.put(uint32(c.bits), uint(c.len))
	}
	for i := 0; i < total-1 && zeros > 0; i++ {
		c := runBefore[min(zeros, 7)-1][runs[i]]
		w.put(uint32(c.bits), uint(c.len))
		zeros -= runs[i]
	}
	return total
}

func (w *bitWriter) coeffToken(total, ones, nC int) {
	i := 4*total + ones
	if nC == chromaDC {
		w.put(uint32(chromaTokenBits[i]), uint(chromaTokenLen[i]))
		return
	}
	table := 3
	switch {
	case nC < 2:
		table = 0
	case nC < 4:
		table = 1
	case nC < 8:
		table = 2
	}
	w.put(uint32(coeffTokenBits[table][i]), uint(coeffTokenLen[table][i]))
}

// levels writes the coefficients that are not trailing ones (clause 9.2.2.1).
func (w *bitWriter) levels(levels []int32, total, ones int) {
	suffix := uint(0)
	if total > 10 && ones < 3 {
		suffix = 1
	}
	for i, l := range levels {
		size := max(l, -l)
		levelCode := uint32(2*size - 2)
		if l < 0 {
			levelCode++
		}
		if i == 0 && ones < 3 {
			levelCode -= 2 // it cannot be a one: that would have been a trailing one
		}
		w.level(levelCode, suffix)
		if suffix == 0 {
			suffix = 1
		}
		if size > 3<<(suffix-1) && suffix < 6 {
			suffix++
		}
	}
}

func (w *bitWriter) level(levelCode uint32, suffix uint) {
	switch {
	case suffix == 0 && levelCode < 14:
		w.put(1, uint(levelCode)+1)
	case suffix == 0 && levelCode < 30:
		w.put(1, 15)
		w.put(levelCode-14, 4)
	case suffix == 0:
		w.put(1, 16)
		w.put(levelCode-30, 12)
	case levelCode < 15<<suffix:
		w.put(1, uint(levelCode>>suffix)+1)
		w.put(levelCode&(1<<suffix-1), suffix)
	default:
		w.put(1, 16)
		w.put(levelCode-15<<suffix, 12)
	}
}
