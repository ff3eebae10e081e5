package api

import (
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func TestLimiterGivesTheBurstThenOneAtATime(t *testing.T) {
	l := newLimiter(10*time.Second, 3, 100)
	for range 3 {
		if wait := l.take("a", noon); wait != 0 {
			t.Fatalf("within the burst: wait %v", wait)
		}
	}
	if wait := l.take("a", noon); wait != 10*time.Second {
		t.Errorf("past the burst: wait %v, want 10s", wait)
	}
	if wait := l.take("b", noon); wait != 0 {
		t.Errorf("another name: wait %v, want 0", wait)
	}
	if wait := l.take("a", noon.Add(10*time.Second)); wait != 0 {
		t.Errorf("10 s later: wait %v, want 0", wait)
	}
	if wait := l.take("a", noon.Add(10*time.Second)); wait == 0 {
		t.Error("10 s later there is one attempt, not two")
	}
	l.refund("a", noon.Add(10*time.Second))
	if wait := l.take("a", noon.Add(10*time.Second)); wait != 0 {
		t.Errorf("refunded: wait %v, want 0", wait)
	}
	if wait := l.take("a", noon.Add(10*time.Second)); wait == 0 {
		t.Error("one was refunded, not two")
	}
	l.forgive("a")
	if wait := l.take("a", noon.Add(10*time.Second)); wait != 0 {
		t.Errorf("forgiven: wait %v, want 0", wait)
	}
}

func TestLimiterKeepsBoundedNames(t *testing.T) {
	const keep = 50
	l := newLimiter(time.Hour, 1, keep)
	for i := range 10 * keep {
		l.take(fmt.Sprint("name ", i), noon)
		if wait := l.take("busy", noon); i > 0 && wait == 0 {
			t.Fatalf("after %d names a busy one was forgotten", i)
		}
		if n := len(l.recent) + len(l.older); n > 2*keep {
			t.Fatalf("%d names are kept, want at most %d", n, 2*keep)
		}
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{"Bearer abc": "abc", "bearer abc": "abc", "BEARER  abc": "abc"} {
		if got, ok := bearer([]string{header}); !ok || got != want {
			t.Errorf("bearer(%q) = %q, %v; want %q", header, got, ok, want)
		}
	}
	for _, headers := range [][]string{nil, {""}, {"Bearer"}, {"Bearer "}, {"Basic abc"}, {"Bearer a b"}, {"Bearer a\x00"}, {"Bearer a", "Bearer a"}, {"Bearerabc"}} {
		if got, ok := bearer(headers); ok {
			t.Errorf("bearer(%q) = %q, want none", headers, got)
		}
	}
}
