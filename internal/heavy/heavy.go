// Package heavy keeps half of the cores of the machine free of work that takes
// milliseconds of a core at a time: hashing passwords, reading large bodies, making
// lists. What is short, above all what takes a privilege away, then finds a core at
// once, whatever else is asked for.
//
// Each kind of such work has a queue of its own, which says whose turn it is, and
// brings no more here than half of the cores can do: so the kinds alternate.
package heavy

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// Cores returns how many of a number of cores do heavy work: half of them, and at
// least one.
func Cores(all int) int { return max(1, all/2) }

// slots has a value for each core that does heavy work.
var slots = sync.OnceValue(func() chan struct{} { return make(chan struct{}, Cores(runtime.GOMAXPROCS(0))) })

// Begin waits until there is a core for heavy work; end must be called when it is
// done. The error is the context's.
func Begin(ctx context.Context) (end func(), err error) {
	select {
	case slots() <- struct{}{}:
		return func() { <-slots() }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a core: %w", ctx.Err())
	}
}
