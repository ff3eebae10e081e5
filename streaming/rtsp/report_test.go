package rtsp

import (
	"testing"
	"time"
)

// TestReportsOfAYoungStreamComeOften: what the camera says of its clock reaches viewers a
// second later, and not five.
func TestReportsOfAYoungStreamComeOften(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{0: time.Second, young - 1: time.Second, young: 5 * time.Second, time.Hour: 5 * time.Second} {
		if got := nextReport(age); got != int64(want) {
			t.Errorf("a stream of %v: %v, want %v", age, time.Duration(got), want)
		}
	}
}
