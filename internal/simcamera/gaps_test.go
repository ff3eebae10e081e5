package simcamera

import (
	"fmt"
	"testing"
	"time"
)

// TestGaps: what was not recorded is in no file, and is played over.
func TestGaps(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 10, minute, 0, 0, time.UTC) }
	c := &Camera{cfg: Config{Now: func() time.Time { return at(180) }, Gaps: [][2]time.Time{{at(10), at(20)}, {at(50), at(70)}, {at(90), at(120)}}}}
	minutes := func(list []span) (out string) {
		for _, s := range list {
			out += fmt.Sprintf(" %v-%v", s.start.Sub(at(0)).Minutes(), s.end.Sub(at(0)).Minutes())
		}
		return out
	}
	if got, want := minutes(c.segments(at(0), at(180))), " 0-10 20-50 70-90 120-180"; got != want {
		t.Errorf("the files are%s, want%s", got, want)
	}
	for _, from := range []int{10, 15, 19} {
		if after := c.afterGap(at(from)); !after.Equal(at(20)) {
			t.Errorf("at %d minutes it goes on at %v", from, after)
		}
	}
	for _, from := range []int{9, 20, 130} {
		if after := c.afterGap(at(from)); !after.Equal(at(from)) {
			t.Errorf("at %d minutes, which are recorded, it goes on at %v", from, after)
		}
	}
}
