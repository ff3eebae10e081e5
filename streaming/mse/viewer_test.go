package mse

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"latchkey/streaming/fmp4"
)

// parts are what a camera plays for viewers: pictures of a size, whose first byte tells them
// apart, every fifth a key frame.
func parts(count, size int) (list []part) {
	for n := range count {
		data := make([]byte, size)
		data[0] = byte(n)
		list = append(list, part{sample: fmp4.Sample{Track: fmp4.VideoTrack, Key: n%5 == 0}, data: data})
	}
	return list
}

// TestSlowViewersLoseGroupsOfPictures: what waits for a viewer is bounded, also if it is all
// new; it goes on with a key frame and misses nothing after it. Others lose nothing.
func TestSlowViewersLoseGroupsOfPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		p := &Pool{metrics: m}
		viewer := func() *Viewer { return &Viewer{pool: p, wake: make(chan struct{}, 1), waiting: true} }
		slow, quick := viewer(), viewer()
		next := func(v *Viewer) int {
			t.Helper()
			p, err := v.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return int(p.Fragment[0])
		}
		const size = maxQueue / 8
		for n, one := range parts(12, size) {
			for _, v := range []*Viewer{slow, quick} {
				v.take(one)
				if v.bytes > maxQueue {
					t.Fatalf("%d bytes wait for a viewer", v.bytes)
				}
			}
			if got := next(quick); got != n {
				t.Errorf("picture %d comes to a quick viewer, want %d", got, n)
			}
		}
		for _, want := range []int{10, 11} { // the ninth did not fit, and nothing up to the next key frame
			if got := next(slow); got != want {
				t.Errorf("picture %d comes to a slow viewer, want %d", got, want)
			}
		}
		var drops dto.Metric
		if err := m.drops.Write(&drops); err != nil || drops.GetCounter().GetValue() != 1 || len(slow.queue) != 0 || slow.bytes != 0 {
			t.Errorf("%v (%v); %d parts of %d bytes are left", &drops, err, len(slow.queue), slow.bytes)
		}
		// One that is larger than all that may wait is shown all the same.
		slow.take(parts(1, maxQueue+1)[0])
		if got := next(slow); got != 0 {
			t.Errorf("picture %d comes, want a large one", got)
		}
		slow.end()
		if _, err := slow.Next(t.Context()); !errors.Is(err, ErrEnded) {
			t.Errorf("at the end of the stream: %v", err)
		}
	})
}

// TestViewersAreNotLate: what has waited for five seconds is not shown any more, however
// little it is: a slow viewer of a small stream goes on with the next key frame.
func TestViewersAreNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		v := &Viewer{pool: &Pool{metrics: m}, wake: make(chan struct{}, 1), waiting: true}
		next := func() string {
			t.Helper()
			if len(v.queue) == 0 {
				return ""
			}
			p, err := v.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return string(p.Fragment)
		}
		take := func(name string, key bool) {
			v.take(part{sample: fmp4.Sample{Track: fmp4.VideoTrack, Key: key}, data: []byte(name)})
			time.Sleep(time.Second)
		}
		take("key 0", true)
		for _, name := range []string{"1", "2", "3", "4", "5"} {
			take(name, false)
		}
		if got := next(); got != "key 0" {
			t.Errorf("after five seconds comes %q, want the first", got)
		}
		take("6", false) // the oldest waits for five seconds, not longer
		take("7", false)
		if got := next(); got != "" {
			t.Errorf("%q is shown six seconds late", got)
		}
		take("8", false)
		take("key 9", true)
		take("10", false)
		for _, want := range []string{"key 9", "10", ""} {
			if got := next(); got != want {
				t.Errorf("%q comes, want %q", got, want)
			}
		}
	})
}
