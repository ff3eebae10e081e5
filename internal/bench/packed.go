package main

import "sync/atomic"

// grant is what an account may do on a channel of a device.
type grant struct {
	account, device uint32
	channel, mask   uint8
}

// The model: 1M grants are 100,000 accounts on 200,000 devices of 8 channels.
// Beyond 1M both grow in proportion.
const (
	benchAccounts = 100_000
	benchDevices  = 200_000
	benchChannels = 8
)

// splitmix is a small generator with a fixed seed, so that every run has the
// same grants and the same questions.
type splitmix uint64

func (r *splitmix) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// grants makes n different grants.
func grants(n int) []grant {
	scale := uint64(max(1, n/1_000_000))
	r := splitmix(42)
	seen := make(map[uint64]struct{}, n)
	list := make([]grant, 0, n)
	for len(list) < n {
		x := r.next()
		g := grant{
			account: uint32(uint64(len(list)) % (benchAccounts * scale)),
			device:  uint32(x % (benchDevices * scale)),
			channel: uint8(x>>40%benchChannels) + 1,
			mask:    uint8(x>>50)&31 | 1,
		}
		k := packedKey(g.account, g.device, g.channel)
		if _, dup := seen[k]; dup {
			continue
		}
		seen[k] = struct{}{}
		list = append(list, g)
	}
	return list
}

// question asks for one privilege; about half have a positive answer.
type question struct {
	account, device uint32
	channel, bit    uint8
}

func questions(list []grant, n int) []question {
	r := splitmix(7)
	qs := make([]question, n)
	for i := range qs {
		x := r.next()
		g := list[x%uint64(len(list))]
		qs[i] = question{g.account, g.device, g.channel, uint8(x >> 58 % 5)}
		if x>>40&3 == 0 {
			qs[i].device ^= 1 // mostly somebody else's
		}
	}
	return qs
}

// packedTable is the bound: one atomic word per grant in an open table, read without a
// lock, without anything else that a service needs.
type packedTable struct{ words []uint64 }

func packedKey(account, device uint32, channel uint8) uint64 {
	return uint64(account)<<38 | uint64(device)<<12 | uint64(channel)<<6 | 1
}

func packedSlot(k uint64, n int) int {
	h := (k | 0x3e) * 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return int((h >> 32) * uint64(n) >> 32)
}

func newPackedTable(list []grant) *packedTable {
	t := &packedTable{make([]uint64, len(list)*4/3)}
	for _, g := range list {
		t.put(g)
	}
	return t
}

func (t *packedTable) put(g grant) {
	k := packedKey(g.account, g.device, g.channel)
	for i := packedSlot(k, len(t.words)); ; i++ {
		if i == len(t.words) {
			i = 0
		}
		if t.words[i] == 0 {
			t.words[i] = k | uint64(g.mask)<<1
			return
		}
	}
}

func (t *packedTable) check(q question) bool {
	k := packedKey(q.account, q.device, q.channel)
	for i := packedSlot(k, len(t.words)); ; i++ {
		if i == len(t.words) {
			i = 0
		}
		w := atomic.LoadUint64(&t.words[i])
		if w == 0 {
			return false
		}
		if w&^0x3e == k {
			return w>>(1+q.bit)&1 == 1
		}
	}
}
