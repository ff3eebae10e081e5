package upstream

import (
	"context"
	"errors"
	"testing"
)

func numbered(n uint16) Packet {
	return Packet{Data: []byte{0x80, 96, byte(n >> 8), byte(n), 0, 0, 0, 0, 0, 0, 0, 0}}
}

// TestQueueDropsWhatItHasNoRoomFor, reports each, and keeps what it has, in order.
func TestQueueDropsWhatItHasNoRoomFor(t *testing.T) {
	dropped := 0
	q := NewQueue(3, func() { dropped++ })
	take := func(from, to uint16) {
		for n := from; n <= to; n++ {
			q.Take(numbered(n))
		}
	}
	want := func(numbers ...uint16) {
		t.Helper()
		for _, n := range numbers {
			if p, err := q.Next(t.Context()); err != nil || Sequence(p.Data) != n {
				t.Fatalf("%v, %v; want packet %d", p.Data, err, n)
			}
		}
	}
	take(1, 5)
	if dropped != 2 {
		t.Errorf("%d packets were dropped, want 2", dropped)
	}
	want(1, 2)
	take(6, 8) // room for two
	if dropped != 3 {
		t.Errorf("%d packets were dropped, want 3", dropped)
	}
	want(3, 6, 7)
}

// TestQueueEndsAfterItsPackets with the reason.
func TestQueueEndsAfterItsPackets(t *testing.T) {
	silent := errors.New("the camera sends nothing")
	for reason, want := range map[error]error{silent: silent, nil: ErrEnded} {
		q := NewQueue(3, func() {})
		q.Take(numbered(1))
		q.Take(numbered(2))
		q.End(reason)
		for range 2 {
			if _, err := q.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if _, err := q.Next(t.Context()); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
	}
}

// TestQueueWaits until a packet comes or whoever waits goes.
func TestQueueWaits(t *testing.T) {
	q := NewQueue(1, func() {})
	next := make(chan error)
	go func() { _, err := q.Next(t.Context()); next <- err }()
	q.Take(numbered(1))
	if err := <-next; err != nil {
		t.Error(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	go func() { _, err := q.Next(ctx); next <- err }()
	leave()
	if err := <-next; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	q.Take(numbered(2)) // and nothing of it is given to whoever has gone
	if _, err := q.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
