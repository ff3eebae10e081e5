package upstream

import (
	"math/rand/v2"
	"time"
)

// backoff determines when to try again. The zero value: at once.
type backoff struct {
	failures int
	refusals int // of the password
	until    time.Time
}

const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// An upstream that flowed for this long starts again with the first backoff.
	steady = 30 * time.Second
)

// failed counts a failure: half a second, then twice as long each time, up to half a
// minute, minus a random part of up to a half.
func (b *backoff) failed(now time.Time) {
	wait := min(firstBackoff<<min(b.failures, 10), maxBackoff)
	b.failures++
	b.until = now.Add(wait/2 + rand.N(wait/2))
}

// afterRefusals are the pauses after a camera has refused the password: most lock whoever
// is wrong five to seven times in half an hour. Another password ends them (Redial).
var afterRefusals = []time.Duration{30 * time.Second, 5 * time.Minute, 15 * time.Minute}

// refused counts a refusal of the password.
func (b *backoff) refused(now time.Time) {
	wait := afterRefusals[min(b.refusals, len(afterRefusals)-1)]
	b.failures++
	b.refusals++
	b.until = now.Add(wait)
}

// AwayError is returned if a camera cannot be reached now.
type AwayError struct {
	Wait  time.Duration // until a retry makes sense
	cause error         // not for viewers
}

func (e *AwayError) Error() string { return "the camera is away" }
func (e *AwayError) Unwrap() error { return e.cause }
