package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections/access"

	"github.com/google/uuid"
)

// tableSource is an in-memory read model, as the index loads it.
type tableSource struct{ grants []grant }

func accountID(n uint32) ids.Account {
	return ids.Account(fmt.Sprintf("0190a000-0000-7000-8000-%012x", n))
}

func deviceID(n uint32) ids.Device {
	return ids.Device("cam-" + strconv.FormatUint(uint64(n)+1_000_000_000, 36))
}

// LoadPrivileges loads the rows; number 0 is unused. Every device has its own owner.
func (s tableSource) LoadPrivileges(_ context.Context, l access.Loader) (eventstore.Position, eventstore.Mark, error) {
	for _, g := range s.grants {
		l.Grant(g.account+1, g.device+1, uint16(g.channel), g.mask)
	}
	accounts, devices := map[uint32]bool{}, map[uint32]bool{}
	const owner = 1 << 23
	l.Account(owner, accountID(owner))
	for _, g := range s.grants {
		if !accounts[g.account] {
			accounts[g.account] = true
			l.Account(g.account+1, accountID(g.account))
		}
		if !devices[g.device] {
			devices[g.device] = true
			l.Device(g.device+1, deviceID(g.device), owner, true)
		}
	}
	return 0, eventstore.Mark{}, nil
}

// feed is a log with the events it is fed.
type feed struct {
	events chan []eventstore.Recorded
	head   atomic.Uint64
}

