package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"latchkey/eventstore"
)

// Resume is called before anything is handed over, each time a subscription
// begins.
func TestResumeComesFirstEachTime(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a")); err != nil {
		t.Fatal(err)
	}
	calls := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Subscribe(ctx, 0, "a", eventstore.Handler{
			Resume:    func(context.Context) error { calls <- "resume"; return nil },
			Connected: func(on bool) { calls <- fmt.Sprintf("connected %t", on) },
			Events:    func(list []eventstore.Recorded) error { calls <- fmt.Sprintf("%d events", len(list)); return nil },
		})
	}()
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := <-calls; got != w {
				t.Fatalf("%q was called, want %q", got, w)
			}
		}
	}
	expect("resume", "connected true", "1 events")
	for range 3 {
		n.stop()
		expect("connected false")
		n.start()
		expect("resume", "connected true")
		if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a")); err != nil {
			t.Fatal(err)
		}
		expect("1 events")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe = %v", err)
	}
}

// A subscription from beyond the end waits in silence; its Resume does not.
func TestResumeEndsTheSubscription(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	id, err := c.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	err = c.Subscribe(t.Context(), 1000, "a", eventstore.Handler{
		Resume: func(ctx context.Context) error {
			if tries++; tries < 3 { // it could not be found out
				return fmt.Errorf("looking: %w", eventstore.ErrUnavailable)
			}
			return c.Holds(ctx, eventstore.Mark{Identity: id, Position: 1000, Event: newEvent("a").ID})
		},
		Events: func([]eventstore.Recorded) error { t.Error("events of a log that was refused"); return nil },
	})
	if !errors.Is(err, eventstore.ErrLogCut) || tries != 3 {
		t.Errorf("Subscribe = %v after %d tries", err, tries)
	}
}

// A topic whose Resume fails says so, and is closed.
func TestResumeEndsTheTopic(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("mine.a")); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Bool
	var told []string
	s, err := eventstore.NewSubscriber(c, eventstore.SubscriberConfig{
		Prefix: "mine.",
		From:   func() eventstore.Position { return 0 },
		Resume: func(context.Context) error {
			if refused.Load() {
				return eventstore.ErrOtherEpoch
			}
			return nil
		},
		Failed: func(topic string, err error) { told = append(told, fmt.Sprintf("%s: %v", topic, err)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := s.Subscribe(t.Context(), "rows")
	if err != nil {
		t.Fatal(err)
	}
	(<-messages).Ack()
	refused.Store(true)
	n.stop()
	n.start()
	for m := range messages {
		m.Ack()
	}
	if want := "rows: the log was restored"; len(told) != 1 || told[0] != want {
		t.Errorf("told %q, want %q once", told, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
