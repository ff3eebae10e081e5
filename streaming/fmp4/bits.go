package fmp4

// bitWriter writes bits, the highest first.
type bitWriter struct {
	data []byte
	free int // bits in the last byte
}

func (w *bitWriter) write(v uint64, bits int) {
	for bits > 0 {
		if w.free == 0 {
			w.data = append(w.data, 0)
			w.free = 8
		}
		n := min(bits, w.free)
		part := v >> (bits - n) & (1<<n - 1)
		w.data[len(w.data)-1] |= byte(part << (w.free - n))
		bits -= n
		w.free -= n
	}
}

// unary writes zeros and a one.
func (w *bitWriter) unary(zeros uint64) {
	for ; zeros >= 32; zeros -= 32 {
		w.write(0, 32)
	}
	w.write(1, int(zeros)+1)
}

// align fills the last byte.
func (w *bitWriter) align() { w.free = 0 }
