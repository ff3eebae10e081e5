package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// patience is how long a command waits for its turn on a stream and retries its
	// decision when other processes change the stream at the same time.
	patience = 10 * time.Second
	// A command pauses between attempts; the pause doubles each time.
	firstPause   = 2 * time.Millisecond
	longestPause = 200 * time.Millisecond
)

// inTurn waits for the account's turn on a stream, "" for the policies', and retries on
// ErrConflict: another process changed the stream between reading and writing. It gives
// up after the patience of a command, and with the context. Nothing else retries.
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

// overtaken returns the refusal of a command that did not get its turn in time.
func overtaken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return unavailable(errors.Join(ctx.Err(), err))
	}
	return busy(err)
}
