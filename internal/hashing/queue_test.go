package hashing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/hashing"
)

// hash is how long a hash takes, in the time of a synctest bubble.
const hash = 40 * time.Millisecond

// counter hashes for callers and notes the order, and how many did at once.
type counter struct {
	queue *hashing.Queue
	wg    sync.WaitGroup

	mu      sync.Mutex
	order   []string
	refused []string
	now     int
	most    int
}

func (c *counter) begin(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order = append(c.order, name)
	c.now++
	c.most = max(c.most, c.now)
}

func (c *counter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
}

func (c *counter) refuse(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, name)
}

// come lets a caller come to the queue, and returns when it hashes, waits or was
// refused. The caller is named by its network, and known if known is set.
func (c *counter) come(ctx context.Context, network string, known bool) {
	c.wg.Go(func() {
		err := c.queue.Do(hashing.For(ctx, hashing.Caller{Network: network, Known: known}), func() {
			c.begin(network)
			defer c.end()
			time.Sleep(hash)
		})
		if errors.Is(err, hashing.ErrBusy) {
			c.refuse(network)
		}
	})
	synctest.Wait()
}

func (c *counter) wantRefused(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.refused, want) {
		t.Errorf("refused were %v, want %v", c.refused, want)
	}
}

func (c *counter) wantOrder(t *testing.T, want string) {
	t.Helper()
	c.wg.Wait()
	if got := strings.Join(c.order, " "); got != want {
		t.Errorf("the order was %s, want %s", got, want)
	}
}

// TestAFlood: of a thousand networks that come at the same moment, as many hash
// and wait as there are slots and places; the others are refused in no time, and
// the last one that waits does so for PlacesPerSlot hashes.
func TestAFlood(t *testing.T) {
	for _, slots := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			c := &counter{queue: hashing.New(slots)}
			began := time.Now()
			for i := range 1000 {
				c.come(t.Context(), fmt.Sprint(i), false)
			}
			taken := slots * (1 + hashing.PlacesPerSlot)
			if refused := len(c.refused); refused != 1000-taken || time.Since(began) != 0 {
				t.Errorf("%d slots: %d of 1000 were refused in %v, want %d in no time", slots, refused, time.Since(began), 1000-taken)
			}
			c.wg.Wait()
			if c.most != slots || len(c.order) != taken {
				t.Errorf("%d slots: %d hashes, %d at once; want %d and %d", slots, len(c.order), c.most, taken, slots)
			}
			if took := time.Since(began); took != (1+hashing.PlacesPerSlot)*hash || took > hashing.RetryAfter {
				t.Errorf("%d slots: the last one was done after %v", slots, took)
			}
		})
	}
}

func TestANetworkHasOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{queue: hashing.New(1)}
		for _, network := range []string{"a", "a", "a", "b", "a", "b"} {
			c.come(t.Context(), network, false)
		}
		c.wantRefused(t, "a", "a", "b")
		c.wantOrder(t, "a a b")
		c.come(t.Context(), "a", false) // the place is free again
		c.come(t.Context(), "a", false)
		c.wantOrder(t, "a a b a a")
	})
}

func TestWithoutANetworkEverybodyHasAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{queue: hashing.New(1)}
		for range 1 + hashing.PlacesPerSlot {
			c.come(t.Context(), "", false)
		}
		c.wantRefused(t)
		c.come(t.Context(), "", false)
		c.wantRefused(t, "")
		c.wg.Wait()
	})
}

func TestKnownCallersGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{queue: hashing.New(1)}
		for _, network := range []string{"running", "u1", "u2"} {
			c.come(t.Context(), network, false)
		}
		c.come(t.Context(), "k1", true)
		c.come(t.Context(), "u3", false)
		c.come(t.Context(), "k2", true)
		c.wantRefused(t)
		c.wantOrder(t, "running k1 k2 u1 u2 u3")
	})
}

// TestAKnownCallerDisplaces the newest of the others from a full queue, and one
// who waits for the same network. A known one is never displaced.
func TestAKnownCallerDisplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{queue: hashing.New(1)}
		began := time.Now()
		for i := range 1 + hashing.PlacesPerSlot {
			c.come(t.Context(), fmt.Sprint("u", i), false)
		}
		c.come(t.Context(), "k1", true)
		c.wantRefused(t, "u16")
		c.come(t.Context(), "u7", true)
		c.wantRefused(t, "u16", "u7")
		c.come(t.Context(), "u7", true)
		c.come(t.Context(), "u7", false)
		c.wantRefused(t, "u16", "u7", "u7", "u7")
		for i := range hashing.PlacesPerSlot - 2 {
			c.come(t.Context(), fmt.Sprint("k", i+2), true)
		}
		if len(c.refused) != 4+hashing.PlacesPerSlot-2 {
			t.Errorf("refused were %v", c.refused)
		}
		c.come(t.Context(), "late", true)
		if last := c.refused[len(c.refused)-1]; last != "late" {
			t.Errorf("the last one who was refused is %s, want late", last)
		}
		if time.Since(began) != 0 {
			t.Errorf("refusals took %v, want no time", time.Since(began))
		}
		c.wantOrder(t, "u0 k1 u7 k2 k3 k4 k5 k6 k7 k8 k9 k10 k11 k12 k13 k14 k15")
	})
}

func TestTheEndOfAContextGivesThePlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{queue: hashing.New(1)}
		gone, cancel := context.WithCancel(t.Context())
		c.come(t.Context(), "running", false)
		for i := range hashing.PlacesPerSlot {
			c.come(gone, fmt.Sprint("gone", i), i == 3)
		}
		c.come(t.Context(), "early", false)
		c.wantRefused(t, "early")
		cancel()
		synctest.Wait()
		c.come(gone, "later", false) // has ended before it comes
		c.come(t.Context(), "stays", false)
		c.wantRefused(t, "early")
		c.wantOrder(t, "running stays")
	})
}

// TestNoSlotIsLost: callers come and go at the same time as slots are passed on.
// Afterwards all slots are free, and nobody waits: a bubble with a goroutine left
// fails.
func TestNoSlotIsLost(t *testing.T) {
	const slots = 3
	synctest.Test(t, func(t *testing.T) {
		c := &counter{queue: hashing.New(slots)}
		for i := range 500 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%9)*hash/2)
			defer cancel()
			c.wg.Go(func() {
				_ = c.queue.Do(hashing.For(ctx, hashing.Caller{Network: fmt.Sprint(i % 70), Known: i%5 == 0}), func() {
					c.begin("")
					defer c.end()
					time.Sleep(hash)
				})
			})
			if i%10 == 0 {
				time.Sleep(hash / 2) // ends contexts in the instant in which hashes end
			}
		}
		c.wg.Wait()
		if c.most > slots {
			t.Errorf("%d hashes at once, want at most %d", c.most, slots)
		}
		began := time.Now()
		for i := range slots {
			c.come(t.Context(), fmt.Sprint(i), false)
		}
		c.wg.Wait()
		if took := time.Since(began); took != hash {
			t.Errorf("afterwards %d hashes took %v, want %v: a slot was lost", slots, took, hash)
		}
	})
}

func TestAPanicGivesTheSlotBack(t *testing.T) {
	q := hashing.New(1)
	func() {
		defer func() { _ = recover() }()
		_ = q.Do(t.Context(), func() { panic("bad parameters") })
	}()
	ran := false
	if err := q.Do(t.Context(), func() { ran = true }); err != nil || !ran {
		t.Errorf("after a panic: %v, ran %v", err, ran)
	}
}
