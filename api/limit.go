package api

import (
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"latchkey/internal/hashing"
)

// limiter bounds how often each of many names may do something. Its memory is
// bounded: the names are kept in two generations, and when the younger one is
// full, the older one, unused for as long, is forgotten.
type limiter struct {
	every  rate.Limit
	burst  int
	keep   int // names in a generation
	seed   maphash.Seed
	mu     sync.Mutex
	recent map[uint64]*rate.Limiter
	older  map[uint64]*rate.Limiter
}

func newLimiter(every time.Duration, burst, keep int) *limiter {
	return &limiter{
		every: rate.Every(every), burst: burst, keep: keep,
		seed: maphash.MakeSeed(), recent: make(map[uint64]*rate.Limiter),
	}
}

// take returns zero if the name may go on, or how long it has to wait.
func (l *limiter) take(name string, now time.Time) time.Duration {
	r := l.of(name).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// refund returns one attempt to the name, which it used up for nothing.
func (l *limiter) refund(name string, now time.Time) { l.of(name).ReserveN(now, -1) }

// forgive forgets what the name has used up.
func (l *limiter) forgive(name string) {
	key := maphash.String(l.seed, name)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.recent, key)
	delete(l.older, key)
}

// of finds the bucket of a name. The key is a keyed hash: no address is held,
// and nobody can choose a name that shares somebody else's bucket.
func (l *limiter) of(name string) *rate.Limiter {
	key := maphash.String(l.seed, name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.recent[key]; ok {
		return b
	}
	b, ok := l.older[key]
	if !ok {
		b = rate.NewLimiter(l.every, l.burst)
	}
	if len(l.recent) >= l.keep {
		l.older, l.recent = l.recent, make(map[uint64]*rate.Limiter)
	}
	l.recent[key] = b
	return b
}

func rateLimited(wait time.Duration) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: "rate_limited",
		detail: "Too many attempts; try again later.", header: retryAfter(wait),
	}
}

// passwordsBusy is the answer when the queue for hashing is full.
func passwordsBusy(cause error) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: "passwords_busy",
		detail: "Too many passwords are being checked; try again soon.",
		header: retryAfter(hashing.RetryAfter), cause: cause,
	}
}

func retryAfter(wait time.Duration) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(wait.Seconds())))}}
}

// network names a client's network for the limits: the IPv4 address, or the first
// 64 bits of the IPv6 address, which are one customer's.
func network(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "unknown"
	case a.Is4():
		return a.String()
	}
	p, _ := a.Prefix(64) // 64 bits fit every IPv6 address
	return p.String()
}
