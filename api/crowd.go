package api

import "sync"

const (
	// Viewers of fragmented MP4 at once, in all, of an account and from a network.
	maxViewers          = 1024
	maxViewersOfAccount = 64
	maxViewersOfNetwork = 128
)

// crowd counts viewers, and bounds their number.
type crowd struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by account and by network
}

// enter admits a viewer within the limits; leave must be called.
func (c *crowd) enter(account, network string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	switch {
	case c.all >= maxViewers:
		return unavailable("unavailable", "No more viewers can be admitted at the moment.", nil)
	case c.of["account "+account] >= maxViewersOfAccount, network != "" && c.of["network "+network] >= maxViewersOfNetwork:
		return tooManyViewers(nil)
	}
	c.all++
	c.of["account "+account]++
	c.of["network "+network]++
	return nil
}

func (c *crowd) leave(account, network string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	for _, key := range []string{"account " + account, "network " + network} {
		if c.of[key]--; c.of[key] == 0 {
			delete(c.of, key)
		}
	}
}
