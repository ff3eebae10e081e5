package eventstore

import (
	"fmt"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// connection is one of the library's clients, and how many calls are inside of
// it. The library must not be closed while they are: it would panic in those
// that wait for it. So the last one out closes it.
type connection struct {
	library *esdb.Client
	ended   chan struct{} // closed when it is of no use any more

	mu    sync.Mutex
	calls int
	over  bool
}

// stuckFor is how long a call may be inside of an ended connection before the
// library is closed under it: longer than the library looks for a node. Whoever
// waits for it afterwards would do so for ever.
const stuckFor = 15 * time.Second

func newConnection(library *esdb.Client) *connection {
	return &connection{library: library, ended: make(chan struct{})}
}

// enter begins a call; false: the connection has ended.
func (c *connection) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.calls++
	}
	return !c.over
}

// leave ends a call.
func (c *connection) leave() {
	c.mu.Lock()
	c.calls--
	last := c.over && c.calls == 0
	c.mu.Unlock()
	if last {
		_ = c.close() // it is lost, or its owner does not wait for it
	}
}

// end ends the calls and subscriptions, and closes the library when they are out
// of it.
func (c *connection) end() error {
	c.mu.Lock()
	first, empty := !c.over, c.calls == 0
	c.over = true
	c.mu.Unlock()
	if !first {
		return nil
	}
	close(c.ended)
	if empty {
		return c.close()
	}
	time.AfterFunc(stuckFor, func() { _ = c.close() }) // closing it twice is nothing
	return nil
}

func (c *connection) close() error {
	if err := c.library.Close(); err != nil {
		return fmt.Errorf("closing the connection to the log: %w", err)
	}
	return nil
}
