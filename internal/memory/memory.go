// Package memory keeps the heap of a long-running process small: it collects often when
// much is live and rarely when little is, and returns memory to the system when the
// process is idle. It does not depend on what is stored.
package memory

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// heapAim is how large the heap may grow between two collections if the live part
	// leaves room for it, in bytes. Collecting later saves work, but uses memory for no
	// benefit.
	heapAim = 128 << 20

	// The bounds of the garbage collector's percentage. Below the minimum it would run
	// all the time; the maximum saves a third of the work of the default.
	leastPercent, mostPercent = 40, 400

	adjustEvery = 250 * time.Millisecond
	quietAfter  = 10 * time.Second
	quietBelow  = 8 << 20  // bytes allocated within quietAfter
	worthGiving = 16 << 20 // unused bytes of the heap
)

// Limit reads a limit: a size such as 512MiB or 2GiB; "auto" for nine tenths of the limit
// of this process's cgroup, if any; "off" for no limit. The result is in bytes,
// math.MaxInt64 for no limit.
func Limit(text string) (int64, error) {
	switch text {
	case "off":
		return math.MaxInt64, nil
	case "auto":
		limit, err := memlimit.FromCgroup()
		if err != nil || limit > math.MaxInt64/10 {
			return math.MaxInt64, nil // no cgroup, or no limit in it
		}
		return int64(limit / 10 * 9), nil
	}
	n, err := Size(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a size such as 512MiB or 2GiB, auto, or off", text)
	case n < least:
		return 0, fmt.Errorf("%q is too small: want at least 64MiB", text)
	}
	return n, nil
}

// Size reads a size such as 512MiB or 2GiB, in bytes.
func Size(text string) (int64, error) {
	for _, unit := range []struct {
		name string
		size int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		number, ok := strings.CutSuffix(text, unit.name)
		n, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || n <= 0 || n > math.MaxInt64/unit.size {
			continue
		}
		return n * unit.size, nil
	}
	return 0, fmt.Errorf("%q is not a size such as 512MiB or 2GiB", text)
}

// least is the smallest useful limit, in bytes.
const least = 64 << 20

// Keep keeps the memory of this process within the limit, in bytes, as far as the garbage
// collector can, and smaller if less is needed. It returns when the context ends.
func Keep(ctx context.Context, limit int64) {
	debug.SetMemoryLimit(limit)
	aim := min(heapAim, limit/2)
	percent := 0
	var quiet quietness
	tick := time.NewTicker(adjustEvery)
	defer tick.Stop()
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if p := percentFor(live(&m, percent), aim); percent == 0 || p < percent*9/10 || p > percent*11/10 {
			debug.SetGCPercent(p)
			percent = p
		}
		if quiet.since(&m, time.Now()) {
			debug.FreeOSMemory()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// live returns the live bytes after the last collection, from which the next one is
// planned.
func live(m *runtime.MemStats, percent int) int64 {
	if percent == 0 || m.NumGC == 0 {
		return int64(m.HeapAlloc)
	}
	return int64(m.NextGC) * 100 / int64(100+percent)
}

// percentFor returns the percentage at which the heap grows to the aim.
func percentFor(live, aim int64) int {
	if live <= 0 {
		return mostPercent
	}
	return int(min(max((aim-live)*100/live, leastPercent), mostPercent))
}

// quietness detects that a process has become idle.
type quietness struct {
	began     time.Time
	allocated uint64
	given     bool // unused memory was returned
}

// since reports, once per idle time, that little was allocated for a while and that the
// heap has memory worth returning.
func (q *quietness) since(m *runtime.MemStats, now time.Time) bool {
	if q.began.IsZero() || m.TotalAlloc-q.allocated > quietBelow {
		*q = quietness{began: now, allocated: m.TotalAlloc}
		return false
	}
	if q.given || now.Sub(q.began) < quietAfter {
		return false
	}
	q.given = true
	return m.HeapSys-m.HeapReleased-m.HeapAlloc+garbage(m) > worthGiving
}

// garbage returns an upper bound of what a collection would free now.
func garbage(m *runtime.MemStats) uint64 { return m.HeapAlloc / 2 }
