package upstream

import (
	"math/rand/v2"
	"time"
)

// backoff says when to try again. The zero value: at once.
type backoff struct {
	failures int
	until    time.Time
}

const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// An upstream that flowed for so long begins again with the first backoff.
	steady = 30 * time.Second
)

// failed counts a failure: half a second, then twice as long each time, up to
// half a minute, less up to a half by chance.
func (b *backoff) failed(now time.Time) {
	wait := min(firstBackoff<<min(b.failures, 10), maxBackoff)
	b.failures++
	b.until = now.Add(wait/2 + rand.N(wait/2))
}

// AwayError says that a camera cannot be reached now.
type AwayError struct {
	Wait  time.Duration // until it makes sense to ask again
	cause error         // not for viewers
}

func (e *AwayError) Error() string { return "the camera is away" }
func (e *AwayError) Unwrap() error { return e.cause }
