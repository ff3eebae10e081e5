package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// queues serializes the commands of this process on each stream. Accounts alternate,
// and commands of one account run in order of arrival, so one party of a share cannot
// delay the other's revocation by sending many commands. A stream is remembered only
// while a command has its turn. A command has one turn at a time, so no two can wait
// for each other.
type queues struct {
	mu      sync.Mutex
	streams map[string]*queue
}

// queue is the queue of a stream while a command has its turn.
type queue struct {
	served  string // the account that has the turn
	waiting []*turn
}

// turn is a waiting command.
type turn struct {
	account string
	come    chan struct{} // closed when it is its turn
}

// enter waits for an account's turn on a stream. leave passes it on.
func (q *queues) enter(ctx context.Context, stream, account string) (leave func(), err error) {
	leave = func() { q.leave(stream) }
	mine := q.join(stream, account)
	if mine == nil {
		return leave, nil
	}
	select {
	case <-mine.come:
		return leave, nil
	case <-ctx.Done():
		if !q.quit(stream, mine) { // it has come in the meantime
			leave()
		}
		return nil, fmt.Errorf("waiting for the lock of a stream: %w", ctx.Err())
	}
}

// join returns nil if it is the account's turn immediately.
func (q *queues) join(stream, account string) *turn {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.streams == nil {
		q.streams = make(map[string]*queue)
	}
	one := q.streams[stream]
	if one == nil {
		q.streams[stream] = &queue{served: account}
		return nil
	}
	mine := &turn{account: account, come: make(chan struct{})}
	one.waiting = append(one.waiting, mine)
	return mine
}

// leave passes the turn to the first of another account, or else of the same.
func (q *queues) leave(stream string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	one := q.streams[stream]
	if len(one.waiting) == 0 {
		delete(q.streams, stream)
		return
	}
	next := max(0, slices.IndexFunc(one.waiting, func(t *turn) bool { return t.account != one.served }))
	one.served = one.waiting[next].account
	close(one.waiting[next].come)
	one.waiting = slices.Delete(one.waiting, next, next+1)
}

// quit reports whether the turn was still waited for.
func (q *queues) quit(stream string, mine *turn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	one := q.streams[stream]
	if one == nil {
		return false
	}
	at := slices.Index(one.waiting, mine)
	if at < 0 {
		return false
	}
	one.waiting = slices.Delete(one.waiting, at, at+1)
	return true
}
