// Package sum has the checksums of rows from which the door's decisions are loaded: a bit
// flipped on a disk must not let anybody in. A sum is a CRC-32C over everything else in
// the row. SQLite has no checksums for its pages, and PostgreSQL only if it was set up
// with them.
package sum

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Of returns the sum of a row's cells, each a string or an int64.
func Of(cells ...any) int64 {
	var sum uint32
	var b [8]byte
	number := func(n uint64) {
		binary.LittleEndian.PutUint64(b[:], n)
		sum = crc32.Update(sum, castagnoli, b[:])
	}
	for _, c := range cells {
		switch c := c.(type) {
		case string: // its length counts, too: where one text ends and the next begins
			number(uint64(len(c)))
			sum = crc32.Update(sum, castagnoli, []byte(c))
		case int64:
			number(uint64(c))
		default:
			panic(fmt.Sprintf("a cell is a %T", c))
		}
	}
	return int64(sum)
}

// Row returns a row with its sum appended.
func Row(cells ...any) []any { return append(cells, Of(cells...)) }

// maskBits is what a mask of privileges takes.
const maskBits = 8

// Mask returns a mask of privileges with its sum in the bits above it, as there are too
// many for a separate column.
func Mask(entry int64, mask uint8) int64 {
	var b [9]byte
	binary.LittleEndian.PutUint64(b[:], uint64(entry))
	b[8] = mask
	sum := crc32.Checksum(b[:], castagnoli) >> 8 // 24 bits: SQLite keeps it all in four bytes
	return int64(mask) | int64(sum)<<maskBits
}

// MaskOf returns the mask in what Mask returned for an entry, or false if mask or sum is
// damaged.
func MaskOf(entry, kept int64) (mask uint8, ok bool) {
	mask = uint8(kept)
	return mask, kept == Mask(entry, mask)
}
