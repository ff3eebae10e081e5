package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"latchkey/eventstore"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A subscription that the node drops at once, each time, is one line in the log,
// is tried less and less often, and shows in the health until it works.
func TestDroppingSubscription(t *testing.T) {
	var healed atomic.Bool
	var tries atomic.Int64
	target := startScripted(t, &scriptedNode{read: func(r *streams.ReadReq, s streams.Streams_ReadServer) error {
		if !subscribes(r) {
			return nil
		}
		if err := confirm(s); err != nil {
			return err
		}
		if !healed.Load() {
			return status.Errorf(codes.DataLoss, "block %d is damaged", tries.Add(1))
		}
		if err := s.Send(&streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: 7, PreparePosition: 7}}}); err != nil {
			return err
		}
		<-s.Context().Done()
		return nil
	}})
	var log lines
	c, err := eventstore.Open(eventstore.Config{Target: target, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	began := time.Now()
	go func() {
		done <- c.Subscribe(ctx, 5, "a", eventstore.Handler{Name: "rows", Events: func([]eventstore.Recorded) error { return nil }})
	}()
	until(t, "the subscription was dropped 8 times", func() bool { return tries.Load() == 8 })
	// Half of the pauses at least: 20, 40, 80, 160, 320, 640 and 1000 ms.
	if took := time.Since(began); took < 1100*time.Millisecond {
		t.Errorf("8 tries took %v", took)
	}
	until(t, "the health says so", func() bool { return c.Health().Drops["rows"] == 8 })
	h := c.Health()
	if len(h.Subscriptions) != 1 || !h.Connected {
		t.Fatalf("the health is %+v", h)
	}
	s := h.Subscriptions[0]
	if s.Name != "rows" || s.Position != 5 || s.Row != 8 || !s.Dropping() || s.LastError != "block 8 is damaged" || s.Since.Before(began) {
		t.Errorf("the subscription's health is %+v", s)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "block 1 is damaged") {
		t.Errorf("%d lines were logged:\n%s", n, log.String())
	}
	healed.Store(true)
	until(t, "it works again", func() bool {
		h := c.Health()
		s := h.Subscriptions[0]
		return s.Open && s.Position == 7 && s.Row == 0 && !s.Dropping() && s.LastError == ""
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe = %v", err)
	}
	if h := c.Health(); len(h.Subscriptions) != 0 || h.Drops["rows"] != 8 {
		t.Errorf("afterwards the health is %+v", h)
	}
}

// The health follows the connection and the appends.
func TestHealthOfTheConnection(t *testing.T) {
	n := startNode(t)
	var log lines
	c, err := eventstore.Open(eventstore.Config{Target: n.target(), CallTimeout: 300 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if h := c.Health(); h.Connected || !h.Since.IsZero() {
		t.Errorf("before the first call: %+v", h)
	}
	appended := func() error {
		_, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a"))
		return err
	}
	if err := appended(); err != nil {
		t.Fatal(err)
	}
	if h := c.Health(); !h.Connected || h.LastError != "" || h.Refused != "" {
		t.Errorf("connected: %+v", h)
	}
	n.stop()
	for range 5 {
		if err := appended(); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Fatalf("without a node: %v", err)
		}
	}
	if h := c.Health(); h.Connected || h.LastError == "" || h.Refused == "" || h.RefusedAt.Before(h.Since) {
		t.Errorf("without a node: %+v", h)
	}
	n.start()
	until(t, "the node is found", func() bool { return c.Ping(t.Context()) == nil })
	n.stop()
	if err := c.Ping(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) || c.Health().Connected {
		t.Errorf("a read finds the node away again: %v, %+v", err, c.Health())
	}
	n.start()
	until(t, "an append is taken", func() bool { return appended() == nil })
	if h := c.Health(); !h.Connected || h.LastError != "" || h.Refused != "" {
		t.Errorf("connected again: %+v", h)
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "lost the connection") || !strings.Contains(text, "reconnected") {
		t.Errorf("logged:\n%s", text)
	}
}
