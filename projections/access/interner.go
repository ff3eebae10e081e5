package access

import (
	"fmt"
	"hash/maphash"
)

// interner assigns numbers to identifiers. It stores each of them once, compactly: a
// number takes about 10 bytes plus the identifier, and a UUID 16 more. Number 0 is none.
// It does not lock.
type interner struct {
	seed  maphash.Seed
	slots []uint32 // start of a record, plus one; open-addressed
	used  int      // records
	arena [][]byte // pieces of records: number (3 bytes), size (1), identifier
	last  uint32   // the highest number assigned
	limit uint32   // the highest number possible
}

const (
	pieceBits  = 16 // of a record's place: within its piece of the arena
	pieceSize  = 1 << pieceBits
	leastSlots = 1 << 6
	headSize   = 4    // of a record, before the identifier
	uuidSize   = 16   // of a UUID, kept as its bytes
	uuidMark   = 0xff // as the size of a record that holds a UUID
	maxID      = 200  // bytes of any other identifier
)

func newInterner(limit uint32) *interner {
	return &interner{seed: maphash.MakeSeed(), slots: make([]uint32, leastSlots), limit: limit}
}

// number returns the identifier's number, 0 if it has none.
func (n *interner) number(id string) uint32 {
	var buf [maxID]byte
	size, key := pack(id, &buf)
	if key == nil {
		return 0
	}
	for i := n.slot(key); ; i = n.next(i) {
		at := n.slots[i]
		if at == 0 {
			return 0
		}
		record := n.record(at)
		if record[3] == size && string(record[headSize:headSize+len(key)]) == string(key) {
			return uint32(record[0])<<16 | uint32(record[1])<<8 | uint32(record[2])
		}
	}
}

// add assigns the next number to an identifier that has none.
func (n *interner) add(id string) (uint32, error) {
	at, err := n.keep(id, n.last+1)
	if err != nil {
		return 0, err
	}
	if n.used*5 > len(n.slots)*4 {
		n.rehash(len(n.slots) + len(n.slots)/2)
	} else {
		n.insert(at)
	}
	return n.last, nil
}

// keep writes a record to the arena, with the identifier's number, and returns its place
// plus one. It is found once it was inserted.
func (n *interner) keep(id string, number uint32) (at uint32, err error) {
	if number == 0 || number > n.limit {
		return 0, ErrFull
	}
	var buf [maxID]byte
	size, key := pack(id, &buf)
	if key == nil {
		return 0, fmt.Errorf("an identifier of %d bytes", len(id))
	}
	last := len(n.arena) - 1
	if last < 0 || len(n.arena[last])+headSize+len(key) > pieceSize {
		if last++; last >= pieceSize-1 {
			return 0, ErrFull
		}
		n.arena = append(n.arena, make([]byte, 0, pieceSize))
	}
	piece := n.arena[last]
	at = uint32(last)<<pieceBits | uint32(len(piece)) + 1
	piece = append(piece, byte(number>>16), byte(number>>8), byte(number), size)
	n.arena[last] = append(piece, key...)
	n.used++
	n.last = max(n.last, number)
	return at, nil
}

// skip skips a number that was assigned to something that is gone: it is not reused, as
// grants may still have it.
func (n *interner) skip(number uint32) error {
	if number == 0 || number > n.limit {
		return ErrFull
	}
	n.last = max(n.last, number)
	return nil
}

// few reports whether so few numbers are left that commands must not use more: the rest
// is for what they wrote already and is not applied yet.
func (n *interner) few() bool { return uint64(n.last)+uint64(n.limit>>14) >= uint64(n.limit) }

func (n *interner) record(at uint32) []byte {
	at--
	return n.arena[at>>pieceBits][at&(pieceSize-1):]
}

func (n *interner) slot(key []byte) int {
	return int(maphash.Bytes(n.seed, key) >> 32 * uint64(len(n.slots)) >> 32)
}

func (n *interner) next(i int) int {
	if i++; i < len(n.slots) {
		return i
	}
	return 0
}

func (n *interner) insert(at uint32) {
	i := n.slot(keyOf(n.record(at)))
	for n.slots[i] != 0 {
		i = n.next(i)
	}
	n.slots[i] = at
}

// keyOf returns the identifier of the record that data begins with, in its stored form.
func keyOf(data []byte) []byte {
	size := int(data[3])
	if size == uuidMark {
		size = uuidSize
	}
	return data[headSize : headSize+size]
}

// rehash inserts every record into a number of slots.
func (n *interner) rehash(slots int) {
	n.slots = make([]uint32, slots)
	for i, piece := range n.arena {
		for at := 0; at < len(piece); at += headSize + len(keyOf(piece[at:])) {
			n.insert(uint32(i)<<pieceBits | uint32(at) + 1)
		}
	}
}

// complete makes stored records findable.
func (n *interner) complete() { n.rehash(max(n.used*5/4+1, leastSlots)) }

// pack returns the stored form of an identifier: the bytes of a UUID in canonical form,
// else the identifier, in buf; nil for one that is empty or too long.
func pack(id string, buf *[maxID]byte) (size byte, key []byte) {
	if packUUID(id, buf) {
		return uuidMark, buf[:uuidSize]
	}
	if id == "" || len(id) > maxID {
		return 0, nil
	}
	return byte(len(id)), buf[:copy(buf[:], id)]
}

func packUUID(id string, buf *[maxID]byte) bool {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return false
	}
	i := 0
	for j := range uuidSize {
		if id[i] == '-' {
			i++
		}
		high, low := digit(id[i]), digit(id[i+1])
		if high|low > 15 {
			return false
		}
		buf[j] = high<<4 | low
		i += 2
	}
	return true
}

// digit returns the value of a lower-case hexadecimal digit, more than 15 for anything
// else.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
