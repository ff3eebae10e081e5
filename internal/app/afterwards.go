package app

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// tidyWithin limits the cleanup after a command.
	tidyWithin = 30 * time.Second
	// tidyWait is how long the response to a command waits for the cleanup.
	tidyWait = 500 * time.Millisecond
)

// afterwards cleans up after a command that has taken effect: a sweep does what fails
// here. Neither an error nor a port that hangs delays the response.
func (s *core) afterwards(ctx context.Context, what string, tidy func(context.Context) error) {
	s.meanwhile(ctx, what, tidy)()
}

// meanwhile is afterwards in parallel with the rest of the command; the returned function
// waits for it.
func (s *core) meanwhile(ctx context.Context, what string, tidy func(context.Context) error) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyWithin)
		defer cancel()
		if err := tidy(ctx); err != nil {
			s.logger.WarnContext(ctx, what+" failed; a sweep will retry", "error", err)
		}
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(tidyWait):
		}
	}
}

// both runs two functions in parallel and returns the first error when both have ended.
func both(one, other func() error) error {
	var g errgroup.Group
	g.Go(one)
	g.Go(other)
	return g.Wait()
}
