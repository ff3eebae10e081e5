package eventstore_test

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
)

// scriptedNode speaks the protocol of the log and does what a test says.
type scriptedNode struct {
	streams.UnimplementedStreamsServer
	append func(streams.Streams_AppendServer) error
	read   func(*streams.ReadReq, streams.Streams_ReadServer) error
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
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return "unix://" + path
}
