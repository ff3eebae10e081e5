package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	protocol "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"latchkey/eventstore"
)

// oddNode is a log that answers reads, drops subscriptions if told to, and says
// of itself what a test wants.
type oddNode struct {
	protocol.UnimplementedStreamsServer
	says  atomic.Pointer[map[string]any]
	drops atomic.Bool
}

func (n *oddNode) Read(r *protocol.ReadReq, s protocol.Streams_ReadServer) error {
	if r.GetOptions().GetSubscription() == nil {
		return nil
	}
	if n.drops.Load() {
		return grpcstatus.Error(codes.DataLoss, "block 7 is damaged")
	}
	err := s.Send(&protocol.ReadResp{Content: &protocol.ReadResp_Confirmation{Confirmation: &protocol.ReadResp_SubscriptionConfirmation{SubscriptionId: "x"}}})
	if err == nil {
		err = s.Send(&protocol.ReadResp{Content: &protocol.ReadResp_Checkpoint_{Checkpoint: &protocol.ReadResp_Checkpoint{CommitPosition: 7, PreparePosition: 7}}})
	}
	<-s.Context().Done()
	return err
}

func (n *oddNode) status(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	if err := decode(&emptypb.Empty{}); err != nil {
		return nil, err
	}
	says := n.says.Load()
	if says == nil {
		return nil, grpcstatus.Error(codes.Unimplemented, "no such call")
	}
	return structpb.NewStruct(*says)
}

// start serves the node and returns its target, and what stops it.
func (n *oddNode) start(t *testing.T) (target string, stop func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	protocol.RegisterStreamsServer(server, n)
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "latchkey.node.v1.Node", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Status", Handler: n.status}}}, n)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return "unix://" + path, func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	}
}

// metricsOf returns the metrics of a collector, name{labels} to value.
func metricsOf(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "{" + l.GetValue() + "}"
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

// The component says what is wrong with the log, and the metrics agree.
func TestLogState(t *testing.T) {
	n := &oddNode{}
	target, stop := n.start(t)
	client, err := eventstore.Open(eventstore.Config{Target: target, CallTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	l, err := newLogState(client, target)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	expect := func(state, reason string) {
		t.Helper()
		got, ready := l.State(t.Context())
		if got != state || ready != (reason == "") || ready != (l.Reason() == "") || !strings.Contains(l.Reason(), reason) {
			t.Errorf("the log is %q (ready %t): %q; want %q: %q", got, ready, l.Reason(), state, reason)
		}
	}
	says := func(writable, reserved bool, reason string) {
		n.says.Store(&map[string]any{"writable": writable, "reserved": reserved, "reason": reason, "disk_free": 5e6, "disk_least": 64e6, "position": 9})
	}
	expect("ok", "") // a node without the call
	if m := metricsOf(t, l); m["latchkey_log_connected"] != 1 || len(m) != 1 {
		t.Errorf("metrics of a node without the call: %v", m)
	}
	says(true, true, "")
	expect("ok", "")
	says(true, true, "a part of the log is damaged")
	expect("damaged", "a part of the log is damaged.")
	says(false, false, "a write failed")
	expect("read_only", "takes no writes: a write failed.")
	says(false, true, "the disk of the log is nearly full")
	expect("read_only", "only what takes something away: the disk of the log is nearly full.")
	m := metricsOf(t, l)
	if m["latchkey_log_writable"] != 0 || m["latchkey_log_reserve_writable"] != 1 || m["latchkey_log_disk_free_bytes"] != 5e6 || m["latchkey_log_disk_least_bytes"] != 64e6 {
		t.Errorf("metrics of a full disk: %v", m)
	}
	says(true, true, "")

	n.drops.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- client.Subscribe(ctx, 0, "a", eventstore.Handler{Name: "rows", Events: func([]eventstore.Recorded) error { return nil }})
	}()
	within := func(what string, met func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !met(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain until %s", what)
			}
		}
	}
	within("the subscription was dropped", func() bool { return client.Health().Drops["rows"] >= 5 })
	expect("dropping", "the subscription of rows")
	expect("dropping", "block 7 is damaged.")
	if m := metricsOf(t, l); m["latchkey_subscription_drops_total{rows}"] < 5 || m["latchkey_subscription_dropping{rows}"] != 1 {
		t.Errorf("metrics of a subscription that drops: %v", m)
	}
	n.drops.Store(false)
	within("the subscription goes on", func() bool { return client.Health().Subscriptions[0].Position == 7 })
	expect("ok", "")
	cancel()
	<-done
	stop()
	expect("unavailable", "The log")
	within("the connection is known to be lost", func() bool { return !client.Health().Connected })
	expect("unavailable", "The log has not answered since")
	if m := metricsOf(t, l); m["latchkey_log_connected"] != 0 || m["latchkey_log_writable"] != 0 {
		t.Errorf("metrics without a node: %v", m)
	}
}

// An EventStoreDB says nothing of itself: what was not taken counts.
func TestLogStateOfACluster(t *testing.T) {
	t.Parallel()
	client, err := eventstore.Open(eventstore.Config{Target: "esdb://127.0.0.1:1?tls=false", CallTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	l, err := newLogState(client, "esdb://127.0.0.1:1?tls=false")
	if err != nil {
		t.Fatal(err)
	}
	if state, ready := l.State(t.Context()); state != "unavailable" || ready || l.Reason() == "" {
		t.Errorf("without a cluster: %s, %t, %q", state, ready, l.Reason())
	}
	if m := metricsOf(t, l); len(m) != 1 {
		t.Errorf("metrics of a cluster: %v", m)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}