func (f *feed) Subscribe(ctx context.Context, _ eventstore.Position, _ string, h eventstore.Handler) error {
	for {
		select {
		case batch := <-f.events:
			if err := h.Events(batch); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *feed) Tail(context.Context, int, func(eventstore.Recorded) bool) error { return nil }

func (f *feed) Identity(context.Context) (eventstore.Identity, error) {
	return eventstore.Identity{}, eventstore.ErrNoIdentity
}

func (f *feed) Holds(context.Context, eventstore.Mark) error { return nil }

func (f *feed) record(e event.Event) (eventstore.Recorded, error) {
	name, data, err := catalogue.Encode(e)
	return eventstore.Recorded{ID: uuid.New(), Position: eventstore.Position(f.head.Add(1)), Type: name, Data: data}, err
}

// liveIndex loads the grants and waits until the index is live.
func liveIndex(ctx context.Context, list []grant) (*access.Index, *feed, error) {
	f := &feed{events: make(chan []eventstore.Recorded)}
	x, err := access.New(access.Config{Source: tableSource{list}, Log: f, MaxStaleness: time.Hour})
	if err != nil {
		return nil, nil, err
	}
	if err := untilLive(ctx, x); err != nil {
		return nil, nil, err
	}
	return x, f, nil
}

// untilLive runs an index until the context ends, and returns when it is live.
func untilLive(ctx context.Context, x *access.Index) error {
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	for x.Health().State != "live" {
		select {
		case err := <-done:
			return fmt.Errorf("the index ended: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func benchCheck(b *bench) error {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	list := grants(b.scaled(1_000_000))
	qs := questions(list, 1<<20)
	packed := newPackedTable(list)
	before := heap()
	x, f, err := liveIndex(ctx, list)
	if err != nil {
		return err
	}
	each := float64(int64(heap())-int64(before)) / float64(len(list))
	now := time.Now()
	wrong := 0
	for _, q := range qs[:100_000] {
		if (x.Check(accountID(q.account), deviceID(q.device), int(q.channel), 1<<q.bit, now) == access.Allowed) != packed.check(q) {
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of 100000 answers differ from the packed table's", wrong)
	}
	held, uses := permits(x, packed, qs)
	rounds := b.scaled(10)
	var bares, permitted, ratios []float64
	warm := func(check func(int, question) bool) float64 { // each has the caches for itself
		perCheck(uses, 1, check)
		return perCheck(uses, 2, check)
	}
	for range rounds { // in turns, as the machine may have other things to do
		bares = append(bares, warm(func(_ int, q question) bool { return packed.check(q) }))
		permitted = append(permitted, warm(func(i int, _ question) bool { return held[i].Check(now) == access.Allowed }))
		ratios = append(ratios, permitted[len(permitted)-1]/bares[len(bares)-1])
	}
	bare, ours := median(bares), median(permitted)
	named := perCheck(qs[:1<<17], rounds, func(_ int, q question) bool {
		return x.Check(accountID(q.account), deviceID(q.device), int(q.channel), 1<<q.bit, now) == access.Allowed
	})
	b.add("privilege check, through a permit", fmt.Sprintf("%.0f ns", ours), fmt.Sprintf("packed table %.0f ns", bare), median(ratios), "at most 1.5")
	b.add("privilege check, by name", fmt.Sprintf("%.0f ns", named), fmt.Sprintf("packed table %.0f ns", bare), named/bare, "")
	check, acquire := singly(x, held, uses, now)
	b.add("privilege check, through a permit, p99 with the clock", check.String(), "1 µs", check.Seconds()*1e6, "at most 1")
	b.add("acquiring a permit by name, p99 with the clock", acquire.String(), "1 µs", acquire.Seconds()*1e6, "at most 1")
	b.add(fmt.Sprintf("memory a grant at %d grants", len(list)), fmt.Sprintf("%.1f B", each), "24 B", each/24, "at most 1")
	runtime.KeepAlive(packed)
	return eventToDenial(b, x, f)
}

var sink atomic.Int64

func perCheck(qs []question, rounds int, check func(int, question) bool) float64 {
	yes := 0
	began := time.Now()
	for range rounds {
		for i, q := range qs {
			if check(i, q) {
				yes++
			}
		}
	}
	took := time.Since(began)
	sink.Add(int64(yes))
	return float64(took.Nanoseconds()) / float64(rounds*len(qs))
}

// permits acquires a permit for each question with a positive answer.
func permits(x *access.Index, packed *packedTable, qs []question) (held []*access.Permit, uses []question) {
	for _, q := range qs {
		if !packed.check(q) {
			continue
		}
		if p, v := x.Acquire(useOf(q), func(access.Reason) {}); v == access.Allowed {
			held, uses = append(held, p), append(uses, q)
		}
	}
	return held, uses
}

func useOf(q question) access.Use {
	return access.Use{
		Subject: access.Subject{Account: accountID(q.account)},
		Device:  deviceID(q.device), Channel: int(q.channel), Privilege: 1 << q.bit,
	}
}

// singly returns the p99 of one check, and of one permit acquired.
func singly(x *access.Index, held []*access.Permit, uses []question, now time.Time) (check, acquire time.Duration) {
	n := min(200_000, len(held))
	checks, acquired := make([]time.Duration, 0, n), make([]time.Duration, 0, n)
	for i := range n {
		t := time.Now()
		v := held[i].Check(now)
		checks = append(checks, time.Since(t))
		sink.Add(int64(v))
	}
	for i := range n {
		use := useOf(uses[i])
		t := time.Now()
		p, _ := x.Acquire(use, func(access.Reason) {})
		acquired = append(acquired, time.Since(t))
		p.Release()
	}
	return percentile(checks, 0.99), percentile(acquired, 0.99)
}

// eventToDenial measures the time from just before an event that revokes is passed to the
// index, until a continuously polling reader is first denied.
func eventToDenial(b *bench, x *access.Index, f *feed) error {
	owner, guest := accountID(1<<22), accountID(1<<22+1)
	added, err := f.record(device.Added{Device: "bench-cam", Serial: "bench-cam", Generation: 1, Owner: string(owner), Channels: []device.Channel{{Channel: 1, Capabilities: privilege.All}}})
	if err != nil {
		return err
	}
	f.events <- []eventstore.Recorded{added}
	var ds []time.Duration
	for range b.scaled(2000) {
		given, err := f.record(share.Accepted{Share: "s", Owner: string(owner), Account: string(guest), Device: "bench-cam", Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView}}})
		if err != nil {
			return err
		}
		f.events <- []eventstore.Recorded{given}
		if err := x.WaitFor(b.ctx, given.Position); err != nil {
			return err
		}
		taken, err := f.record(share.Left{Share: "s", Owner: string(owner), Account: string(guest), Device: "bench-cam"})
		if err != nil {
			return err
		}
		denied := make(chan time.Time, 1)
		asking := make(chan struct{})
		permit, _ := x.Acquire(access.Use{
			Subject: access.Subject{Account: guest}, Device: "bench-cam", Channel: 1, Privilege: privilege.LiveView,
		}, func(access.Reason) {})
		go func() {
			defer permit.Release()
			close(asking)
			for permit.Check(time.Now()) == access.Allowed {
			}
			denied <- time.Now()
		}()
		<-asking
		time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
		began := time.Now()
		f.events <- []eventstore.Recorded{taken}
		ds = append(ds, (<-denied).Sub(began))
	}
	p99 := percentile(ds, 0.99)
	b.add("from the event to the denial, p50", percentile(ds, 0.5).String(), "100 µs", percentile(ds, 0.5).Seconds()*1e4, "")
	b.add("from the event to the denial, p99", p99.String(), "100 µs", p99.Seconds()*1e4, "at most 1")
	return nil
}
