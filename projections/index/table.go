package index

import "sync/atomic"

// A word is one grant, packed:
//
//	account 24 bits | device 24 | channel 9 | timed 1 | privileges 5 | used 1
//
// Readers take no lock: a word is read and written whole. There is one writer.
// Channel 0 says whether the account may see the device at all.
const (
	usedBit    = 1
	maskShift  = 1
	maskBits   = 31 << maskShift
	timedBit   = 1 << 6
	valueBits  = maskBits | timedBit
	chanShift  = 7
	devShift   = 16
	accShift   = 40
	maxNumber  = 1<<24 - 1
	maxChannel = 1<<9 - 1
)

func wordKey(account, device uint32, channel int) uint64 {
	return uint64(account)<<accShift | uint64(device)<<devShift | uint64(channel)<<chanShift | usedBit
}

// words is an open-addressed table. A key that was put stays in its slot for
// the table's life, with an empty value when it is taken away, so that a reader
// never misses a word behind it.
type words []uint64

func (t words) slot(key uint64) int {
	h := key * 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return int((h >> 32) * uint64(len(t)) >> 32)
}

// find answers the word of a key, 0 where there is none.
func (t words) find(key uint64) uint64 {
	for i := t.slot(key); ; {
		w := atomic.LoadUint64(&t[i])
		if w == 0 || w&^valueBits == key {
			return w
		}
		if i++; i == len(t) {
			i = 0
		}
	}
}

// put stores the value of a key and says whether the key is new.
func (t words) put(key, value uint64) bool {
	for i := t.slot(key); ; {
		w := atomic.LoadUint64(&t[i])
		if w == 0 || w&^valueBits == key {
			atomic.StoreUint64(&t[i], key|value)
			return w == 0
		}
		if i++; i == len(t) {
			i = 0
		}
	}
}

// table is the words and how many of their slots are taken. Only its writer
// touches it besides find.
type table struct {
	current atomic.Pointer[words]
	used    int
}

const leastWords = 1 << 10

func newTable() *table {
	t := &table{}
	first := make(words, leastWords)
	t.current.Store(&first)
	return t
}

func (t *table) find(key uint64) uint64 { return (*t.current.Load()).find(key) }

// put stores a value. An empty value for a key that is not there stores nothing.
func (t *table) put(key, value uint64) {
	w := *t.current.Load()
	if value == 0 && w.find(key) == 0 {
		return
	}
	if (t.used+1)*5 > len(w)*4 {
		t.resize(len(w) + len(w)/2)
		w = *t.current.Load()
	}
	if w.put(key, value) {
		t.used++
	}
}

// resize moves every word that says something to a new table. Readers go on
// with the old one until the new one is complete.
func (t *table) resize(size int) {
	old := *t.current.Load()
	fresh := make(words, max(size, leastWords))
	used := 0
	for _, w := range old {
		if w&valueBits != 0 && fresh.put(w&^valueBits, w&valueBits) {
			used++
		}
	}
	t.used = used
	t.current.Store(&fresh)
}

// compact gives back what loading has left over.
func (t *table) compact() { t.resize(t.used * 4 / 3) }
