package access

import (
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestTable compares the table with a map, over channels of many blocks, little
// room and much reuse.
func TestTable(t *testing.T) {
	channels := []int{0, 1, 2, 7, 8, 9, 10, 16, 17, 255, 256, 510, 511}
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable()
		tab.resize(8)
		type cell struct {
			p       pair
			channel int
		}
		model := map[cell]uint64{}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			c := cell{
				pairOf(uint32(rapid.SampledFrom([]int{1, 2, 3, maxNumber}).Draw(t, "account")), uint32(rapid.SampledFrom([]int{1, 2, maxNumber}).Draw(t, "device"))),
				rapid.SampledFrom(channels).Draw(t, "channel"),
			}
			value := uint64(rapid.IntRange(0, 31).Draw(t, "mask")) << maskShift
			if rapid.IntRange(0, 2).Draw(t, "take away") == 0 {
				value = 0
			}
			tab.set(c.p, c.channel, value)
			model[c] = value
			if rapid.IntRange(0, 40).Draw(t, "compact") == 0 {
				tab.resize(roomFor(tab.used))
			}
			for c := range model {
				must, may := false, false // words of other blocks may lie on the way
				for o, v := range model {
					may = may || o.p == c.p && v != 0
					must = must || o.p == c.p && v != 0 && blockOf(o.channel) == blockOf(c.channel)
				}
				w, sees := (*tab.current.Load()).find(c.p, c.channel)
				if w&valueBits != model[c] || must && !sees || sees && !may {
					t.Fatalf("channel %d of %x: %x, sees %v; want %x, %v to %v", c.channel, c.p, w, sees, model[c], must, may)
				}
			}
		}
	})
}

// TestReadersWhileItGrows: what stays granted is granted to every reader, and
// what was never granted is not, while the writer grants and takes away all
// around and the table grows.
func TestReadersWhileItGrows(t *testing.T) {
	tab := newTable()
	const kept = 50
	for i := range kept {
		tab.set(pairOf(uint32(i+1), 1), i%511+1, maskBits)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				at := i % kept
				if w, sees := (*tab.current.Load()).find(pairOf(uint32(at+1), 1), at%511+1); w&maskBits != maskBits || !sees {
					t.Errorf("grant %d was gone", at)
					return
				}
				if w, _ := (*tab.current.Load()).find(pairOf(uint32(at+1), 3), at%511+1); w != 0 {
					t.Errorf("grant %d of another device was there", at)
					return
				}
			}
		})
	}
	for round := range 20 {
		for i := range 2000 {
			tab.set(pairOf(uint32(i%97+1), 2), i%511+1, maskBits)
		}
		for i := range 2000 {
			tab.set(pairOf(uint32(i%97+1), 2), i%511+1, 0)
		}
		if round%5 == 4 {
			tab.resize(roomFor(tab.used))
		}
	}
	close(stop)
	wg.Wait()
}

func TestInterner(t *testing.T) {
	n := newInterner(maxNumber)
	ids := []string{"a", "A", "0190a000-0000-7000-8000-00000000000a", "0190A000-0000-7000-8000-00000000000A", "0190a000-0000-7000-8000-00000000000g",
		"0190a000-0000-7000-8000000000000-0a", "0190a000-0000-7000-8000-00000000000", "\x01\x90\xa0\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x0a"}
	for i := range 20_000 {
		ids = append(ids, fmt.Sprintf("cam-%d", i))
	}
	for i, id := range ids {
		if no := n.number(id); no != 0 {
			t.Fatalf("%q has number %d before it was added", id, no)
		}
		if no, err := n.add(id); err != nil || no != uint32(i+1) {
			t.Fatalf("adding %q: %d, %v", id, no, err)
		}
	}
	for i, id := range ids {
		if no := n.number(id); no != uint32(i+1) {
			t.Errorf("%q has number %d, want %d", id, no, i+1)
		}
	}
	for _, id := range []string{"", string(make([]byte, maxID+1))} {
		if _, err := n.add(id); err == nil || n.number(id) != 0 {
			t.Errorf("an identifier of %d bytes was taken", len(id))
		}
	}
	loaded := newInterner(maxNumber)
	for i := range ids { // in any order
		id := ids[len(ids)-1-i]
		if _, err := loaded.keep(id, n.number(id)); err != nil {
			t.Fatalf("keeping %q: %v", id, err)
		}
	}
	loaded.complete()
	for i, id := range append(ids, "new") {
		if i == len(ids) {
			if _, err := loaded.add(id); err != nil {
				t.Fatal(err)
			}
		}
		if no := loaded.number(id); no != uint32(i+1) {
			t.Errorf("%q has number %d after loading, want %d", id, no, i+1)
		}
	}
	n.last = maxNumber
	if _, err := n.add("x"); err == nil {
		t.Error("a number beyond a word's was given")
	}
}
