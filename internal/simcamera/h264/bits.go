package h264

import "math/bits"

// bitWriter collects the bits of one NAL unit's payload, most significant bit first.
type bitWriter struct {
	buf  []byte
	acc  uint64 // the low n bits are not yet in buf
	n    uint
	head byte // the NAL unit's header
}

// reset begins a NAL unit with the given header (clause 7.3.1).
func (w *bitWriter) reset(header byte) {
	w.buf, w.acc, w.n, w.head = w.buf[:0], 0, 0, header
}

// put writes the low n bits of v; n is at most 32.
func (w *bitWriter) put(v uint32, n uint) {
	w.acc = w.acc<<n | uint64(v)
	w.n += n
	for w.n >= 8 {
		w.n -= 8
		w.buf = append(w.buf, byte(w.acc>>w.n))
	}
}

func (w *bitWriter) flag(b bool) {
	if b {
		w.put(1, 1)
		return
	}
	w.put(0, 1)
}

// ue writes an unsigned Exp-Golomb code (clause 9.1).
func (w *bitWriter) ue(v uint32) {
	n := uint(bits.Len32(v + 1))
	w.put(0, n-1)
	w.put(v+1, n)
}

// se writes a signed Exp-Golomb code (clause 9.1.1).
func (w *bitWriter) se(v int) {
	if v > 0 {
		w.ue(uint32(2*v - 1))
		return
	}
	w.ue(uint32(-2 * v))
}

// nalu ends the payload with its stop bit and returns the NAL unit in memory of its
// own, with emulation prevention bytes (clause 7.4.1) and without a start code.
func (w *bitWriter) nalu() []byte {
	w.put(1, 1)
	if w.n > 0 {
		w.put(0, 8-w.n)
	}

	out := make([]byte, 1, len(w.buf)+len(w.buf)/64+2)
	out[0] = w.head
	zeros := 0
	for _, b := range w.buf {
		if zeros == 2 && b <= 3 {
			out = append(out, 3)
			zeros = 0
		}
		out = append(out, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}
