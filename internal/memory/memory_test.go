package memory

import (
	"math"
	"runtime"
	"testing"
	"time"
)

func TestLimit(t *testing.T) {
	for text, want := range map[string]int64{"64MiB": 64 << 20, "2GiB": 2 << 30, "100000KiB": 100000 << 10, "off": math.MaxInt64} {
		if got, err := Limit(text); err != nil || got != want {
			t.Errorf("Limit(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "512", "512mb", "-1GiB", "0MiB", "1MiB", "99999999999GiB", "GiB", "1.5GiB"} {
		if got, err := Limit(text); err == nil {
			t.Errorf("Limit(%q) = %d, want an error", text, got)
		}
	}
	if got, err := Limit("auto"); err != nil || got < least {
		t.Errorf("Limit(auto) = %d, %v", got, err)
	}
}

func TestTheHeapGrowsToTheAim(t *testing.T) {
	const aim = 100 << 20
	for live, want := range map[int64]int{0: 400, 10 << 20: 400, 20 << 20: 400, 40 << 20: 150, 50 << 20: 100, 80 << 20: 40, 500 << 20: 40} {
		if got := percentFor(live, aim); got != want {
			t.Errorf("with %d MiB alive: %d %%, want %d", live>>20, got, want)
		}
	}
}

func TestMemoryIsGivenBackOncePerQuietTime(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	m := &runtime.MemStats{HeapSys: 200 << 20, HeapAlloc: 50 << 20, TotalAlloc: 1 << 30}
	var q quietness
	at := func(after time.Duration) bool { return q.since(m, begin.Add(after)) }
	if at(0) || at(5*time.Second) {
		t.Error("given back before it was quiet for long")
	}
	if !at(11 * time.Second) {
		t.Error("not given back when it was quiet")
	}
	if at(30 * time.Second) {
		t.Error("given back twice in one quiet time")
	}
	m.TotalAlloc += 100 << 20
	if at(31*time.Second) || !at(42*time.Second) {
		t.Error("not given back after the next work")
	}
	small := &runtime.MemStats{HeapSys: 20 << 20, HeapAlloc: 15 << 20, TotalAlloc: 1 << 30}
	q = quietness{}
	if q.since(small, begin) || q.since(small, begin.Add(time.Minute)) {
		t.Error("given back where there is little to give")
	}
}
