package fmp4

import (
	"math/bits"
)

// flacBlock is how many samples a frame of FLAC has.
const flacBlock = 320

// flacEncoder encodes sound of one channel and 16 bits a sample as FLAC (RFC 9639), in frames
// of flacBlock samples. What is decoded are the same samples.
type flacEncoder struct {
	rate   int // Hz
	number uint64
}

// streamInfo returns the block with the properties of the stream (RFC 9639, section 8.2).
func (e *flacEncoder) streamInfo() []byte {
	var w bitWriter
	w.write(flacBlock, 16)
	w.write(flacBlock, 16)
	w.write(0, 24+24) // the sizes of frames are unknown
	w.write(uint64(e.rate), 20)
	w.write(0, 3)  // one channel
	w.write(15, 5) // bits a sample, minus one
	w.write(0, 36) // the number of samples is unknown
	for range 4 {
		w.write(0, 32) // so is their sum
	}
	return w.data
}

// frame encodes flacBlock samples (RFC 9639, section 9).
func (e *flacEncoder) frame(samples []int16) []byte {
	var w bitWriter
	rate := uint64(0) // that of the stream
	if e.rate == 8000 {
		rate = 4
	}
	w.write(0xfff8, 16)   // sync; blocks of one size
	w.write(7<<4|rate, 8) // the size of the block follows
	w.write(0<<4|4<<1, 8) // one channel, 16 bits a sample
	w.write(codedNumber(e.number & (1<<31 - 1)))
	w.write(uint64(len(samples)-1), 16)
	w.write(uint64(crc8(w.data)), 8)
	e.number++
	subframe(&w, samples)
	w.align()
	w.write(uint64(crc16(w.data)), 16)
	return w.data
}

// codedNumber codes a number of up to 31 bits as UTF-8 does (RFC 9639, section 9.1.5).
func codedNumber(n uint64) (code uint64, size int) {
	if n < 0x80 {
		return n, 8
	}
	more := (bits.Len64(n) - 2) / 5 // bytes after the first one
	code = (0xff<<(7-more))&0xff | n>>(6*more)
	for i := more - 1; i >= 0; i-- {
		code = code<<8 | 0x80 | n>>(6*i)&0x3f
	}
	return code, 8 * (more + 1)
}

// subframe encodes samples in the shortest of the ways that this encoder knows: all are the
// same, a fixed predictor of order 0 to 4 with Rice codes, or as they are.
func subframe(w *bitWriter, samples []int16) {
	values, wasted := withoutWaste(samples)
	header := func(kind uint64) {
		w.write(kind, 7)
		if wasted == 0 {
			w.write(0, 1)
			return
		}
		w.write(1, 1)
		w.unary(uint64(wasted - 1))
	}
	width := 16 - wasted
	write := func(v int32) { w.write(uint64(uint32(v)), width) }
	if same(values) {
		header(0)
		write(values[0])
		return
	}
	best, parameter, least := -1, 0, width*len(values)
	residuals := values
	for order := range 5 {
		if order > 0 {
			residuals = differences(residuals)
		}
		k, size := rice(residuals)
		if size += order*width + 6 + 4; size < least {
			best, parameter, least = order, k, size
		}
	}
	if best < 0 {
		header(1)
		for _, v := range values {
			write(v)
		}
		return
	}
	header(8 | uint64(best))
	for _, v := range values[:best] {
		write(v)
	}
	residuals = values
	for range best {
		residuals = differences(residuals)
	}
	w.write(0, 2+4) // parameters of 4 bits, in one partition
	w.write(uint64(parameter), 4)
	for _, v := range residuals {
		u := zigzag(v)
		w.unary(u >> parameter)
		w.write(u&(1<<parameter-1), parameter)
	}
}

// withoutWaste shifts out the low bits that are zero in all samples.
func withoutWaste(samples []int16) (values []int32, wasted int) {
	var any uint16
	for _, s := range samples {
		any |= uint16(s)
	}
	if any != 0 {
		wasted = bits.TrailingZeros16(any)
	}
	values = make([]int32, len(samples))
	for i, s := range samples {
		values[i] = int32(s) >> wasted
	}
	return values, wasted
}

func same(values []int32) bool {
	for _, v := range values {
		if v != values[0] {
			return false
		}
	}
	return true
}

func differences(values []int32) []int32 {
	out := make([]int32, len(values)-1)
	for i := range out {
		out[i] = values[i+1] - values[i]
	}
	return out
}

// zigzag maps a number to one that is not negative and small if the number is near zero.
func zigzag(v int32) uint64 { return uint64(uint32(v<<1 ^ v>>31)) }

// rice returns the parameter of the shortest Rice code of the residuals, and its bits.
func rice(residuals []int32) (parameter, size int) {
	const parameters = 15 // the sixteenth is an escape
	var sizes [parameters]int
	for _, v := range residuals {
		u := zigzag(v)
		for k := range sizes {
			sizes[k] += int(u>>k) + 1 + k
		}
	}
	for k, s := range sizes {
		if s < sizes[parameter] {
			parameter = k
		}
	}
	return parameter, sizes[parameter]
}

// crc8 and crc16 are the checksums of RFC 9639, sections 9.1.8 and 9.3.
func crc8(data []byte) (crc uint8) {
	for _, b := range data {
		crc ^= b
		for range 8 {
			if crc&0x80 != 0 {
				crc = crc<<1 ^ 0x07
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

func crc16(data []byte) (crc uint16) {
	for _, b := range data {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x8005
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
