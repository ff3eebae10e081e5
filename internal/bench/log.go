package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"latchkey/eventstore/node"
)

const eventSize = 250 // bytes of data, as in the table of the real EventStoreDB

func newEvent() esdb.EventData {
	return esdb.EventData{
		EventID: uuid.New(), EventType: "bench.happened.v1", ContentType: esdb.ContentTypeBinary,
		Data: make([]byte, eventSize), Metadata: []byte(`{"correlation":"0123456789"}`),
	}
}

// floor is a bare file that is synced after each write: no log on this disk can be faster
// sequentially.
func (b *bench) floor(batch int) (rate float64, p50 time.Duration, err error) {
	f, err := os.CreateTemp(b.dir, "floor-")
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	buf := make([]byte, (eventSize+150)*batch)
	n := b.scaled(5000)
	if batch > 1 {
		n = b.scaled(500)
	}
	each := make([]time.Duration, 0, n)
	began := time.Now()
	for range n {
		t := time.Now()
		if _, err := f.Write(buf); err != nil {
			return 0, 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, 0, err
		}
		each = append(each, time.Since(t))
	}
	return perSecond(n*batch, time.Since(began)), percentile(each, 0.5), nil
}

// nodeUnderTest is an embedded node with the real client.
type nodeUnderTest struct {
	node   *node.Node
	client *esdb.Client
	served chan error
}

func (b *bench) startNode(name string, noSync bool) (*nodeUnderTest, error) {
	dir := filepath.Join(b.dir, name)
	n, err := node.Open(node.Config{Dir: dir, NoSync: noSync})
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(b.dir, name+".sock")
	l, err := node.Listen(socket)
	if err != nil {
		return nil, err
	}
	t := &nodeUnderTest{node: n, served: make(chan error, 1)}
	go func() { t.served <- n.Serve(l) }()
	t.client, err = esdb.NewClient(&esdb.Configuration{
		Address: "unix://" + socket, DisableTLS: true, Logger: esdb.NoopLogging(), MaxDiscoverAttempts: 10, DiscoveryInterval: 100, GossipTimeout: 5,
		KeepAliveInterval: 10 * time.Second, KeepAliveTimeout: 10 * time.Second,
	})
	return t, err
}

func (t *nodeUnderTest) close() error {
	err := errors.Join(t.client.Close(), t.node.Close())
	<-t.served
	return err
}

// The real EventStoreDB 24.6.0 on the same kind of machine, as multiples of the
// floor of that run (979/s was 0.21 of it).
const (
	realFloor  = 979 / 0.21      // single writes a second
	realFloor2 = 33_100 / 0.12   // events a second in writes of 100
	realOne    = 979 / realFloor //nolint:revive // a table
	realBatch  = 33_100 / realFloor2
	real8      = 4_140 / realFloor
	real64     = 9_390 / realFloor
	realRead   = 87_900 / realFloor
	realLoad   = 0.52e-3 * realFloor
	realAll    = 59_100 / realFloor
	realLive   = 0.97e-3 * realFloor
)

func benchLog(b *bench) error {
	floor, _, err := b.floor(1)
	if err != nil {
		return err
	}
	floor100, _, err := b.floor(100)
	if err != nil {
		return err
	}
	b.add("floor: write and sync", fmt.Sprintf("%.0f/s", floor), "itself", 1, "")
	b.add("floor: write and sync, 100 events", fmt.Sprintf("%.0f events/s", floor100), "itself", 1, "")
	n, err := b.startNode("synced", false)
	if err != nil {
		return err
	}
	defer n.close()
	if _, err := n.appendMany(b.ctx, "warm", 1, b.scaled(500), 1); err != nil {
		return err
	}
	if err := b.appendRows(n, floor, floor100); err != nil {
		return err
	}
	return b.readRows(n, floor)
}

