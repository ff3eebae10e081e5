package eventstore_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"latchkey/eventstore"
	"latchkey/eventstore/node"
)

// The library's own search for a node cannot be ended from outside; it ends by
// itself, ten seconds later at most.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/EventStore/EventStore-Client-Go/v4/esdb.discoverNode"),
		goleak.IgnoreAnyFunction("github.com/EventStore/EventStore-Client-Go/v4/esdb.(*grpcClient).getConnectionHandle"),
		// A connection that the library forgot, with nothing left on it; see connection.
		goleak.IgnoreTopFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc.(*addrConn).resetTransportAndUnlock"))
}

// testNode is an embedded node that can be stopped and started on its folder.
type testNode struct {
	t      *testing.T
	dir    string
	node   *node.Node
	served chan error
}

func startNode(t *testing.T) *testNode {
	t.Helper()
	n := &testNode{t: t, dir: t.TempDir()}
	n.start()
	t.Cleanup(func() {
		if n.node != nil {
			n.stop()
		}
	})
	return n
}

func (n *testNode) socket() string { return filepath.Join(n.dir, "s") }
func (n *testNode) target() string { return "unix://" + n.socket() }

func (n *testNode) start() {
	n.t.Helper()
	var err error
	if n.node, err = node.Open(node.Config{Dir: filepath.Join(n.dir, "log")}); err != nil {
		n.t.Fatal(err)
	}
	l, err := node.Listen(n.socket())
	if err != nil {
		n.t.Fatal(err)
	}
	n.served = make(chan error, 1)
	go func(n *testNode, running *node.Node, served chan error) { served <- running.Serve(l) }(n, n.node, n.served)
}

func (n *testNode) stop() {
	n.t.Helper()
	if err := errors.Join(n.node.Close(), <-n.served); err != nil {
		n.t.Error(err)
	}
	n.node = nil
}

// The node is away when the client is made, longer than the library looks for
// it, and comes.
func TestDiscoveryThatFailedIsBegunAnew(t *testing.T) {
	n := startNode(t)
	n.stop()
	c, err := eventstore.Open(eventstore.Config{Target: n.target(), CallTimeout: 1500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 { // the second call meets a library client that is dead for good
		if err := c.Ping(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Fatalf("without a node: %v", err)
		}
	}
	n.start()
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("with a node again: %v", err)
	}
}

// An append goes on by itself when the node is back, and is there once.
func TestNodeDiesAndComesBack(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	if _, err := c.Append(t.Context(), "s", eventstore.NoStream(), newEvent("a")); err != nil {
		t.Fatal(err)
	}
	n.stop()
	done := make(chan error, 1)
	go func() {
		_, err := c.Append(context.Background(), "s", eventstore.Exactly(0), newEvent("b"))
		done <- err
	}()
	n.start()
	if err := <-done; err != nil {
		t.Fatalf("the append while the node was away: %v", err)
	}
	count := 0
	if err := c.Load(t.Context(), "s", func(eventstore.Recorded) error { count++; return nil }); err != nil || count != 2 {
		t.Errorf("%d events, %v", count, err)
	}
}

// A node that was away, and came back perhaps on an older folder, is told by the
// number of connections while anybody is subscribed, also if nobody called meanwhile.
func TestConnectionsAreCounted(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	subscribe(t, c, 0, "mine.")
	for range 3 {
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := c.Connections()
		if err := c.Ping(t.Context()); err != nil || c.Connections() != before {
			t.Fatalf("connection %d became %d without need, %v", before, c.Connections(), err)
		}
		n.stop()
		n.start()
		for until := time.Now().Add(5 * time.Second); c.Connections() == before; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("still connection %d after the node was away", before)
			}
		}
	}
}

// A subscription that is dropped goes on where it was: each event once, in order.
func TestSubscriptionOutlivesTheNode(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	got := subscribe(t, c, 0, "mine.")
	next := eventstore.Position(0)
	for round := range 4 {
		for range 20 {
			done, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("mine.a"), newEvent("foreign.b"), newEvent("mine.c"))
			if err != nil {
				t.Fatal(err)
			}
			for want := done.Position - 2; want <= done.Position; want += 2 {
				if r := <-got; r.Position != want || r.Position <= next {
					t.Fatalf("round %d: position %d came, want %d", round, r.Position, want)
				}
				next = want
			}
		}
		n.stop()
		n.start()
	}
}

func TestHandlersErrorEndsTheSubscription(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a")); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	err := c.Subscribe(t.Context(), 0, "a", eventstore.Handler{Events: func([]eventstore.Recorded) error { return enough }})
	if !errors.Is(err, enough) {
		t.Errorf("Subscribe = %v", err)
	}
}

