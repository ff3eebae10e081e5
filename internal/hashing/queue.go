// Package hashing limits the resources for hashing passwords: how many hashes are
// computed at once, who waits for one, and who is refused. How a password is hashed is
// decided in the vault.
package hashing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrBusy is returned at once if a caller gets no place to wait, or loses it to another.
// Nothing was computed.
var ErrBusy = errors.New("too many passwords are waiting to be hashed")

// RetryAfter is how long a caller that got ErrBusy should wait before it tries again:
// PlacesPerSlot hashes take less, so a queue that was full then has passed.
const RetryAfter = time.Second

// PlacesPerSlot is how many callers wait for each hash that is computed at once. The last
// of them waits for that many hashes on any machine: about 0.6 s if one takes 40 ms.
const PlacesPerSlot = 16

// Caller is the client for whom a password is hashed.
type Caller struct {
	// Network is the client's network; one caller of each network waits at a time. "" is
	// no network, such as for a command-line tool: any number of these may wait.
	Network string
	// Known is set if somebody has logged in from the network to the account in
	// question before. Known callers go before the others.
	Known bool
}

type callerKey struct{}

// For returns a context for work on behalf of a caller.
func For(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf returns the caller of a context, the zero Caller if it has none.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Queue lets a limited number of callers hash at once and a few more wait: the known ones
// first, each kind in order of arrival. It is safe for concurrent use.
type Queue struct {
	places int

	mu      sync.Mutex
	free    int       // slots; 0 while anybody waits
	waiting []*waiter // the known ones, then the others; at most places
}

// waiter is a caller in the queue.
type waiter struct {
	Caller
	called chan error // receives one value when the waiter has left the queue: nil with a slot, or ErrBusy
}

// New returns a queue for a number of concurrent hashes, at least one.
func New(slots int) *Queue {
	slots = max(1, slots)
	return &Queue{free: slots, places: slots * PlacesPerSlot}
}

// Do runs f, which computes a hash, when it is the turn of the context's caller (see
// For). ErrBusy: there is no place to wait, and f did not run. If the context ends first,
// Do returns its error, and the place is free again.
func (q *Queue) Do(ctx context.Context, f func()) error {
	if err := q.enter(ctx); err != nil {
		return fmt.Errorf("waiting to hash a password: %w", err)
	}
	defer q.leave()
	f()
	return nil
}

// Waiting returns how many callers are waiting.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// enter returns nil with a slot, which leave releases.
func (q *Queue) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &waiter{Caller: callerOf(ctx), called: make(chan error, 1)}
	q.join(w)
	select {
	case err := <-w.called:
		return err
	case <-ctx.Done():
		q.quit(w)
		return ctx.Err()
	}
}

// join calls a waiter at once, or gives it a place. A waiter that gets no place, or is
// displaced by a known one, is called with ErrBusy.
func (q *Queue) join(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free > 0 {
		q.free--
		w.called <- nil
		return
	}
	if at := q.inTheWay(w); at >= 0 {
		if other := q.waiting[at]; !w.Known || other.Known {
			w.called <- ErrBusy
			return
		}
		q.remove(at).called <- ErrBusy
	}
	q.waiting = slices.Insert(q.waiting, q.placeOf(w), w)
}

// inTheWay returns the index of the waiter that must leave before the new one can have a
// place: the one of the same network, else the last of a full queue, or -1.
func (q *Queue) inTheWay(w *waiter) int {
	same := func(other *waiter) bool { return w.Network != "" && other.Network == w.Network }
	if at := slices.IndexFunc(q.waiting, same); at >= 0 {
		return at
	}
	if len(q.waiting) < q.places {
		return -1
	}
	return len(q.waiting) - 1
}

// placeOf returns the index of the waiter's place.
func (q *Queue) placeOf(w *waiter) int {
	unknown := func(other *waiter) bool { return !other.Known }
	if at := slices.IndexFunc(q.waiting, unknown); w.Known && at >= 0 {
		return at
	}
	return len(q.waiting)
}

func (q *Queue) remove(at int) *waiter {
	w := q.waiting[at]
	q.waiting = slices.Delete(q.waiting, at, at+1)
	return w
}

// leave passes on the slot.
func (q *Queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.free++
		return
	}
	q.remove(0).called <- nil
}

// quit releases the place of a waiter, or the slot that it got in the meantime.
func (q *Queue) quit(w *waiter) {
	q.mu.Lock()
	at := slices.Index(q.waiting, w)
	if at >= 0 {
		q.remove(at)
	}
	q.mu.Unlock()
	if at < 0 && <-w.called == nil {
		q.leave()
	}
}