func (b *bench) appendRows(n *nodeUnderTest, floor, floor100 float64) error {
	// The floor is measured again right before, as the disk's speed drifts.
	rate, err := n.appendMany(b.ctx, "one", 1, b.scaled(5000), 1)
	if err != nil {
		return err
	}
	b.add("append, 1 caller", fmt.Sprintf("%.0f/s", rate), fmt.Sprintf("floor %.0f/s", floor), rate/floor, fmt.Sprintf("0.4; real EventStoreDB %.2f", realOne))
	if rate, err = n.appendMany(b.ctx, "batch", 1, b.scaled(500), 100); err != nil {
		return err
	}
	b.add("append, 1 caller x 100", fmt.Sprintf("%.0f events/s", rate), fmt.Sprintf("floor x 100 %.0f/s", floor100), rate/floor100, fmt.Sprintf("real EventStoreDB %.2f", realBatch))
	if rate, err = n.appendMany(b.ctx, "eight", 8, b.scaled(20000), 1); err != nil {
		return err
	}
	b.add("append, 8 callers", fmt.Sprintf("%.0f/s", rate), fmt.Sprintf("floor %.0f/s", floor), rate/floor, fmt.Sprintf("real EventStoreDB %.2f", real8))
	synced, err := n.appendMany(b.ctx, "many", 64, b.scaled(60000), 1)
	if err != nil {
		return err
	}
	b.add("append, 64 callers", fmt.Sprintf("%.0f/s", synced), fmt.Sprintf("floor %.0f/s", floor), synced/floor, fmt.Sprintf("real EventStoreDB %.2f", real64))

	free, err := b.startNode("unsynced", true)
	if err != nil {
		return err
	}
	defer free.close()
	if _, err := free.appendMany(b.ctx, "warm", 1, b.scaled(500), 1); err != nil {
		return err
	}
	unsynced, err := free.appendMany(b.ctx, "many", 64, b.scaled(60000), 1)
	if err != nil {
		return err
	}
	b.add("append, 64 callers", fmt.Sprintf("%.0f/s", synced), fmt.Sprintf("the node without its disk %.0f/s", unsynced), synced/unsynced, "0.5")
	pg, err := b.postgresAppend(64)
	if err != nil {
		return err
	}
	b.add("append, 64 callers", fmt.Sprintf("%.0f/s", synced), fmt.Sprintf("PostgreSQL function %.0f/s", pg), synced/pg, "2")
	return nil
}

// appendMany lets callers append n events in all, batch of them at a time, each to its
// own stream at the exact revision.
func (t *nodeUnderTest) appendMany(ctx context.Context, name string, callers, n, batch int) (float64, error) {
	var wg sync.WaitGroup
	errs := make([]error, callers)
	began := time.Now()
	for c := range callers {
		wg.Go(func() { errs[c] = t.appendTo(ctx, fmt.Sprintf("%s-%d", name, c), n/callers, batch) })
	}
	wg.Wait()
	return perSecond(n/callers*callers*batch, time.Since(began)), errors.Join(errs...)
}

func (t *nodeUnderTest) appendTo(ctx context.Context, stream string, n, batch int) error {
	events := make([]esdb.EventData, batch)
	for i := range n {
		for j := range events {
			events[j] = newEvent()
		}
		var expected esdb.ExpectedRevision = esdb.NoStream{}
		if i > 0 {
			expected = esdb.Revision(uint64(i*batch - 1))
		}
		if _, err := t.client.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, events...); err != nil {
			return fmt.Errorf("appending to %s: %w", stream, err)
		}
	}
	return nil
}

func (b *bench) readRows(n *nodeUnderTest, floor float64) error {
	total := b.scaled(500) * 100
	began := time.Now()
	k, err := n.read(b.ctx, "batch-0", uint64(total))
	if err != nil || k != total {
		return fmt.Errorf("read %d of %d events: %w", k, total, err)
	}
	rate := perSecond(k, time.Since(began))
	b.add("read a stream", fmt.Sprintf("%.0f events/s", rate), fmt.Sprintf("floor %.0f/s", floor), rate/floor, fmt.Sprintf("real EventStoreDB %.1f", realRead))

	var each []time.Duration
	for range b.scaled(1000) {
		t := time.Now()
		if _, err := n.read(b.ctx, "batch-0", 20); err != nil {
			return err
		}
		each = append(each, time.Since(t))
	}
	p50 := percentile(each, 0.5)
	b.add("load a stream of 20, p50", p50.Round(time.Microsecond).String(), fmt.Sprintf("floor %.0f µs", 1e6/floor), p50.Seconds()*floor, fmt.Sprintf("less than real EventStoreDB %.2f", realLoad))

	sub, err := n.client.SubscribeToAll(b.ctx, esdb.SubscribeToAllOptions{From: esdb.Start{}, Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"batch-"}}})
	if err != nil {
		return err
	}
	began = time.Now()
	if err := receive(sub, total); err != nil {
		return err
	}
	rate = perSecond(total, time.Since(began))
	sub.Close()
	b.add("catch-up on $all, filtered", fmt.Sprintf("%.0f events/s", rate), fmt.Sprintf("floor %.0f/s", floor), rate/floor, fmt.Sprintf("real EventStoreDB %.1f", realAll))
	return b.liveRow(n, floor)
}

