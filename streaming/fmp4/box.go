package fmp4

import "encoding/binary"

// boxes is a buffer of boxes (ISO/IEC 14496-12, section 4.2).
type boxes struct{ data []byte }

// box writes a box; body writes what it has.
func (b *boxes) box(kind string, body func()) {
	begin := len(b.data)
	b.u32(0)
	b.text(kind)
	body()
	binary.BigEndian.PutUint32(b.data[begin:], uint32(len(b.data)-begin))
}

// full writes a box with a version and flags.
func (b *boxes) full(kind string, version byte, flags uint32, body func()) {
	b.box(kind, func() {
		b.u32(uint32(version)<<24 | flags)
		body()
	})
}

func (b *boxes) u8(v ...byte)   { b.data = append(b.data, v...) }
func (b *boxes) u16(v uint16)   { b.data = binary.BigEndian.AppendUint16(b.data, v) }
func (b *boxes) u32(v uint32)   { b.data = binary.BigEndian.AppendUint32(b.data, v) }
func (b *boxes) u64(v uint64)   { b.data = binary.BigEndian.AppendUint64(b.data, v) }
func (b *boxes) text(s string)  { b.data = append(b.data, s...) }
func (b *boxes) zero(count int) { b.data = append(b.data, make([]byte, count)...) }

// sized writes bytes after their length in 16 bits.
func (b *boxes) sized(v []byte) {
	b.u16(uint16(len(v)))
	b.u8(v...)
}
