// Package testlog gives tests their own log: an embedded node.
package testlog

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"latchkey/eventstore"
	"latchkey/eventstore/node"
)

// New starts an embedded node and returns a client for it. Both end with the test.
func New(t testing.TB) *eventstore.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "lk") // short: a socket's path has 107 bytes at most
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	n, err := node.Open(node.Config{Dir: filepath.Join(dir, "log"), NoSync: true})
	must(t, err)
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	must(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = n.Serve(listener) // it ends with the node
	}()
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	client, err := eventstore.Open(eventstore.Config{Target: "unix://" + filepath.Join(dir, "s")})
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
