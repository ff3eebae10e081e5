package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// patience is for how long a command waits for its turn on a stream and, when
	// other processes change it at the same time, decides again.
	patience = 10 * time.Second
	// Between two tries a command pauses; the pause doubles each time.
	firstPause   = 2 * time.Millisecond
	longestPause = 200 * time.Millisecond
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

// turn is a command that waits.
type turn struct {
	account string
	come    chan struct{} // closed when it has come
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
		if !q.quit(stream, mine) { // it has come meanwhile
			leave()
		}
		return nil, fmt.Errorf("waiting for the turn on a stream: %w", ctx.Err())
	}
}

// join returns nil if it is the account's turn at once.
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

// inTurn waits for the account's turn on a stream, "" for the policies', and tries until the answer is another
// than ErrConflict: the stream was changed by another process between reading
// and writing. It gives up after the service's patience, and with the context.
func (s *Service) inTurn(ctx context.Context, stream, account string, try func() error) error {
	waiting, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	leave, err := s.queues.enter(waiting, stream, account)
	if err != nil {
		return overtaken(ctx, err)
	}
	defer leave()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := try()
		if !errors.Is(err, ErrConflict) {
			return err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-waiting.Done():
			return overtaken(ctx, fmt.Errorf("changing a stream: %w", err))
		}
	}
}

// overtaken is the answer to a command that did not get its turn in time.
func overtaken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return unavailable(errors.Join(ctx.Err(), err))
	}
	return busy(err)
}
