package heavy

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestHalfOfTheCoresAreLeft(t *testing.T) {
	for all, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 7: 3, 8: 4, 64: 32} {
		if got := Cores(all); got != want {
			t.Errorf("of %d cores %d do heavy work, want %d", all, got, want)
		}
	}
	var running, most atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			end, err := Begin(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer end()
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			runtime.Gosched()
			running.Add(-1)
		})
	}
	all.Wait()
	if n := most.Load(); n > int64(Cores(runtime.GOMAXPROCS(0))) {
		t.Errorf("%d worked at once", n)
	}
}

func TestWhoGoesAwayWaitsNoLonger(t *testing.T) {
	var ends []func()
	for range Cores(runtime.GOMAXPROCS(0)) {
		end, err := Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Begin(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for _, end := range ends {
		end()
	}
	end, err := Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end()
}
