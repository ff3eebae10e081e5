// Package heavy limits work that takes milliseconds of CPU time at once to half of the
// cores: hashing passwords, decoding large bodies, encoding lists. Short work, revoking
// a privilege above all, then gets a core immediately.
//
// Each kind of heavy work has its own queue, and occupies at most as many slots here as
// half of the cores, so the kinds alternate.
package heavy

import (
	"context"
	"fmt"
	"runtime"
)

// Cores returns the number of cores for heavy work out of all: half, at least one.
func Cores(all int) int { return max(1, all/2) }

// slots has capacity for each core that does heavy work.
var slots = make(chan struct{}, Cores(runtime.GOMAXPROCS(0)))

// Begin waits for a core; end must be called when the work is done. The error is the
// context's.
func Begin(ctx context.Context) (end func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a core: %w", ctx.Err())
	}
}
