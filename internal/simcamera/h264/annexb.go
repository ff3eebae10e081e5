package h264

import (
	"bytes"
	"errors"
	"fmt"
)

// NAL unit types (table 7-1) that a reader of files must tell apart.
const (
	typeSlice     = 1
	typePartition = 2 // data partitions are not of the baseline that cameras send
	typeIDR       = 5
	typeSPS       = 7
	typePPS       = 8
	typeDelimiter = 9
)

// AppendAnnexB appends NAL units with their start codes (annex B).
func AppendAnnexB(out []byte, nalus ...[]byte) []byte {
	for _, n := range nalus {
		out = append(out, 0, 0, 0, 1)
		out = append(out, n...)
	}
	return out
}

// Picture is one coded picture of a recording: its slices, and what came with them
// except parameter sets and delimiters.
type Picture struct {
	NALUs [][]byte
	Key   bool // an IDR picture: a decoder can begin here
}

// Recording is an Annex B file in pictures. It keeps the file's memory.
type Recording struct {
	SPS, PPS []byte
	Pictures []Picture // begins with a key picture
}

// Errors of ParseAnnexB.
var (
	ErrNoParameters = errors.New("no sequence or picture parameter set before the first picture")
	ErrNoKey        = errors.New("no IDR picture")
	ErrParameters   = errors.New("parameter sets change within the file")
	ErrReordered    = errors.New("pictures are reordered (B slices): encode without them")
)

// ParseAnnexB splits a file into pictures; pictures before the first IDR are left out.
// Only what a camera sends live is accepted: one pair of parameter sets, no B slices.
func ParseAnnexB(file []byte) (*Recording, error) {
	var (
		r       Recording
		pending [][]byte // of the next picture, before its first slice
		open    = false  // the last picture may go on
	)
	for nalu := range nalUnits(file) {
		switch t := nalu[0] & 0x1f; {
		case t == typeSPS || t == typePPS:
			open = false
			if err := r.setParameters(t, nalu); err != nil {
				return nil, err
			}
		case t == typeDelimiter:
			open = false
		case t == typeSlice || t == typeIDR:
			first, kind, err := sliceStart(nalu)
			if err != nil {
				return nil, err
			}
			if kind%5 == 1 {
				return nil, ErrReordered
			}
			if first == 0 || !open {
				r.begin(t == typeIDR, pending)
				pending = nil
			}
			open = true
			r.add(nalu)
		case t >= typePartition && t < typeIDR:
			return nil, fmt.Errorf("data partitioning (NAL unit type %d) is not supported", t)
		default:
			open = false
			pending = append(pending, nalu)
		}
	}
	if r.SPS == nil || r.PPS == nil {
		return nil, ErrNoParameters
	}
	if len(r.Pictures) == 0 {
		return nil, ErrNoKey
	}
	return &r, nil
}

func (r *Recording) setParameters(t byte, nalu []byte) error {
	known := &r.SPS
	if t == typePPS {
		known = &r.PPS
	}
	if *known != nil && !bytes.Equal(*known, nalu) {
		return ErrParameters
	}
	*known = nalu
	return nil
}

func (r *Recording) begin(key bool, before [][]byte) {
	if len(r.Pictures) == 0 && !key {
		return
	}
	r.Pictures = append(r.Pictures, Picture{Key: key, NALUs: before})
}

func (r *Recording) add(nalu []byte) {
	if len(r.Pictures) == 0 {
		return
	}
	p := &r.Pictures[len(r.Pictures)-1]
	p.NALUs = append(p.NALUs, nalu)
}

// nalUnits yields the NAL units of an Annex B stream, none of them empty.
func nalUnits(stream []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		startCode := []byte{0, 0, 1}
		at := bytes.Index(stream, startCode)
		for at >= 0 {
			rest := stream[at+3:]
			next := bytes.Index(rest, startCode)
			nalu := rest
			if next >= 0 {
				nalu = rest[:next]
			}
			nalu = bytes.TrimRight(nalu, "\x00") // trailing_zero_8bits, or the longer start code
			if len(nalu) > 0 && !yield(nalu) {
				return
			}
			if next < 0 {
				return
			}
			stream, at = rest, next
		}
	}
}

// sliceStart reads first_mb_in_slice and slice_type. An emulation prevention byte
// cannot come before them: it needs 22 zero bits first, more than the bound on both.
func sliceStart(nalu []byte) (firstMB, kind uint32, err error) {
	r := bitReader{buf: nalu[1:]}
	firstMB, ok := r.ue()
	if !ok {
		return 0, 0, errors.New("a slice header ends early")
	}
	kind, ok = r.ue()
	if !ok || kind > 9 {
		return 0, 0, errors.New("a slice header is broken")
	}
	return firstMB, kind, nil
}

// bitReader reads Exp-Golomb codes from the start of a slice.
type bitReader struct {
	buf []byte
	pos int
}

func (r *bitReader) bit() (uint32, bool) {
	if r.pos >= 8*len(r.buf) {
		return 0, false
	}
	b := r.buf[r.pos/8] >> (7 - r.pos%8) & 1
	r.pos++
	return uint32(b), true
}

// ue reads a code of at most 16 leading zeros: no picture has more macroblocks.
func (r *bitReader) ue() (uint32, bool) {
	zeros := 0
	for {
		b, ok := r.bit()
		if !ok || zeros > 16 {
			return 0, false
		}
		if b == 1 {
			break
		}
		zeros++
	}
	v := uint32(1)
	for range zeros {
		b, ok := r.bit()
		if !ok {
			return 0, false
		}
		v = v<<1 | b
	}
	return v - 1, true
}
