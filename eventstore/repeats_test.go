package eventstore

import (
	"fmt"
	"testing"
	"time"
)

// The same words are logged at growing intervals, with their number; other words
// at once.
func TestRepeats(t *testing.T) {
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	r := repeats{now: func() time.Time { return at }}
	var lines []string
	for second := range 3000 {
		if n := r.next("rows", fmt.Sprintf("block %d is damaged", second)); n > 0 {
			lines = append(lines, fmt.Sprintf("%d:%d", second, n))
		}
		if second == 30 {
			if n := r.next("rows", "the node is away"); n != 1 {
				t.Errorf("other words: %d", n)
			}
			if n := r.next("another", "block 7 is damaged"); n != 1 {
				t.Errorf("about something else: %d", n)
			}
		}
		at = at.Add(time.Second)
	}
	if got, want := fmt.Sprint(lines), "[0:1 10:10 70:60 670:600 1270:600 1870:600 2470:600]"; got != want {
		t.Errorf("logged at %s, want %s", got, want)
	}
}

// What is remembered stays small, whatever is said.
func TestRepeatsForget(t *testing.T) {
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	r := repeats{now: func() time.Time { at = at.Add(time.Second); return at }}
	words := ""
	for range 3 * mostWords {
		words += "x"
		if n := r.next("rows", words); n != 1 {
			t.Fatalf("new words: %d", n)
		}
	}
	if len(r.words) != mostWords || r.next("rows", words) != 0 {
		t.Errorf("%d are remembered, the last one not among them", len(r.words))
	}
}
