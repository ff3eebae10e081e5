// Package pause waits, no longer than a context lasts. It knows nothing else.
package pause

import (
	"context"
	"time"
)

// For returns true after a time, and false if the context ended first.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
