package reactors_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/reclaim"
	"latchkey/eventstore"
	"latchkey/internal/reactors"
)

// policies is the checkpoint of removed devices.
const policies = "policies"

// TestRemovedDevice: a removed device ends its shares, once the list of shares is as
// far; what fails is tried again.
func TestRemovedDevice(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		calls := make(chan call, 10)
		failures := 2
		h.process(commands(func(_ context.Context, c call) error {
			if failures > 0 {
				failures--
				return errTest
			}
			calls <- c
			return nil
		}))
		h.shared("dev0")
		cause := h.remove("dev0")
		if got := nextFor(t, calls, cause); got.device != "dev0" || !slices.Equal(got.shares, []string{given}) {
			t.Errorf("the command was %+v", got)
		}
	})
}

// TestOfferedTooLate: a share that offers a device which was removed before loses it.
func TestOfferedTooLate(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		calls := make(chan call, 10)
		h.process(commands(func(_ context.Context, c call) error { calls <- c; return nil }))
		h.shared("dev0")
		nextFor(t, calls, h.remove("dev0"))
		cause := h.append("share-"+given, offered("dev0"))[0]
		if got := nextFor(t, calls, cause); got.device != "dev0" || !slices.Equal(got.shares, []string{given}) {
			t.Errorf("the command was %+v", got)
		}
	})
}

// TestOneProcessActs: of several processes one acts at a time, once after each event.
func TestOneProcessActs(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		var mu sync.Mutex
		acting, done := 0, map[uuid.UUID]int{}
		for range 3 {
			h.process(commands(func(_ context.Context, c call) error {
				mu.Lock()
				acting++
				if acting > 1 {
					t.Error("two processes act")
				}
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				acting--
				done[c.cause]++
				return nil
			}))
		}
		var causes []uuid.UUID
		for i := range 12 {
			id := fmt.Sprint("dev", i)
			h.shared(id)
			causes = append(causes, h.remove(id))
		}
		all := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return !slices.ContainsFunc(causes, func(id uuid.UUID) bool { return done[id] == 0 })
		}
		for ctx := within(t); !all(); time.Sleep(5 * time.Millisecond) {
			must(t, ctx.Err())
		}
		time.Sleep(time.Second) // the others find that it is done
		mu.Lock()
		defer mu.Unlock()
		for cause, n := range done {
			if n != 1 {
				t.Errorf("event %s was followed %d times", cause, n)
			}
		}
	})
}

// TestDiedWhileItActed: another process acts when the time of one is over that died.
func TestDiedWhileItActed(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		has, err := h.open().Lease(t.Context(), policies, "one that died", 2*time.Second)
		if err != nil || !has {
			t.Fatalf("the lease: %v, %v", has, err)
		}
		began := time.Now()
		calls := make(chan call, 10)
		h.process(commands(func(_ context.Context, c call) error { calls <- c; return nil }))
		h.shared("dev0")
		h.remove("dev0")
		next(t, calls)
		if took := time.Since(began); took < 1900*time.Millisecond {
			t.Errorf("it acted after %v, while another process could", took)
		}
	})
}

// TestStoppedWhileItActed: a process that is told to stop lets another one act at once.
func TestStoppedWhileItActed(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		acts := make(chan struct{}, 1)
		stop := h.process(commands(func(ctx context.Context, _ call) error {
			acts <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}))
		h.shared("dev0")
		h.remove("dev0")
		next(t, acts)
		calls := make(chan call, 10)
		h.process(commands(func(_ context.Context, c call) error { calls <- c; return nil }))
		time.Sleep(time.Second)
		if len(calls) > 0 {
			t.Error("two processes act")
		}
		stop()
		stopped := time.Now()
		next(t, calls)
		if took := time.Since(stopped); took > 3*time.Second {
			t.Errorf("the other one acted after %v", took)
		}
	})
}

// TestLostTheLease: a process that was stopped for a while and lost the lease ceases to
// act, and saves nothing.
func TestLostTheLease(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		store := h.open()
		acts, ceased := make(chan struct{}, 10), make(chan struct{}, 10)
		first := true
		h.process(commands(func(ctx context.Context, _ call) error {
			acts <- struct{}{}
			if first {
				first = false
				<-ctx.Done()
				ceased <- struct{}{}
				return ctx.Err()
			}
			return nil
		}))
		h.shared("dev0")
		h.remove("dev0")
		next(t, acts)
		_, err := store.DB().ExecContext(t.Context(), "UPDATE projection_checkpoints SET holder = 'another one' WHERE name = 'policies'")
		must(t, err)
		next(t, ceased)
		if position, _, err := store.Followed(t.Context(), policies); err != nil || position != 0 {
			t.Errorf("the checkpoint is at %d, %v", position, err)
		}
		next(t, acts) // when the other one's time is over
	})
}

// TestGoesOnFromTheCheckpoint: what was done is not done again by the next process.
func TestGoesOnFromTheCheckpoint(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		store := h.open()
		stop := h.process(commands(func(context.Context, call) error { return nil }))
		h.shared("dev0")
		h.remove("dev0")
		for ctx := within(t); ; time.Sleep(5 * time.Millisecond) {
			position, _, err := store.Followed(ctx, policies)
			must(t, err)
			if position == h.last {
				break
			}
		}
		stop()
		calls := make(chan call, 10)
		h.process(commands(func(_ context.Context, c call) error {
			if c.device == "dev0" {
				t.Errorf("it was done again: %+v", c)
			}
			calls <- c
			return nil
		}))
		h.shared("dev1")
		nextFor(t, calls, h.remove("dev1"))
	})
}

// TestNobodyIsToldOfBefore: of what happened before the log's epoch began nobody is told
// again.
func TestNobodyIsToldOfBefore(t *testing.T) {
	told := map[string]int{}
	do := tells{told: told, began: 10}
	r := reactors.List(nil, do)[0]
	for position, want := range map[eventstore.Position]int{9: 0, 10: 0, 11: 1} {
		clear(told)
		actions, err := r.Due(t.Context(), []reactors.Event{
			{Event: device.TransferOffered{}, Position: position}, {Event: reclaim.Claimed{}, Position: position},
		}, position)
		must(t, err)
		for _, a := range actions {
			must(t, a.Do(t.Context()))
		}
		if len(actions) != 2 || told["offer"] != want || told["claim"] != want {
			t.Errorf("at position %d: %d actions, told %v; want %d each", position, len(actions), told, want)
		}
	}
}

// tells counts what people are told, in a log whose epoch began at a position.
type tells struct {
	commands
	told  map[string]int
	began eventstore.Position
}

func (f tells) EpochBegan(context.Context) (eventstore.Position, error) { return f.began, nil }

func (f tells) TellOfTransfer(context.Context, uuid.UUID, device.TransferOffered) error {
	f.told["offer"]++
	return nil
}

func (f tells) TellOfReclaim(context.Context, uuid.UUID, reclaim.Claimed) error {
	f.told["claim"]++
	return nil
}
