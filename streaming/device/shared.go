package device

import (
	"context"
	"sync"
	"time"
)

// shared fetches a value for any number of callers at once, and keeps it for a while, and a
// failure too. It is safe for concurrent use.
type shared[K comparable, V any] struct {
	fetch func(ctx context.Context, of K) (V, error)
	size  func(V) int // in bytes
	keep  time.Duration
	most  int // bytes that are kept; values beyond are given to whoever waited for them
	now   func() time.Time

	mu    sync.Mutex
	by    map[K]*fetched[V]
	bytes int
}

// fetched is a value, or one that is being fetched.
type fetched[V any] struct {
	done    chan struct{} // closed when it is there, or failed
	cancel  context.CancelFunc
	waiting int // callers
	value   V
	err     error
	at      time.Time // when it was there; zero while it is being fetched
}

// get returns a value that is as old as it may be kept at most. It must not be changed. A
// fetch that nobody waits for any more is cancelled.
func (s *shared[K, V]) get(ctx context.Context, of K) (value V, err error) {
	f := s.join(of)
	defer s.leave(of, f)
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// join returns the value to wait for, and begins to fetch it if needed.
func (s *shared[K, V]) join(of K) *fetched[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.by[of]; last != nil && (last.at.IsZero() || s.now().Sub(last.at).Abs() < s.keep) {
		last.waiting++
		return last
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &fetched[V]{done: make(chan struct{}), cancel: cancel, waiting: 1}
	if s.by == nil {
		s.by = map[K]*fetched[V]{}
	}
	s.by[of] = f
	go s.run(ctx, of, f)
	return f
}

// leave cancels a fetch that nobody waits for: the next caller begins another one.
func (s *shared[K, V]) leave(of K, f *fetched[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting > 0 || !f.at.IsZero() {
		return
	}
	f.cancel()
	s.drop(of, f)
}

func (s *shared[K, V]) run(ctx context.Context, of K, f *fetched[V]) {
	defer f.cancel()
	value, err := s.fetch(ctx, of)
	size := s.size(value)
	s.mu.Lock()
	f.value, f.err, f.at = value, err, s.now()
	kept := s.bytes+size <= s.most
	if kept {
		s.bytes += size
	} else {
		s.drop(of, f)
	}
	s.mu.Unlock()
	close(f.done)
	if kept {
		time.AfterFunc(s.keep, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.bytes -= size
			s.drop(of, f)
		})
	}
}

// drop forgets a value. The caller holds mu.
func (s *shared[K, V]) drop(of K, f *fetched[V]) {
	if s.by[of] == f {
		delete(s.by, of)
	}
}
