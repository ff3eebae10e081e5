package node

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// fixture is a node behind a unix socket, with the real client and the bare
// service of the same protocol.
type fixture struct {
	t      *testing.T
	ctx    context.Context
	node   *Node
	socket string
	client *esdb.Client
	raw    streams.StreamsClient
	conn   *grpc.ClientConn
	stop   func() // closes the node
	broken bool   // its disk is, so that it may not close well
}

// start runs a node in memory, unless cfg says otherwise.
func start(t *testing.T, cfg Config) *fixture {
	t.Helper()
	if cfg.FS == nil {
		cfg.FS = vfs.NewMem()
	}
	if cfg.Dir == "" {
		cfg.Dir = "log"
	}
	dir, err := os.MkdirTemp("", "n") // that of the test may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fixture{t: t, socket: filepath.Join(dir, "s")}
	f.serve(cfg)
	f.connect()
	return f
}

// serve runs a node behind the fixture's socket, until stop.
func (f *fixture) serve(cfg Config) {
	f.t.Helper()
	n, err := Open(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	l, err := Listen(f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- n.Serve(l) }()
	f.node = n
	f.stop = sync.OnceFunc(func() {
		if err := n.Close(); err != nil && !f.broken {
			f.t.Errorf("closing the node: %v", err)
		}
		if err := <-served; err != nil {
			f.t.Errorf("serving: %v", err)
		}
	})
	f.t.Cleanup(f.stop)
}

// connect makes the clients, whose calls end before the test does.
func (f *fixture) connect() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	f.t.Cleanup(cancel)
	f.ctx = ctx
	f.client = dial(f.t, f.socket)
	conn, err := grpc.NewClient("unix://"+f.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	f.conn, f.raw = conn, streams.NewStreamsClient(conn)
}

func dial(t testing.TB, socket string) *esdb.Client {
	t.Helper()
	c, err := esdb.NewClient(&esdb.Configuration{
		Address: "unix://" + socket, DisableTLS: true, KeepAliveInterval: 10 * time.Second, KeepAliveTimeout: 10 * time.Second,
		DiscoveryInterval: 10, MaxDiscoverAttempts: 100, GossipTimeout: 5, Logger: esdb.NoopLogging(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// id is an event's id that is known by a name.
func id(name string) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)) }

func event1(name string) esdb.EventData {
	return esdb.EventData{EventID: id(name), EventType: "noted", ContentType: esdb.ContentTypeJson,
		Data: []byte(`{"n":"` + name + `"}`), Metadata: []byte(`{"m":1}`)}
}

func events(names ...string) []esdb.EventData {
	var out []esdb.EventData
	for _, n := range names {
		out = append(out, event1(n))
	}
	return out
}

func (f *fixture) try(stream string, expected esdb.ExpectedRevision, names ...string) (*esdb.WriteResult, error) {
	return f.client.AppendToStream(f.ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, events(names...)...)
}

func (f *fixture) append(stream string, expected esdb.ExpectedRevision, names ...string) *esdb.WriteResult {
	f.t.Helper()
	r, err := f.try(stream, expected, names...)
	if err != nil {
		f.t.Fatalf("appending to %s: %v", stream, err)
	}
	return r
}

func (f *fixture) setMeta(stream, data string) {
	f.t.Helper()
	e := esdb.EventData{EventID: uuid.New(), EventType: "$metadata", ContentType: esdb.ContentTypeJson, Data: []byte(data)}
	if _, err := f.client.AppendToStream(f.ctx, "$$"+stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, e); err != nil {
		f.t.Fatalf("setting the metadata of %s: %v", stream, err)
	}
}

func (f *fixture) delete(stream string) {
	f.t.Helper()
	if _, err := f.client.DeleteStream(f.ctx, stream, esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		f.t.Fatalf("deleting %s: %v", stream, err)
	}
}

func (f *fixture) tombstone(stream string) {
	f.t.Helper()
	if _, err := f.client.TombstoneStream(f.ctx, stream, esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		f.t.Fatalf("tombstoning %s: %v", stream, err)
	}
}

func drainRead(r *esdb.ReadStream, err error) ([]*esdb.ResolvedEvent, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []*esdb.ResolvedEvent
	for {
		e, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}

const many = 1 << 40

func (f *fixture) readStream(stream string, o esdb.ReadStreamOptions, count uint64) ([]*esdb.ResolvedEvent, error) {
	return drainRead(f.client.ReadStream(f.ctx, stream, o, count))
}

func (f *fixture) readAll(o esdb.ReadAllOptions, count uint64) []*esdb.ResolvedEvent {
	f.t.Helper()
	out, err := drainRead(f.client.ReadAll(f.ctx, o, count))
	if err != nil {
		f.t.Fatalf("reading $all: %v", err)
	}
	return out
}

// revisions reads a whole stream, forwards, and answers its revisions as text.
func (f *fixture) revisions(stream string) string {
	f.t.Helper()
	out, err := f.readStream(stream, esdb.ReadStreamOptions{From: esdb.Start{}}, many)
	if code(err) == esdb.ErrorCodeResourceNotFound {
		return "not found"
	}
	if code(err) == esdb.ErrorCodeStreamDeleted {
		return "deleted"
	}
	if err != nil {
		f.t.Fatalf("reading %s: %v", stream, err)
	}
	return numbers(out)
}

func numbers(events []*esdb.ResolvedEvent) string {
	var b strings.Builder
	for i, e := range events {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(itoa(e.OriginalEvent().EventNumber))
	}
	return b.String()
}

// code is that of the client's error, -1 where it is none of the client's.
func code(err error) esdb.ErrorCode {
	var e *esdb.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return -1
}

func (f *fixture) subscribe(o esdb.SubscribeToAllOptions) *esdb.Subscription {
	f.t.Helper()
	s, err := f.client.SubscribeToAll(f.ctx, o)
	if err != nil {
		f.t.Fatalf("subscribing to $all: %v", err)
	}
	f.t.Cleanup(func() { s.Close() })
	return s
}

func (f *fixture) subscribeStream(stream string, o esdb.SubscribeToStreamOptions) *esdb.Subscription {
	f.t.Helper()
	s, err := f.client.SubscribeToStream(f.ctx, stream, o)
	if err != nil {
		f.t.Fatalf("subscribing to %s: %v", stream, err)
	}
	f.t.Cleanup(func() { s.Close() })
	return s
}

// heard is what a subscription says next: "caught up", "checkpoint P",
// "stream@revision" or "dropped: …".
func heard(s *esdb.Subscription) string {
	e := s.Recv()
	switch {
	case e.CaughtUp != nil:
		return "caught up"
	case e.CheckPointReached != nil:
		return "checkpoint " + itoa(e.CheckPointReached.Commit)
	case e.EventAppeared != nil:
		o := e.EventAppeared.OriginalEvent()
		return o.StreamID + "@" + itoa(o.EventNumber)
	case e.SubscriptionDropped != nil:
		return "dropped: " + e.SubscriptionDropped.Error.Error()
	}
	return "something else"
}

func expectHeard(t *testing.T, s *esdb.Subscription, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := heard(s); got != w {
			t.Fatalf("the subscription says %q, want %q of %q", got, w, want)
		}
	}
}

// readRequest is a whole request of a read, forwards from the start.
func readRequest(change func(*streams.ReadReq_Options)) *streams.ReadReq {
	o := &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}},
		CountOption:  &streams.ReadReq_Options_Count{Count: 1000},
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:   &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}},
	}
	change(o)
	return &streams.ReadReq{Options: o}
}

func named(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

// received takes all messages of a read.
func (f *fixture) received(req *streams.ReadReq) ([]*streams.ReadResp, error) {
	f.t.Helper()
	call, err := f.raw.Read(f.ctx, req)
	if err != nil {
		f.t.Fatal(err)
	}
	var out []*streams.ReadResp
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
}

func mustDial(t *testing.T, socket string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func trailerInto(md *metadata.MD) grpc.CallOption { return grpc.Trailer(md) }

// clock is set by the test.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock(at time.Time) *clock { return &clock{at: at} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
