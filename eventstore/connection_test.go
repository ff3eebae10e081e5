package eventstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"latchkey/eventstore"
)

// until waits for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// watcher is a subscription that is looked at.
type watcher struct {
	began atomic.Int64 // how often
	open  atomic.Bool
}

// watch subscribes until the test ends.
func watch(t *testing.T, c *eventstore.Client, prefix string) *watcher {
	t.Helper()
	w := &watcher{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Subscribe(ctx, 0, prefix, eventstore.Handler{
			Events: func([]eventstore.Recorded) error { return nil },
			Connected: func(on bool) {
				if on {
					w.began.Add(1)
				}
				w.open.Store(on)
			},
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the subscription ended with %v", err)
		}
	})
	until(t, "the subscription works", w.open.Load)
	return w
}

// A subscription that ends while it begins leaves the connection to the others.
func TestEndedWhileBeginning(t *testing.T) {
	n := startNode(t)
	b, target := startBlackhole(t, n.socket())
	c := open(t, target)
	other := watch(t, c, "a")
	before := b.accepted()
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- c.Subscribe(ctx, 0, "b", eventstore.Handler{Events: func([]eventstore.Recorded) error { return nil }})
		}()
		time.AfterFunc(time.Duration(i%30)*20*time.Microsecond, cancel)
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("Subscribe = %v", err)
		}
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := b.accepted(); now != before || other.began.Load() != 1 {
		t.Errorf("%d connections were made, the other subscription began %d times", now-before, other.began.Load())
	}
}

// A call that is slow, or whose caller has little time, leaves the connection to
// the others.
func TestSlowCallLeavesTheConnection(t *testing.T) {
	var slow atomic.Bool
	var reads atomic.Int64
	n := &scriptedNode{
		append: func(s streams.Streams_AppendServer) error {
			drain(s)
			if slow.Load() {
				<-s.Context().Done()
				return status.FromContextError(s.Context().Err()).Err()
			}
			return status.Error(codes.InvalidArgument, "answered")
		},
		read: func(r *streams.ReadReq, s streams.Streams_ReadServer) error {
			if !subscribes(r) {
				reads.Add(1)
				return nil
			}
			if err := confirm(s); err != nil {
				return err
			}
			<-s.Context().Done()
			return nil
		},
	}
	c := openWithin(t, startScripted(t, n), 1200*time.Millisecond)
	other := watch(t, c, "a")
	slow.Store(true)
	for _, within := range []time.Duration{time.Millisecond, 20 * time.Millisecond, time.Minute} {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		looked := reads.Load()
		if _, err := c.Append(ctx, "s", eventstore.Any(), newEvent("a")); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("within %v: %v", within, err)
		}
		cancel()
		if within >= 20*time.Millisecond { // otherwise it may not have been sent
			until(t, "the connection was looked at", func() bool { return reads.Load() > looked })
		}
	}
	slow.Store(false)
	if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a")); err == nil || errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("afterwards: %v", err)
	}
	if used := n.listener.used.Load(); used != 1 || other.began.Load() != 1 {
		t.Errorf("%d connections were used, the subscription began %d times", used, other.began.Load())
	}
}

// A node that says that it is busy keeps its subscriptions.
func TestBusyNodeKeepsSubscriptions(t *testing.T) {
	var tries atomic.Int64
	n := &scriptedNode{
		append: func(s streams.Streams_AppendServer) error {
			drain(s)
			if tries.Add(1) < 4 {
				return status.Error(codes.Unavailable, "Server Is Too Busy")
			}
			return status.Error(codes.InvalidArgument, "answered")
		},
		read: func(r *streams.ReadReq, s streams.Streams_ReadServer) error {
			if !subscribes(r) {
				return nil
			}
			if err := confirm(s); err != nil {
				return err
			}
			<-s.Context().Done()
			return nil
		},
	}
	c := open(t, startScripted(t, n))
	other := watch(t, c, "a")
	if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a")); err == nil || errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("Append = %v", err)
	}
	if tries.Load() != 4 || other.began.Load() != 1 {
		t.Errorf("%d tries, the subscription began %d times", tries.Load(), other.began.Load())
	}
}

// A connection on which nothing comes back is given up within the time of one
// call, which goes on with a new one, as do the subscriptions.
func TestDeadConnectionIsNoticed(t *testing.T) {
	n := startNode(t)
	b, target := startBlackhole(t, n.socket())
	c := open(t, target)
	other := watch(t, c, "a")
	b.killAll()
	began := time.Now()
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 15*time.Second { // HTTP/2 notices after 20 s
		t.Errorf("the call took %v", took)
	}
	until(t, "the subscription begins again", func() bool { return other.began.Load() == 2 && other.open.Load() })
}

// Subscriptions that wait for the node go on together with the first call that
// finds it.
func TestWaitingSubscriptionsWake(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	var subscriptions []*watcher
	for range 4 {
		subscriptions = append(subscriptions, watch(t, c, "a"))
	}
	best := time.Hour // the machine may be busy in one round or the other
	for range 3 {
		n.stop()
		for _, s := range subscriptions {
			until(t, "the subscription is dropped", func() bool { return !s.open.Load() })
		}
		time.Sleep(2 * time.Second) // is how long the node is away
		n.start()
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := time.Now()
		for _, s := range subscriptions {
			until(t, "the subscription works again", s.open.Load)
		}
		best = min(best, time.Since(found))
	}
	if best > 400*time.Millisecond {
		t.Errorf("the subscriptions waited %v longer than a call", best)
	}
}

// While no leader is elected a stream is not missing, and the call goes on.
func TestElection(t *testing.T) {
	answers := []error{
		status.Error(codes.NotFound, "Leader info available"),
		status.Error(codes.Unknown, "No leader info available in response"),
	}
	tries := 0
	n := &scriptedNode{read: func(r *streams.ReadReq, s streams.Streams_ReadServer) error {
		if r.GetOptions().GetStream() == nil { // the connection's first
			return nil
		}
		if tries++; tries <= len(answers) {
			return answers[tries-1]
		}
		return s.Send(&streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{StreamNotFound: &streams.ReadResp_StreamNotFound{
			StreamIdentifier: r.GetOptions().GetStream().GetStreamIdentifier()}}})
	}}
	c := open(t, startScripted(t, n))
	err := c.Load(t.Context(), "s", func(eventstore.Recorded) error { return nil })
	if !errors.Is(err, eventstore.ErrStreamNotFound) || tries != 3 {
		t.Errorf("Load = %v after %d tries", err, tries)
	}
}
