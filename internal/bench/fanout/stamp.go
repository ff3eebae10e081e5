package fanout

// stamp is what each picture says of itself, in the first bytes of its slice: a viewer
// learns from it how late the picture is, and whether it is whole.
type stamp struct {
	number uint64
	sent   int64 // Unix time in ns
	size   uint64
	key    bool
}

// Each byte of a stamp holds seven bits and is never zero, so that it looks like a start
// code nowhere.
const (
	stampNumber = 5 // bytes
	stampSent   = 9
	stampSize   = 4
	stampLen    = 1 + stampNumber + stampSent + stampSize // and the kind of picture

	keyPicture, otherPicture = 0x88, 0x9a // a slice header's first bits: all of the picture is I, or P
)

func (s stamp) append(b []byte) []byte {
	kind := byte(otherPicture)
	if s.key {
		kind = keyPicture
	}
	b = append(b, kind)
	b = appendSevens(b, s.number, stampNumber)
	b = appendSevens(b, uint64(s.sent), stampSent)
	return appendSevens(b, s.size, stampSize)
}

func parseStamp(b []byte) (s stamp, ok bool) {
	if len(b) < stampLen || (b[0] != keyPicture && b[0] != otherPicture) {
		return s, false
	}
	s.key = b[0] == keyPicture
	s.number = sevens(b[1:], stampNumber)
	s.sent = int64(sevens(b[1+stampNumber:], stampSent))
	s.size = sevens(b[1+stampNumber+stampSent:], stampSize)
	return s, true
}

func appendSevens(b []byte, n uint64, bytes int) []byte {
	for i := bytes - 1; i >= 0; i-- {
		b = append(b, 0x80|byte(n>>(7*i)))
	}
	return b
}

func sevens(b []byte, bytes int) (n uint64) {
	for _, c := range b[:bytes] {
		n = n<<7 | uint64(c&0x7f)
	}
	return n
}
