package mse

import (
	"testing"
	"testing/synctest"
	"time"

	"latchkey/streaming/fmp4"
)

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
