// Package rates limits how often each of many names may do something.
package rates

import (
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates gives each name its own bucket. Its memory is bounded: names are kept in two
// generations, and when the younger one is full, the older one, whose names were unused
// at least as long, is dropped.
type Rates struct {
	every  rate.Limit
	burst  int
	keep   int // names in a generation
	seed   maphash.Seed
	mu     sync.Mutex
	recent map[uint64]*rate.Limiter
	older  map[uint64]*rate.Limiter
}

// New returns Rates: each name may do something burst times at once, and once more per
// interval. keep is the minimum number of names remembered.
func New(every time.Duration, burst, keep int) *Rates {
	return &Rates{
		every: rate.Every(every), burst: burst, keep: keep,
		seed: maphash.MakeSeed(), recent: make(map[uint64]*rate.Limiter),
	}
}

// Take returns zero if the name may proceed, or how long it has to wait.
func (r *Rates) Take(name string, now time.Time) time.Duration { return r.TakeN(name, 1, now) }

// TakeN is Take of several at once. If n exceeds the burst, it returns the wait until the
// bucket is full, although n is not available even then.
func (r *Rates) TakeN(name string, n int, now time.Time) time.Duration {
	wait := r.ReserveN(name, min(n, r.burst), now, 0)
	if n > r.burst && wait == 0 {
		r.Refund(name, r.burst, now)
		wait = time.Duration(float64(r.burst) / float64(r.every) * float64(time.Second))
	}
	return wait
}

// ReserveN is TakeN for a caller that can wait up to a limit: it must then wait for the
// returned time. If that exceeds the limit, nothing was taken.
func (r *Rates) ReserveN(name string, n int, now time.Time, patience time.Duration) time.Duration {
	taken := r.of(name).ReserveN(now, n)
	wait := taken.DelayFrom(now)
	if wait > patience {
		taken.CancelAt(now)
	}
	return wait
}

// Left returns how many the name may take at once now.
func (r *Rates) Left(name string, now time.Time) int {
	return int(r.of(name).TokensAt(now))
}

// Refund returns n to the name if they were used up for nothing.
func (r *Rates) Refund(name string, n int, now time.Time) { r.of(name).ReserveN(now, -n) }

// Forgive forgets what the name has used up.
func (r *Rates) Forgive(name string) {
	key := maphash.String(r.seed, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.recent, key)
	delete(r.older, key)
}

// of returns the bucket of a name. The key is a keyed hash: no address is stored, and
// nobody can choose a name that shares another's bucket.
func (r *Rates) of(name string) *rate.Limiter {
	key := maphash.String(r.seed, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.recent[key]; ok {
		return b
	}
	b, ok := r.older[key]
	if !ok {
		b = rate.NewLimiter(r.every, r.burst)
	}
	if len(r.recent) >= r.keep {
		r.older, r.recent = r.recent, make(map[uint64]*rate.Limiter)
	}
	r.recent[key] = b
	return b
}
