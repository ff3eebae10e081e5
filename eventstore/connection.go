package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// connection is one of the library's clients with its users: calls and subscriptions. It
// ends in two steps, because an error that makes it useless for calls may leave its
// subscriptions intact: the library searches for a node again after any "unavailable"
// response, although the connection may be fine.
//
// The library must not be closed while calls are inside it: calls waiting for it would
// panic. So its last user closes it.
//
// A call that enters the library at the moment when another one finds the node
// unavailable makes the library forget its gRPC connection. Nothing uses that connection
// any more, and it does not redial; three idle goroutines of it remain. It cannot be
// closed from outside the library.
type connection struct {
	library *esdb.Client
	retired chan struct{} // closed when calls must use another connection
	dead    chan struct{} // closed when subscriptions must, too

	doubted atomic.Bool // it is being probed
	mourned atomic.Bool // its loss was reported

	mu    sync.Mutex
	users int
	shut  bool // no new users
	over  bool // retired
	ended bool // dead
}

// stuckFor is how long a retired connection may have users before the library is closed
// under them: longer than the library searches for a node. A call that is stuck in it
// would wait forever.
const stuckFor = 15 * time.Second

func newConnection(library *esdb.Client) *connection {
	return &connection{library: library, retired: make(chan struct{}), dead: make(chan struct{})}
}

// shutOut admits no new users. The connection must then be retired.
func (c *connection) shutOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
}

// isShut reports whether calls must use another connection.
func (c *connection) isShut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shut
}

// enter adds a user; it returns false if none may be added.
func (c *connection) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.shut {
		c.users++
	}
	return !c.shut
}

// leave removes a user.
func (c *connection) leave() {
	c.mu.Lock()
	c.users--
	last := c.over && c.users == 0
	c.mu.Unlock()
	if last {
		_ = c.library.Close() // always returns nil
	}
}

// retire ends the calls, which continue on another connection. Subscriptions have until
// stuckFor.
func (c *connection) retire() {
	c.mu.Lock()
	first, unused := !c.over, c.users == 0
	c.shut, c.over = true, true
	c.mu.Unlock()
	if !first {
		return
	}
	close(c.retired)
	if unused {
		_ = c.library.Close()
		return
	}
	time.AfterFunc(stuckFor, func() {
		c.kill()
		_ = c.library.Close() // closing it twice is harmless
	})
}

// kill ends the calls and the subscriptions.
func (c *connection) kill() {
	c.retire()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended = true
		close(c.dead)
	}
}

var (
	// errPanicked is returned for a call in which the library panicked.
	errPanicked = errors.New("the client failed")
	// errNoAnswer is returned for a call that timed out or was cancelled. It says nothing
	// about the connection.
	errNoAnswer = errors.New("no response")
	// errRetired is returned for a call whose connection ended under it.
	errRetired = errors.New("the connection was lost")
)

// guarded runs one call of the library so that it ends with its context, or with the
// connection: the library's calls do not always, and may panic if they are stuck and
// their connection is closed.
func guarded[T any](ctx context.Context, conn *connection, f func(context.Context, *esdb.Client) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var zero T
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		var r result
		if !conn.enter() {
			done <- result{err: errRetired}
			return
		}
		defer conn.leave()
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("%w: %v", errPanicked, p)
			}
			done <- r
		}()
		r.value, r.err = f(ctx, conn.library)
		// The next call to get inside would make the library redial and forget its
		// current connection, which then retries forever.
		if r.err != nil {
			if _, lost := translate(r.err); lost {
				conn.shutOut()
			}
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-conn.retired:
		return zero, errRetired
	case <-ctx.Done():
		return zero, fmt.Errorf("%w: %w", errNoAnswer, ctx.Err())
	}
}
