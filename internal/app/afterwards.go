package app

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// tidyWithin bounds tidying up after a command.
	tidyWithin = 30 * time.Second
	// tidyWait is how long the answer to a command waits for it.
	tidyWait = 500 * time.Millisecond
)

// afterwards tidies up after a command that has done its work: what it does not
// get done is in force all the same and is left to a sweep. Neither an error nor
// a port that hangs keeps the command from being answered.
func (s *core) afterwards(ctx context.Context, what string, tidy func(context.Context) error) {
	s.meanwhile(ctx, what, tidy)()
}

// meanwhile is afterwards beside something else that the command still does; the
// function that it returns waits for it.
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

// both runs two things and returns the first error when both have ended.
func both(one, other func() error) error {
	var g errgroup.Group
	g.Go(one)
	g.Go(other)
	return g.Wait()
}
