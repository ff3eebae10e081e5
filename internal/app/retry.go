package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// inTurn waits for the account's turn on a stream, "" for the policies', and tries
// until the error is another than ErrConflict: another process changed the stream
// between reading and writing. It gives up after the patience of a command, and with
// the context. Nothing else retries.
func (s *core) inTurn(ctx context.Context, stream, account string, try func() error) error {
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
