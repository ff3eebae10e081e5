// Package rates bounds how often each of many names may do something.
package rates

import (
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates gives each name a bucket of its own. Its memory is bounded: the names are
// kept in two generations, and when the younger one is full, the older one, unused
// for as long, is forgotten.
type Rates struct {
	every  rate.Limit
	burst  int
	keep   int // names in a generation
	seed   maphash.Seed
	mu     sync.Mutex
	recent map[uint64]*rate.Limiter
	older  map[uint64]*rate.Limiter
}

// New makes Rates: each name may do something so many times at once, the burst,
// and once more every so often. keep is how many names are remembered at least.
func New(every time.Duration, burst, keep int) *Rates {
	return &Rates{
		every: rate.Every(every), burst: burst, keep: keep,
		seed: maphash.MakeSeed(), recent: make(map[uint64]*rate.Limiter),
	}
}

// Take returns zero if the name may go on, or how long it has to wait.
func (r *Rates) Take(name string, now time.Time) time.Duration { return r.TakeN(name, 1, now) }

// TakeN is Take of several at once. For more than the burst the wait is that until
// the bucket is full, when they are not given either.
func (r *Rates) TakeN(name string, n int, now time.Time) time.Duration {
	wait := r.ReserveN(name, min(n, r.burst), now, 0)
	if n > r.burst && wait == 0 {
		r.Refund(name, r.burst, now)
		wait = time.Duration(float64(r.burst) / float64(r.every) * float64(time.Second))
	}
	return wait
}

// ReserveN is TakeN for who can wait for so long at most: what is returned must
// then be waited for. If it is more, nothing was taken.
func (r *Rates) ReserveN(name string, n int, now time.Time, patience time.Duration) time.Duration {
	taken := r.of(name).ReserveN(now, n)
	wait := taken.DelayFrom(now)
	if wait > patience {
		taken.CancelAt(now)
	}
	return wait
}

// Left is how many the name may take at once now.
func (r *Rates) Left(name string, now time.Time) int {
	return int(r.of(name).TokensAt(now))
}

// Refund returns n to the name, which it used up for nothing.
func (r *Rates) Refund(name string, n int, now time.Time) { r.of(name).ReserveN(now, -n) }

// Forgive forgets what the name has used up.
func (r *Rates) Forgive(name string) {
	key := maphash.String(r.seed, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.recent, key)
	delete(r.older, key)
}

// of finds the bucket of a name. The key is a keyed hash: no address is held,
// and nobody can choose a name that shares somebody else's bucket.
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
