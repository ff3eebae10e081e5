package api

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func pageOf(account, key string, size int) *keptPage {
	return &keptPage{account: account, key: account + key, body: bytes.Repeat([]byte("x"), size), made: noon, until: noon.Add(time.Minute)}
}

// TestKeptPagesEnd: by the clock in both directions, and with the version of opened text.
func TestKeptPagesEnd(t *testing.T) {
	k := newKeptPages()
	for _, c := range []struct {
		when  string
		texts uint64
		now   time.Time
		there bool
	}{
		{"when it was made", 0, noon, true},
		{"a moment before its end", 0, noon.Add(time.Minute - 1), true},
		{"at its end", 0, noon.Add(time.Minute), false},
		{"when the clock was put back", 0, noon.Add(-1), false},
		{"after something was forgotten", 1, noon, false},
	} {
		k.put(pageOf("a", "1", 10), 0)
		if there := k.get("a1", c.texts, c.now) != nil; there != c.there {
			t.Errorf("%s: there is a page: %v", c.when, there)
		}
		if !c.there && k.get("a1", c.texts, noon) != nil {
			t.Errorf("%s: the page came back", c.when)
		}
	}
	k.put(pageOf("a", "1", 10), 1)
	if k.get("a1", 1, noon) != nil {
		t.Error("a page was kept whose text was forgotten while it was made")
	}
	p := pageOf("a", "1", 10)
	p.texts = 1
	k.put(p, 1)
	k.forget(2, noon)
	if k.order.Len() > 0 {
		t.Error("a page whose text was forgotten is still in memory")
	}
}

// TestKeptPagesAreBounded: whatever is kept, in what order.
func TestKeptPagesAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := newKeptPages()
		for range rapid.IntRange(1, 60).Draw(t, "pages") {
			p := pageOf(fmt.Sprint(rapid.IntRange(1, 20).Draw(t, "account")), fmt.Sprint(rapid.IntRange(1, 5).Draw(t, "key")), rapid.IntRange(0, keptOfOne+keptOfOne/4).Draw(t, "size"))
			k.put(p, 0)
			all, by := 0, map[string]int{}
			for e := k.order.Front(); e != nil; e = e.Next() {
				q := e.Value.(*keptPage)
				all += q.size()
				by[q.account] += q.size()
			}
			if all > keptBytes || all != k.size || len(k.of) != k.order.Len() {
				t.Fatalf("%d bytes in %d of %d pages, counted as %d", all, k.order.Len(), len(k.of), k.size)
			}
			for account, n := range by {
				if n > keptOfOne || n != k.by[account] {
					t.Fatalf("%d bytes of one account, counted as %d", n, k.by[account])
				}
			}
			if len(by) != len(k.by) {
				t.Fatalf("%d accounts are counted, %d have a page", len(k.by), len(by))
			}
			if got := k.get(p.key, 0, noon); p.size() <= keptOfOne && got != p || p.size() > keptOfOne && got != nil {
				t.Fatalf("the page of %d bytes that was kept last is there: %v", p.size(), got != nil)
			}
		}
	})
}