func (b *bench) liveRow(n *nodeUnderTest, floor float64) error {
	sub, err := n.client.SubscribeToAll(b.ctx, esdb.SubscribeToAllOptions{From: esdb.End{}, Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"live-"}}})
	if err != nil {
		return err
	}
	defer sub.Close()
	var each []time.Duration
	for range b.scaled(1000) {
		t := time.Now()
		if _, err := n.client.AppendToStream(b.ctx, "live-0", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, newEvent()); err != nil {
			return err
		}
		if err := receive(sub, 1); err != nil {
			return err
		}
		each = append(each, time.Since(t))
	}
	p50 := percentile(each, 0.5)
	b.add("append and live delivery, p50", p50.Round(time.Microsecond).String(), fmt.Sprintf("floor %.0f µs", 1e6/floor), p50.Seconds()*floor, fmt.Sprintf("less than real EventStoreDB %.2f", realLive))
	return nil
}

func receive(sub *esdb.Subscription, n int) error {
	for n > 0 {
		e := sub.Recv()
		if e.SubscriptionDropped != nil {
			return e.SubscriptionDropped.Error
		}
		if e.EventAppeared != nil {
			n--
		}
	}
	return nil
}

func (t *nodeUnderTest) read(ctx context.Context, stream string, n uint64) (int, error) {
	s, err := t.client.ReadStream(ctx, stream, esdb.ReadStreamOptions{}, n)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for k := 0; ; k++ {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return k, nil
		} else if err != nil {
			return k, err
		}
	}
}

// appendFunction locks the stream, compares the revision and inserts.
const appendFunction = `
CREATE TABLE messages (pos bigserial PRIMARY KEY, id uuid NOT NULL UNIQUE, stream text NOT NULL, version bigint NOT NULL,
	type text NOT NULL, data bytea NOT NULL, at timestamptz NOT NULL DEFAULT now(), UNIQUE (stream, version));
CREATE FUNCTION append_message(i uuid, s text, expected bigint, t text, d bytea) RETURNS bigint AS $$
DECLARE v bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended(s, 0));
	SELECT coalesce(max(version), -1) INTO v FROM messages WHERE stream = s;
	IF v <> expected THEN RAISE EXCEPTION 'wrong expected version %', expected; END IF;
	INSERT INTO messages (id, stream, version, type, data) VALUES (i, s, v + 1, t, d);
	RETURN v + 1;
END; $$ LANGUAGE plpgsql;`

// postgresAppend does the same with one function call per event.
func (b *bench) postgresAppend(callers int) (float64, error) {
	pg, err := startPostgres(b)
	if err != nil {
		return 0, err
	}
	defer pg.stop()
	cfg, err := pgxpool.ParseConfig(pg.dsn)
	if err != nil {
		return 0, err
	}
	cfg.MaxConns = int32(callers)
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if _, err := pool.Exec(b.ctx, appendFunction); err != nil {
		return 0, err
	}
	n := b.scaled(20000) / callers
	errs := make([]error, callers)
	var wg sync.WaitGroup
	began := time.Now()
	for c := range callers {
		wg.Go(func() {
			for i := range n {
				var out int64
				errs[c] = pool.QueryRow(b.ctx, "SELECT append_message($1,$2,$3,$4,$5)", uuid.New(), fmt.Sprintf("many-%d", c), int64(i)-1, "bench.happened.v1", make([]byte, eventSize)).Scan(&out)
				if errs[c] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return perSecond(n*callers, time.Since(began)), errors.Join(errs...)
}
