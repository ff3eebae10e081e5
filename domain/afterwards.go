package domain

import (
	"context"
	"time"
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
func (s *Service) afterwards(ctx context.Context, what string, tidy func(context.Context) error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyWithin)
		defer cancel()
		if err := tidy(ctx); err != nil {
			s.logger.WarnContext(ctx, what+" failed; a sweep tries again", "error", err)
		}
	}()
	select {
	case <-done:
	case <-time.After(tidyWait):
	}
}
