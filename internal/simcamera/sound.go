package simcamera

import "math"

const soundRate = 8000 // samples a second, G.711 mu-law

// tick is a soft bell of 200 ms that is heard as each second begins; each sixtieth is
// higher. It lets an ear, or a test, compare sound with picture.
var tick, tock = bell(660), bell(880)

func bell(hertz float64) []byte {
	out := make([]byte, soundRate/5)
	for i := range out {
		t := float64(i) / soundRate
		out[i] = muLaw(int16(5000 * math.Exp(-t*22) * math.Sin(2*math.Pi*hertz*t)))
	}
	return out
}

const silence = 0xff

// sound returns n samples from sample number first since the epoch.
func sound(first int64, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		at := first + int64(i)
		bell := tick
		if at/soundRate%60 == 0 {
			bell = tock
		}
		out[i] = silence
		if k := at % soundRate; k < int64(len(bell)) && k >= 0 {
			out[i] = bell[k]
		}
	}
	return out
}

// muLaw codes one sample (ITU-T G.711).
func muLaw(sample int16) byte {
	const bias, clip = 0x84, 32635
	v, sign := int(sample), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, clip) + bias
	exponent := 7
	for mask := 0x4000; v&mask == 0 && exponent > 0; mask >>= 1 {
		exponent--
	}
	mantissa := byte(v>>(exponent+3)) & 0x0f
	return ^(sign | byte(exponent)<<4 | mantissa)
}
