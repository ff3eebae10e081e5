package access

import "sync/atomic"

// A word is one grant, packed:
//
//	account 24 bits | device 24 | channel 9 | timed 1 | privileges 5 | used 1
//
// Readers do not lock: a word is read and written atomically. There is one writer. A word
// without privileges is empty; its slot may be reused.
//
// An account sees a device if it has a privilege on one of the first eight channels;
// otherwise, the word of channel 0 records it. So most grants are one word.
const (
	usedBit    = 1
	maskShift  = 1
	maskBits   = 31 << maskShift
	timedBit   = 1 << 6
	valueBits  = maskBits | timedBit
	chanShift  = 7
	devShift   = 16
	pairBits   = 1<<64 - 1<<devShift
	maxNumber  = 1<<24 - 1
	maxChannel = 1<<9 - 1 // as much as fits in a word: privilege.MaxChannel
)

// pair is an account and a device, in the upper bits of a word.
type pair uint64

func pairOf(account, device uint32) pair { return pair(uint64(account)<<24|uint64(device)) << devShift }

func (p pair) word(channel int) uint64 { return uint64(p) | uint64(channel)<<chanShift | usedBit }

func channelOf(word uint64) int { return int(word >> chanShift & maxChannel) }

// blockOf returns the channel's block: eight channels of a pair start their search at the
// same slot. Channel 0 is with the first ones.
func blockOf(channel int) uint64 { return uint64(max(channel, 1)-1) >> 3 }

// words is an open-addressed table. A used slot stays used for the table's life, so that
// a reader never misses a word after it.
type words []uint64

func (t words) slot(p pair, block uint64) int {
	h := (uint64(p) | block) * 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return int((h >> 32) * uint64(len(t)) >> 32)
}

func (t words) next(i int) int {
	if i++; i < len(t) {
		return i
	}
	return 0
}

// find returns the word of a channel, 0 if there is none, and whether a word on the way
// shows that the account sees the device.
func (t words) find(p pair, channel int) (word uint64, sees bool) {
	for i := t.slot(p, blockOf(channel)); ; i = t.next(i) {
		w := atomic.LoadUint64(&t[i])
		if w == 0 {
			return word, sees
		}
		if pair(w&pairBits) != p || w&maskBits == 0 {
			continue
		}
		sees = true
		if channelOf(w) == channel {
			return w, true
		}
	}
}

// put stores the word of a channel. It reports whether a new slot was used.
func (t words) put(p pair, channel int, value uint64) bool {
	free := -1
	for i := t.slot(p, blockOf(channel)); ; i = t.next(i) {
		w := atomic.LoadUint64(&t[i])
		switch {
		case w == 0 && value == 0:
			return false
		case w == 0 && free >= 0:
			i = free
			fallthrough
		case w == 0, w&^valueBits == p.word(channel):
			atomic.StoreUint64(&t[i], p.word(channel)|value)
			return w == 0 && i != free
		case free < 0 && w&valueBits == 0:
			free = i
		}
	}
}

// insert stores a word at the first free slot from i on, in words that have no readers
// yet.
func (t words) insert(i int, word uint64) {
	for t[i] != 0 {
		i = t.next(i)
	}
	t[i] = word
}

// table is the words and the number of used slots. Only its writer uses it, except for
// find.
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

// set stores what an account may do on a channel of a device.
func (t *table) set(p pair, channel int, value uint64) {
	w := *t.current.Load()
	if (t.used+1)*4 > len(w)*3 {
		t.resize(len(w) + len(w)/4)
		w = *t.current.Load()
	}
	if w.put(p, channel, value) {
		t.used++
	}
}

// sees reports whether the account sees the device.
func (t *table) sees(p pair) bool {
	_, sees := (*t.current.Load()).find(p, 0)
	return sees
}

// resize moves every non-empty word to a new table. Readers continue with the old one
// until the new one is complete.
func (t *table) resize(size int) {
	old := *t.current.Load()
	fresh := make(words, size)
	used := 0
	for _, w := range old {
		if w&valueBits == 0 {
			continue
		}
		fresh.insert(fresh.slot(pair(w&pairBits), blockOf(channelOf(w))), w)
		used++
	}
	t.replace(fresh, used)
}

func (t *table) replace(fresh words, used int) {
	t.used = used
	t.current.Store(&fresh)
}

// roomFor returns how many slots n words should have.
func roomFor(n int) int { return max(n*7/5, leastWords) }
