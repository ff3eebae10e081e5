package rates

import (
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func TestRatesGiveTheBurstThenOneAtATime(t *testing.T) {
	l := New(10*time.Second, 3, 100)
	for range 3 {
		if wait := l.Take("a", noon); wait != 0 {
			t.Fatalf("within the burst: wait %v", wait)
		}
	}
	if wait := l.Take("a", noon); wait != 10*time.Second {
		t.Errorf("past the burst: wait %v, want 10s", wait)
	}
	if wait := l.Take("b", noon); wait != 0 {
		t.Errorf("another name: wait %v, want 0", wait)
	}
	if wait := l.Take("a", noon.Add(10*time.Second)); wait != 0 {
		t.Errorf("10 s later: wait %v, want 0", wait)
	}
	if wait := l.Take("a", noon.Add(10*time.Second)); wait == 0 {
		t.Error("10 s later there is one attempt, not two")
	}
	l.Refund("a", 1, noon.Add(10*time.Second))
	if wait := l.Take("a", noon.Add(10*time.Second)); wait != 0 {
		t.Errorf("refunded: wait %v, want 0", wait)
	}
	if wait := l.Take("a", noon.Add(10*time.Second)); wait == 0 {
		t.Error("one was refunded, not two")
	}
	l.Forgive("a")
	if wait := l.Take("a", noon.Add(10*time.Second)); wait != 0 {
		t.Errorf("forgiven: wait %v, want 0", wait)
	}
}

func TestRatesKeepBoundedNames(t *testing.T) {
	const keep = 50
	l := New(time.Hour, 1, keep)
	for i := range 10 * keep {
		l.Take(fmt.Sprint("name ", i), noon)
		if wait := l.Take("busy", noon); i > 0 && wait == 0 {
			t.Fatalf("after %d names a busy one was forgotten", i)
		}
		if n := len(l.recent) + len(l.older); n > 2*keep {
			t.Fatalf("%d names are kept, want at most %d", n, 2*keep)
		}
	}
}

func TestSeveralAtOnce(t *testing.T) {
	r := New(time.Second, 10, 100)
	if wait := r.TakeN("a", 8, noon); wait != 0 {
		t.Errorf("8 of 10: wait %v", wait)
	}
	if wait := r.TakeN("a", 4, noon); wait != 2*time.Second {
		t.Errorf("4 where 2 are left: wait %v, want 2s", wait)
	}
	if left := r.Left("a", noon); left != 2 {
		t.Errorf("%d are left, want 2: what was refused takes nothing", left)
	}
	if wait := r.TakeN("b", 11, noon); wait != 10*time.Second {
		t.Errorf("11 of 10: wait %v, want 10s", wait)
	}
	if left := r.Left("b", noon); left != 10 {
		t.Errorf("%d are left, want 10: what can never be given takes nothing", left)
	}
}

func TestWhoCanWaitReserves(t *testing.T) {
	r := New(100*time.Millisecond, 1, 100)
	for i, want := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 300 * time.Millisecond} {
		if wait := r.ReserveN("a", 1, noon, 250*time.Millisecond); wait != want {
			t.Errorf("reservation %d: wait %v, want %v", i, wait, want)
		}
	}
}
