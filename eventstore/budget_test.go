package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"latchkey/eventstore"
)

// TestBudgetOfBytes: a subscription hands large events over in batches of so many
// bytes, and holds no more than its backlog of them while its handler is slow.
func TestBudgetOfBytes(t *testing.T) {
	const events, size = 300, 200 << 10
	n := startNode(t)
	c := open(t, n.target())
	for range events / 4 {
		var list []eventstore.Event
		for range 4 {
			e := newEvent("large")
			e.Data = append(append([]byte(`{"text":"`), bytes.Repeat([]byte("a"), size)...), `"}`...)
			list = append(list, e)
		}
		if _, err := c.Append(t.Context(), "s", eventstore.Any(), list...); err != nil {
			t.Fatal(err)
		}
	}
	before := live()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, most := 0, uint64(0)
	err := c.Subscribe(ctx, 0, "", eventstore.Handler{Events: func(list []eventstore.Recorded) error {
		bytes := 0
		for _, e := range list {
			bytes += len(e.Data)
		}
		if bytes > eventstore.MaxBatchBytes+size+100 {
			t.Errorf("a batch has %d events of %d bytes", len(list), bytes)
		}
		for i := 0; seen == 0 && i < 20; i++ { // what comes meanwhile waits
			most = max(most, live())
			time.Sleep(20 * time.Millisecond)
		}
		seen += len(list)
		if seen >= events {
			cancel()
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) || seen < events {
		t.Fatalf("%d events, %v", seen, err)
	}
	if grown := int64(most) - int64(before); grown > 24<<20 { // the node and the library are in this process, too
		t.Errorf("%d MiB are held while events of %d MiB come", grown>>20, events*size>>20)
	}
}

// live is how many bytes of the heap are in use.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
