// Package hashing bounds what the hashing of passwords takes from everything
// else: how many hashes are computed at once, who waits for one, and who is
// refused. How a password is hashed is the vault's.
package hashing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrBusy is returned at once where a caller gets no place to wait in, or loses
// it to another. Nothing was computed.
var ErrBusy = errors.New("too many passwords are waiting to be hashed")

// RetryAfter is how long a caller that got ErrBusy should wait before the next
// try: PlacesPerSlot hashes take less, so a queue that was full then has passed.
const RetryAfter = time.Second

// PlacesPerSlot is how many callers wait for each hash that is computed at once.
// The last of them waits for as many hashes, whatever the machine: about 0.6 s
// where one takes 40 ms.
const PlacesPerSlot = 16

// Caller is the client for whom a password is hashed.
type Caller struct {
	// Network names the client's network, of which one caller waits at a time.
	// "" stands for no network, as of a tool at the command line: any number of
	// these may wait.
	Network string
	// Known is set if somebody has logged in from the network to the account in
	// question before. Known callers go before the others.
	Known bool
}

type callerKey struct{}

// For returns a context for what is done for a caller.
func For(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf returns the caller of a context, the zero Caller if it has none.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Queue lets so many callers hash at once and a few more wait: the known ones
// first, and each kind in the order in which it came. It is safe for concurrent
// use.
type Queue struct {
	places int

	mu      sync.Mutex
	free    int       // slots; 0 while anybody waits
	waiting []*waiter // the known ones, then the others; at most places
}

// waiter is a caller in the queue.
type waiter struct {
	Caller
	called chan error // has one value when the waiter has left the queue: nil with a slot, or ErrBusy
}

// New returns a queue for a number of hashes at once, at least one.
func New(slots int) *Queue {
	slots = max(1, slots)
	return &Queue{free: slots, places: slots * PlacesPerSlot}
}

// Do runs f, which computes a hash, when it is the turn of the context's caller
// (see For). ErrBusy: there is no place to wait
// in; f did not run. If the context ends first, Do returns its error, and the
// place is free again.
func (q *Queue) Do(ctx context.Context, f func()) error {
	if err := q.enter(ctx); err != nil {
		return fmt.Errorf("waiting to hash a password: %w", err)
	}
	defer q.leave()
	f()
	return nil
}

// Waiting returns how many callers wait now.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// enter returns nil with a slot, which leave gives back.
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

// join calls a waiter at once, or gives it a place. A waiter that gets no place,
// or that a known one displaces, is called with ErrBusy.
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

// inTheWay finds the index of the one that has to go before the waiter can have a
// place: the one of the same network, else the last of a full queue; -1: none.
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

// placeOf finds the index of the waiter's place.
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

// leave passes the slot on.
func (q *Queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.free++
		return
	}
	q.remove(0).called <- nil
}

// quit gives up the place of a waiter, or the slot that it was given meanwhile.
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
