package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"latchkey/eventstore"
	"latchkey/eventstore/node"
)

// logState is the state of the log for readiness and metrics: whether it responds,
// accepts writes and keeps its subscriptions.
type logState struct {
	client *eventstore.Client
	node   *grpc.ClientConn // nil if the log is an EventStoreDB, which has no such status
	reason atomic.Pointer[string]
}

// refusedFor is how long a refused append counts against the log of an EventStoreDB,
// which does not report its own state. It must end, as nothing is appended to a log that
// is not ready.
const refusedFor = 30 * time.Second

// statusWithin bounds how long metrics wait for the node.
const statusWithin = time.Second

// newLogState returns the state of the log at a target.
func newLogState(client *eventstore.Client, target string) (*logState, error) {
	l := &logState{client: client}
	if !strings.HasPrefix(target, "unix://") {
		return l, nil
	}
	var err error
	if l.node, err = grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, fmt.Errorf("requesting the node's status: %w", err)
	}
	return l, nil
}

// State returns the component's state in a word, and whether it is ready.
func (l *logState) State(ctx context.Context) (state string, ready bool) {
	state, reason := l.look(ctx)
	l.reason.Store(&reason)
	return state, reason == ""
}

// Reason returns why the log was not ready when State was last called.
func (l *logState) Reason() string {
	if r := l.reason.Load(); r != nil {
		return *r
	}
	return ""
}

// look returns the state of the log, and the reason if it is not ready.
func (l *logState) look(ctx context.Context) (state, reason string) {
	if err := l.client.Ping(ctx); err != nil {
		if h := l.client.Health(); !h.Connected && !h.Since.IsZero() {
			return "unavailable", "The log has not answered since " + clock(h.Since) + "."
		}
		return "unavailable", "The log does not answer."
	}
	st, known, err := l.status(ctx)
	switch {
	case err != nil:
		return "unavailable", "The node of the log does not say how it is."
	case known && !st.Writable && st.Reserved:
		return "read_only", "The log takes only what takes something away: " + st.Reason + "."
	case known && !st.Writable:
		return "read_only", "The log takes no writes: " + st.Reason + "."
	case known && st.Reason != "":
		return "damaged", "The log works in part: " + st.Reason + "."
	}
	h := l.client.Health()
	for _, s := range h.Subscriptions {
		if s.Dropping() {
			return "dropping", fmt.Sprintf("The log has dropped the subscription of %s %d times since %s: %s.", s.Name, s.Row, clock(s.Since), s.LastError)
		}
	}
	if !known && h.Refused != "" && time.Since(h.RefusedAt) < refusedFor {
		return "refusing", "The log did not take what was last written: " + h.Refused + "."
	}
	return "ok", ""
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// status queries the embedded node; known is false if the log is not one, or is from an
// older build.
func (l *logState) status(ctx context.Context) (st node.Status, known bool, err error) {
	if l.node == nil {
		return node.Status{}, false, nil
	}
	st, err = node.ReadStatus(ctx, l.node)
	if errors.Is(err, node.ErrNoStatus) {
		return node.Status{}, false, nil
	}
	return st, err == nil, err
}

func (l *logState) close() error {
	if l.node == nil {
		return nil
	}
	if err := l.node.Close(); err != nil {
		return fmt.Errorf("closing the connection for the node's status: %w", err)
	}
	return nil
}

var (
	logConnected = prometheus.NewDesc("latchkey_log_connected", "1 while there is a connection on which the log answers, else 0.", nil, nil)
	logWritable  = prometheus.NewDesc("latchkey_log_writable", "1 while the embedded node takes writes, else 0; also while it does not say. Missing for an EventStoreDB.", nil, nil)
	logReserved  = prometheus.NewDesc("latchkey_log_reserve_writable", "1 while the embedded node takes writes that take something away, else 0.", nil, nil)
	logDiskFree  = prometheus.NewDesc("latchkey_log_disk_free_bytes", "Free space on the disk of the embedded node, without its reserve.", nil, nil)
	logDiskLeast = prometheus.NewDesc("latchkey_log_disk_least_bytes", "Free space below which the embedded node refuses ordinary writes.", nil, nil)
	logDrops     = prometheus.NewDesc("latchkey_subscription_drops_total", "How often the log dropped a subscription.", []string{"subscription"}, nil)
	logDropping  = prometheus.NewDesc("latchkey_subscription_dropping", "1 while a subscription is dropped again and again, else 0.", []string{"subscription"}, nil)
)

// Describe implements prometheus.Collector.
func (l *logState) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{logConnected, logWritable, logReserved, logDiskFree, logDiskLeast, logDrops, logDropping} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (l *logState) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	h := l.client.Health()
	gauge(logConnected, flag(h.Connected))
	for name, n := range h.Drops {
		out <- prometheus.MustNewConstMetric(logDrops, prometheus.CounterValue, float64(n), name)
	}
	for name, dropping := range droppingByName(h) {
		gauge(logDropping, flag(dropping), name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusWithin)
	defer cancel()
	st, known, err := l.status(ctx)
	if !known && err == nil {
		return
	}
	gauge(logWritable, flag(st.Writable))
	gauge(logReserved, flag(st.Reserved))
	if err == nil && st.DiskLeast > 0 {
		gauge(logDiskFree, float64(st.DiskFree))
		gauge(logDiskLeast, float64(st.DiskLeast))
	}
}

// droppingByName merges the subscriptions with the same name, as a metric must be unique.
func droppingByName(h eventstore.Health) map[string]bool {
	names := map[string]bool{}
	for _, s := range h.Subscriptions {
		names[s.Name] = names[s.Name] || s.Dropping()
	}
	return names
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