// blackhole passes bytes on until it is told to swallow them: a connection that
// looks well and is dead.
type blackhole struct {
	net.Listener
	mu      sync.Mutex
	swallow bool // on all connections
	dead    int  // as many connections, the first ones, swallow
	conns   []net.Conn
	wg      sync.WaitGroup
}

func startBlackhole(t *testing.T, to string) (*blackhole, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	b := &blackhole{Listener: l}
	b.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", to)
			if err != nil {
				in.Close()
				continue
			}
			b.mu.Lock()
			b.conns = append(b.conns, in, out)
			number := len(b.conns)
			b.mu.Unlock()
			b.wg.Go(func() { b.copy(out, in, number) })
			b.wg.Go(func() { b.copy(in, out, number) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b, "unix://" + path
}

func (b *blackhole) copy(to, from net.Conn, number int) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		b.mu.Lock()
		swallow := b.swallow || number <= b.dead
		b.mu.Unlock()
		if !swallow && n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// killAll makes the connections that there are swallow everything.
func (b *blackhole) killAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead = len(b.conns)
}

// accepted returns how many connections were made.
func (b *blackhole) accepted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns) / 2
}

func (b *blackhole) set(swallow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.swallow = swallow
}

// Calls end by our own time-out on a connection that is half open, and work
// again with a new one.
func TestHalfOpenConnection(t *testing.T) {
	n := startNode(t)
	b, target := startBlackhole(t, n.socket())
	c, err := eventstore.Open(eventstore.Config{Target: target, CallTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.set(true)
	calls := map[string]func() error{
		"append": func() error {
			_, err := c.Append(t.Context(), "s", eventstore.NoStream(), newEvent("a"))
			return err
		},
		"load": func() error { return c.Load(t.Context(), "s", func(eventstore.Recorded) error { return nil }) },
		"ping": func() error { return c.Ping(t.Context()) },
	}
	for name, f := range calls {
		if err := f(); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s on a dead connection: %v", name, err)
		}
	}
	b.set(false)
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

// A caller that goes away disturbs nobody else.
func TestCancelledCallerLeavesTheConnection(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	got := subscribe(t, c, 0, "a")
	if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a")); err != nil {
		t.Fatal(err)
	}
	<-got
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Append(gone, "s", eventstore.Any(), newEvent("b")); err == nil {
		t.Error("an append of a caller that is gone succeeded")
	}
	if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a")); err != nil {
		t.Fatal(err)
	}
	<-got
}

func TestTargets(t *testing.T) {
	for _, target := range []string{"", "unix://relative", "http://host", "esdb://", "esdb://admin:changeit@host:2113?tls=false", "nonsense"} {
		if _, err := eventstore.Open(eventstore.Config{Target: target}); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("%q: %v", target, err)
		}
	}
	for _, target := range []string{"unix:///run/s", "esdb://host:2113?tls=false", "esdb://admin:changeit@host:2113", "esdb+discover://cluster:2113"} {
		c, err := eventstore.Open(eventstore.Config{Target: target})
		if err != nil {
			t.Errorf("%q: %v", target, err)
			continue
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Ping(t.Context()); !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// Watermill gets every event in order; one that is refused comes again.
func TestSubscriberRedeliversWhatIsRefused(t *testing.T) {
	n := startNode(t)
	c := open(t, n.target())
	for range 3 {
		if _, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("mine.a")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := eventstore.NewSubscriber(c, eventstore.SubscriberConfig{
		Prefix: "mine.", NackWait: time.Millisecond,
		From: func() eventstore.Position { return 1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := s.Subscribe(t.Context(), "rows")
	if err != nil {
		t.Fatal(err)
	}
	positions := func(m *message.Message) (list []eventstore.Position) {
		b, err := eventstore.DecodeBatch(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Events {
			list = append(list, e.Position)
		}
		return list
	}
	var got []eventstore.Position
	refused := 0
	for len(got) < 2 {
		m := <-messages
		list := positions(m)
		if len(list) > 0 && refused < 3 {
			refused++
			m.Nack()
			continue
		}
		got = append(got, list...)
		m.Ack()
	}
	if got[0] != 2 || got[1] != 3 || refused != 3 {
		t.Errorf("positions %v after %d refusals", got, refused)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range messages { // a last one may be under way
	}
	if _, err := s.Subscribe(t.Context(), "rows"); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("subscribing to a closed subscriber: %v", err)
	}
}

func TestSubscriberNeedsItsConfiguration(t *testing.T) {
	if _, err := eventstore.NewSubscriber(nil, eventstore.SubscriberConfig{}); err == nil {
		t.Error("an empty configuration was taken")
	}
}
