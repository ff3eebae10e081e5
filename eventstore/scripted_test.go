package eventstore_test

import (
	"errors"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
)

// scriptedNode speaks the protocol of the log and does what a test says.
type scriptedNode struct {
	streams.UnimplementedStreamsServer
	append func(streams.Streams_AppendServer) error
	read   func(*streams.ReadReq, streams.Streams_ReadServer) error

	listener *countingListener
}

// countingListener counts connections on which the client has sent something.
type countingListener struct {
	net.Listener
	used atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &countedConn{Conn: c, of: l}, err
}

type countedConn struct {
	net.Conn
	of   *countingListener
	once sync.Once
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.once.Do(func() { c.of.used.Add(1) })
	}
	return n, err
}

func (n *scriptedNode) Append(s streams.Streams_AppendServer) error {
	if n.append == nil {
		return n.UnimplementedStreamsServer.Append(s)
	}
	return n.append(s)
}

// drain reads an append to its end, as a node does before it answers.
func drain(s streams.Streams_AppendServer) {
	for {
		if _, err := s.Recv(); err != nil {
			return
		}
	}
}

func (n *scriptedNode) Read(r *streams.ReadReq, s streams.Streams_ReadServer) error {
	if n.read == nil {
		return n.UnimplementedStreamsServer.Read(r, s)
	}
	return n.read(r, s)
}

// subscribes reports whether a read is a subscription.
func subscribes(r *streams.ReadReq) bool { return r.GetOptions().GetSubscription() != nil }

// confirm begins a subscription.
func confirm(s streams.Streams_ReadServer) error {
	return s.Send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{
		Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: "x"}}})
}

// startScripted serves a node on a socket until the test ends, and returns its
// target.
func startScripted(t *testing.T, n *scriptedNode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	streams.RegisterStreamsServer(server, n)
	n.listener = &countingListener{Listener: l}
	served := make(chan error, 1)
	go func() { served <- server.Serve(n.listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return "unix://" + path
}
