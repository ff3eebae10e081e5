package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/eventstore"
)

// TestEmbeddedNode runs the contract on the embedded node.
func TestEmbeddedNode(t *testing.T) {
	n := startNode(t)
	contract(t, n.target())
}

// TestCluster runs the same contract on the EventStoreDB that
// LATCHKEY_TEST_ESDB names, where there is one.
func TestCluster(t *testing.T) {
	if target := os.Getenv("LATCHKEY_TEST_ESDB"); target != "" {
		contract(t, target)
	}
}

func newEvent(kind string) eventstore.Event {
	return eventstore.Event{ID: uuid.New(), Type: kind, Data: []byte(`{"n":1}`), Metadata: []byte(`{"m":2}`)}
}

func open(t *testing.T, target string) *eventstore.Client {
	t.Helper()
	return openWithin(t, target, 60*time.Second)
}

// openWithin opens a client whose calls take this long at most, until the test
// ends.
func openWithin(t *testing.T, target string, timeout time.Duration) *eventstore.Client {
	t.Helper()
	c, err := eventstore.Open(eventstore.Config{Target: target, CallTimeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// contract is what Latchkey needs of any EventStoreDB.
func contract(t *testing.T, target string) {
	c := open(t, target)
	ctx := t.Context()
	prefix := "contract-" + uuid.NewString()[:8] + "."
	name := func(s string) string { return s + "-" + prefix }
	load := func(t *testing.T, stream string) []eventstore.Recorded {
		t.Helper()
		var list []eventstore.Recorded
		if err := c.Load(ctx, stream, func(r eventstore.Recorded) error { list = append(list, r); return nil }); err != nil {
			t.Fatal(err)
		}
		return list
	}

	t.Run("append and load", func(t *testing.T) {
		s, events := name("basic"), []eventstore.Event{newEvent(prefix + "a"), newEvent(prefix + "b")}
		done, err := c.Append(ctx, s, eventstore.NoStream(), events...)
		if err != nil || done.Revision != 1 || done.Position == 0 {
			t.Fatalf("Append = %+v, %v", done, err)
		}
		got := load(t, s)
		if len(got) != 2 || got[1].Position != done.Position || got[0].Position >= got[1].Position {
			t.Fatalf("loaded %+v", got)
		}
		for i, r := range got {
			if r.ID != events[i].ID || r.Type != events[i].Type || r.Stream != s || r.Revision != uint64(i) ||
				string(r.Data) != string(events[i].Data) || string(r.Metadata) != string(events[i].Metadata) || time.Since(r.Created).Abs() > time.Hour {
				t.Errorf("event %d is %+v", i, r)
			}
		}
	})
	t.Run("a long stream", func(t *testing.T) {
		s := name("long")
		for i := range 5 {
			batch := make([]eventstore.Event, 1000)
			for j := range batch {
				batch[j] = newEvent(prefix + "long")
			}
			expected := eventstore.NoStream()
			if i > 0 {
				expected = eventstore.Exactly(uint64(i*1000 - 1))
			}
			if _, err := c.Append(ctx, s, expected, batch...); err != nil {
				t.Fatal(err)
			}
		}
		for i, r := range load(t, s) {
			if r.Revision != uint64(i) {
				t.Fatalf("place %d has revision %d", i, r.Revision)
			}
		}
	})
	t.Run("conflicts", func(t *testing.T) {
		s := name("conflict")
		if _, err := c.Append(ctx, s, eventstore.NoStream(), newEvent(prefix+"a")); err != nil {
			t.Fatal(err)
		}
		for _, expected := range []eventstore.Expected{eventstore.NoStream(), eventstore.Exactly(1), eventstore.Exactly(7)} {
			if _, err := c.Append(ctx, s, expected, newEvent(prefix+"a")); !errors.Is(err, eventstore.ErrConflict) {
				t.Errorf("%+v: %v", expected, err)
			}
		}
		if n := len(load(t, s)); n != 1 {
			t.Errorf("refused appends left %d events", n)
		}
	})
	t.Run("a repeat is one append", func(t *testing.T) {
		s, e := name("repeat"), newEvent(prefix+"a")
		first, err := c.Append(ctx, s, eventstore.NoStream(), e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Append(ctx, s, eventstore.Exactly(0), newEvent(prefix+"b")); err != nil {
			t.Fatal(err)
		}
		again, err := c.Append(ctx, s, eventstore.NoStream(), e)
		if err != nil || again != first {
			t.Errorf("the repeat answered %+v, %v; the first %+v", again, err, first)
		}
	})
	t.Run("refused before it is sent", func(t *testing.T) {
		for what, f := range map[string]func() error{
			"no id": func() error {
				_, err := c.Append(ctx, name("x"), eventstore.Any(), eventstore.Event{Type: "t"})
				return err
			},
			"no type": func() error {
				_, err := c.Append(ctx, name("x"), eventstore.Any(), eventstore.Event{ID: uuid.New()})
				return err
			},
			"no events":   func() error { _, err := c.Append(ctx, name("x"), eventstore.Any()); return err },
			"no expected": func() error { _, err := c.Append(ctx, name("x"), eventstore.Expected{}, newEvent("t")); return err },
			"no stream":   func() error { _, err := c.Append(ctx, "", eventstore.Any(), newEvent("t")); return err },
		} {
			if err := f(); !errors.Is(err, eventstore.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	t.Run("too large", func(t *testing.T) {
		e := newEvent(prefix + "a")
		e.Data = fmt.Appendf(nil, `{"x":%q}`, make([]byte, 600<<10))
		if _, err := c.Append(ctx, name("large"), eventstore.Any(), e); !errors.Is(err, eventstore.ErrTooLarge) {
			t.Errorf("an append of %d bytes: %v", len(e.Data), err)
		}
	})
	t.Run("the ends of a stream", func(t *testing.T) {
		s, events := name("ends"), []eventstore.Event{newEvent(prefix + "a"), newEvent(prefix + "b"), newEvent(prefix + "c")}
		if _, err := c.Append(ctx, s, eventstore.NoStream(), events...); err != nil {
			t.Fatal(err)
		}
		if first, err := c.First(ctx, s); err != nil || first.ID != events[0].ID || first.Revision != 0 {
			t.Errorf("first %+v, %v", first, err)
		}
		if last, err := c.Last(ctx, s); err != nil || last.ID != events[2].ID || last.Revision != 2 {
			t.Errorf("last %+v, %v", last, err)
		}
		_, errFirst := c.First(ctx, name("nothing"))
		_, errLast := c.Last(ctx, name("nothing"))
		if !errors.Is(errFirst, eventstore.ErrStreamNotFound) || !errors.Is(errLast, eventstore.ErrStreamNotFound) {
			t.Errorf("the ends of nothing: %v, %v", errFirst, errLast)
		}
	})
	t.Run("load from a revision", func(t *testing.T) {
		s := name("from")
		if _, err := c.Append(ctx, s, eventstore.NoStream(), newEvent(prefix+"a"), newEvent(prefix+"b"), newEvent(prefix+"c")); err != nil {
			t.Fatal(err)
		}
		for from, want := range map[uint64][]uint64{0: {0, 1, 2}, 2: {2}, 3: nil, 9: nil} {
			var got []uint64
			if err := c.LoadFrom(ctx, s, from, func(r eventstore.Recorded) error { got = append(got, r.Revision); return nil }); err != nil || !slices.Equal(got, want) {
				t.Errorf("from %d: %v, %v; want %v", from, got, err, want)
			}
		}
		err := c.LoadFrom(ctx, name("nothing"), 3, func(eventstore.Recorded) error { return nil })
		if !errors.Is(err, eventstore.ErrStreamNotFound) {
			t.Errorf("loading nothing: %v", err)
		}
	})
	t.Run("no such stream", func(t *testing.T) {
		err := c.Load(ctx, name("nothing"), func(eventstore.Recorded) error { return nil })
		if !errors.Is(err, eventstore.ErrStreamNotFound) {
			t.Errorf("loading nothing: %v", err)
		}
	})
	t.Run("read all and the tail", func(t *testing.T) {
		s := name("tail")
		last, err := c.Append(ctx, s, eventstore.NoStream(), newEvent(prefix+"tail"), newEvent("foreign."+prefix), newEvent(prefix+"tail"))
		if err != nil {
			t.Fatal(err)
		}
		var got []eventstore.Recorded
		if err := c.ReadAll(ctx, last.Position-3, prefix, func(r eventstore.Recorded) error { got = append(got, r); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 || got[len(got)-1].Position != last.Position {
			t.Errorf("ReadAll ends with %+v, want position %d", got, last.Position)
		}
		for i, r := range got {
			if r.Type != prefix+"tail" || i > 0 && r.Position <= got[i-1].Position {
				t.Errorf("ReadAll gave %+v at %d", r, i)
			}
		}
		seen := 0
		if err := c.Tail(ctx, 10, func(r eventstore.Recorded) bool {
			seen++
			return r.Position > last.Position
		}); err != nil || seen == 0 {
			t.Errorf("Tail: %d events, %v", seen, err)
		}
		stop := errors.New("enough")
		if err := c.ReadAll(ctx, 0, "", func(eventstore.Recorded) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("the reader's own error: %v", err)
		}
	})
	t.Run("subscribe", func(t *testing.T) {
		before, err := c.Append(ctx, name("sub"), eventstore.Any(), newEvent(prefix+"before"))
		if err != nil {
			t.Fatal(err)
		}
		old, err := c.Append(ctx, name("sub"), eventstore.Any(), newEvent(prefix+"old"), newEvent("foreign"))
		if err != nil {
			t.Fatal(err)
		}
		got := subscribe(t, c, before.Position, prefix)
		if r := <-got; r.Type != prefix+"old" {
			t.Errorf("first came %+v", r)
		}
		live, err := c.Append(ctx, name("sub"), eventstore.Any(), newEvent(prefix+"live"))
		if err != nil {
			t.Fatal(err)
		}
		if r := <-got; r.Position != live.Position || r.Position <= old.Position {
			t.Errorf("then came %+v", r)
		}
	})
	t.Run("identity", func(t *testing.T) {
		id, err := c.Identify(ctx)
		if err != nil || id.Log == uuid.Nil || id.Epoch == 0 {
			t.Fatalf("Identify = %+v, %v", id, err)
		}
		if again, err := c.Identify(ctx); err != nil || again != id {
			t.Fatalf("a second Identify = %+v, %v, want %+v", again, err, id)
		}
		event := newEvent(prefix + "marked")
		done, err := c.Append(ctx, name("marked"), eventstore.NoStream(), event)
		if err != nil {
			t.Fatal(err)
		}
		next, err := c.Append(ctx, name("marked"), eventstore.Any(), newEvent(prefix+"after"))
		if err != nil {
			t.Fatal(err)
		}
		mark := eventstore.Mark{Identity: id, Position: done.Position, Event: event.ID}
		beyond := eventstore.Mark{Identity: id, Position: next.Position + 1000, Event: event.ID}
		other := eventstore.Mark{Identity: eventstore.Identity{Log: uuid.New(), Epoch: id.Epoch}, Position: done.Position, Event: event.ID}
		replaced := eventstore.Mark{Identity: id, Position: next.Position, Event: event.ID}
		for what, of := range map[string]struct {
			mark eventstore.Mark
			want error
		}{
			"the zero mark":         {eventstore.Mark{}, nil},
			"nothing seen":          {eventstore.Mark{Identity: id}, nil},
			"the log":               {mark, nil},
			"beyond its end":        {beyond, eventstore.ErrLogCut},
			"another event there":   {replaced, eventstore.ErrLogCut},
			"a mark in another log": {other, eventstore.ErrOtherLog},
		} {
			if err := c.Holds(ctx, of.mark); !errors.Is(err, of.want) {
				t.Errorf("%s: Holds = %v, want %v", what, err, of.want)
			}
		}
		raised, err := c.RaiseEpoch(ctx)
		if err != nil || raised.Log != id.Log || raised.Epoch != id.Epoch+1 {
			t.Fatalf("RaiseEpoch = %+v, %v", raised, err)
		}
		if err := c.Holds(ctx, mark); !errors.Is(err, eventstore.ErrOtherEpoch) {
			t.Errorf("after the epoch was raised: Holds = %v", err)
		}
	})
}

// subscribe gives what a subscription brings, until the test ends.
func subscribe(t *testing.T, c *eventstore.Client, after eventstore.Position, prefix string) <-chan eventstore.Recorded {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan eventstore.Recorded, 10_000)
	done := make(chan error)
	go func() {
		done <- c.Subscribe(ctx, after, prefix, eventstore.Handler{Events: func(list []eventstore.Recorded) error {
			for _, r := range list {
				got <- r
			}
			return nil
		}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the subscription ended with %v", err)
		}
	})
	return got
}
