package domain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// queues lets the commands of this process that change the same stream take
// turns, first come, first served. It remembers a stream only while somebody has
// a turn on it or waits for one. A command has one turn at a time, so no two can
// wait for each other.
type queues struct {
	mu      sync.Mutex
	streams map[string]*queue
}

type queue struct {
	turn    chan struct{} // full while somebody has the turn; senders are served in order
	members int           // who has the turn, and who waits for it
}

// enter waits for the turn on a stream. leave passes it on.
func (q *queues) enter(ctx context.Context, stream string) (leave func(), err error) {
	one := q.join(stream)
	select {
	case one.turn <- struct{}{}:
		return func() { <-one.turn; q.part(stream, one) }, nil
	case <-ctx.Done():
		q.part(stream, one)
		return nil, fmt.Errorf("waiting for the turn on a stream: %w", ctx.Err())
	}
}

func (q *queues) join(stream string) *queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.streams == nil {
		q.streams = make(map[string]*queue)
	}
	one := q.streams[stream]
	if one == nil {
		one = &queue{turn: make(chan struct{}, 1)}
		q.streams[stream] = one
	}
	one.members++
	return one
}

func (q *queues) part(stream string, one *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	one.members--
	if one.members == 0 {
		delete(q.streams, stream)
	}
}

// inTurn waits for the turn on a stream and tries until the answer is another
// than ErrConflict: the stream was changed by another process between reading
// and writing. It gives up after the service's patience, and with the context.
func (s *Service) inTurn(ctx context.Context, stream string, try func() error) error {
	waiting, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	leave, err := s.queues.enter(waiting, stream)
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
