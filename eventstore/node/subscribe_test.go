package node

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestASubscriptionToAStreamThatIsNotThereYet(t *testing.T) {
	f := start(t, Config{})
	for _, from := range []esdb.StreamPosition{esdb.Start{}, esdb.End{}} {
		stream := fmt.Sprintf("s%T", from)
		sub := f.subscribeStream(stream, esdb.SubscribeToStreamOptions{From: from})
		expectHeard(t, sub, "caught up")
		f.append("other", esdb.Any{}, stream)
		f.append(stream, esdb.NoStream{}, "a", "b")
		expectHeard(t, sub, stream+"@0", stream+"@1")
	}
}

func TestTheConfirmationComesFirst(t *testing.T) {
	f := start(t, Config{})
	populate(f)
	for name, change := range map[string]func(*streams.ReadReq_Options){
		"$all": func(*streams.ReadReq_Options) {}, "a stream": func(o *streams.ReadReq_Options) { o.StreamOption = fromStart("s") },
		"none":             func(o *streams.ReadReq_Options) { o.StreamOption = fromStart("none") },
		"a deleted stream": func(o *streams.ReadReq_Options) { o.StreamOption = fromStart("gone") },
	} {
		call, err := f.raw.Read(f.ctx, readRequest(func(o *streams.ReadReq_Options) {
			o.CountOption = &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
			change(o)
		}))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := call.Recv(); err != nil || m.GetConfirmation().GetSubscriptionId() == "" {
			t.Errorf("%s: first comes %v, %v", name, m, err)
		}
	}
}

func TestASubscriptionLeavesOutItsStart(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a", "b", "c")
	for _, c := range []struct {
		from esdb.StreamPosition
		want []string
	}{
		{esdb.Start{}, []string{"s@0", "s@1", "s@2", "caught up"}}, {esdb.Revision(0), []string{"s@1", "s@2", "caught up"}},
		{esdb.Revision(2), []string{"caught up"}}, {esdb.End{}, []string{"caught up"}},
	} {
		sub := f.subscribeStream("s", esdb.SubscribeToStreamOptions{From: c.from})
		expectHeard(t, sub, c.want...)
	}
	second := f.readAll(esdb.ReadAllOptions{From: esdb.Start{}}, 2)[1].Event.Position
	for _, c := range []struct {
		from esdb.AllPosition
		want []string
	}{
		{esdb.Start{}, []string{"s@0", "s@1", "s@2", "caught up"}}, {second, []string{"s@2", "caught up"}}, {esdb.End{}, []string{"caught up"}},
	} {
		sub := f.subscribe(esdb.SubscribeToAllOptions{From: c.from})
		expectHeard(t, sub, c.want...)
	}
}

// The largest number is how older clients say the end.
func TestASubscriptionFromTheLargestNumberIsFromTheEnd(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a")
	sub := f.subscribeStream("s", esdb.SubscribeToStreamOptions{From: esdb.Revision(math.MaxUint64)})
	all := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.Position{Commit: math.MaxUint64, Prepare: math.MaxUint64}})
	for _, s := range []*esdb.Subscription{sub, all} {
		expectHeard(t, s, "caught up")
	}
	f.append("s", esdb.Any{}, "b")
	for _, s := range []*esdb.Subscription{sub, all} {
		expectHeard(t, s, "s@1")
	}
}

func TestASubscriptionFromBeyondTheEndWaits(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a")
	sub := f.subscribeStream("s", esdb.SubscribeToStreamOptions{From: esdb.Revision(2)})
	all := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.Position{Commit: 3, Prepare: 3}})
	expectHeard(t, sub, "caught up")
	expectHeard(t, all, "caught up")
	f.append("s", esdb.Any{}, "b", "c", "d")
	expectHeard(t, sub, "s@3")
	expectHeard(t, all, "s@3")
}

func TestAFilteredSubscription(t *testing.T) {
	f := start(t, Config{})
	write := func(stream, kind string) {
		e := esdb.EventData{EventID: uuid.New(), EventType: kind}
		if _, err := f.client.AppendToStream(f.ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, e); err != nil {
			t.Fatal(err)
		}
	}
	write("order-1", "placed")
	write("user-1", "joined")
	write("order-1", "paid")
	f.setMeta("order-1", `{}`)
	write("user-1", "left")
	for name, c := range map[string]struct {
		filter *esdb.SubscriptionFilter
		want   []string
	}{
		"type prefix":   {&esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"pa", "jo"}}, []string{"user-1@0", "order-1@1"}},
		"type regex":    {&esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: "ed$"}, []string{"order-1@0", "user-1@0"}},
		"stream prefix": {&esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"order-"}}, []string{"order-1@0", "order-1@1"}},
		"stream regex":  {&esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: "^user|^[$]{2}"}, []string{"user-1@0", "$$order-1@0", "user-1@1"}},
		"no system":     {esdb.ExcludeSystemEventsFilter(), []string{"order-1@0", "user-1@0", "order-1@1", "user-1@1"}},
		"nothing":       {&esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"x"}}, nil},
	} {
		sub := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.Start{}, Filter: c.filter})
		expectHeard(t, sub, append(c.want, "checkpoint 5", "caught up")...)
		t.Log(name)
	}
}

func TestCheckpointsComeWithTheEventsThatWereConsidered(t *testing.T) {
	f := start(t, Config{})
	write := func(n int, kind string) {
		t.Helper()
		var batch []esdb.EventData
		for range n {
			batch = append(batch, esdb.EventData{EventID: uuid.New(), EventType: kind})
		}
		if _, err := f.client.AppendToStream(f.ctx, "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, batch...); err != nil {
			t.Fatal(err)
		}
	}
	write(7, "noise")
	write(1, "wanted")
	write(6, "noise")
	options := esdb.SubscribeToAllOptions{MaxSearchWindow: 2, CheckpointInterval: 3, Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"wanted"}}}
	late := options
	late.From = esdb.End{}
	live := f.subscribe(late)
	expectHeard(t, live, "caught up")
	options.From = esdb.Start{}
	sub := f.subscribe(options)
	expectHeard(t, sub, "checkpoint 6", "s@7", "checkpoint 12", "checkpoint 14", "caught up")
	write(5, "noise")
	write(1, "wanted")
	write(6, "noise")
	write(1, "wanted")
	for _, s := range []*esdb.Subscription{live, sub} {
		expectHeard(t, s, "s@19", "checkpoint 20", "checkpoint 26", "s@26")
	}
	from := options
	from.From = esdb.Position{Commit: 26, Prepare: 26}
	expectHeard(t, f.subscribe(from), "s@26", "checkpoint 27", "caught up")
	from.MaxSearchWindow = esdb.NoMaxSearchWindow
	expectHeard(t, f.subscribe(from), "s@26", "checkpoint 27", "caught up")
}

func TestATombstoneEndsASubscription(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a")
	sub := f.subscribeStream("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	all := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.End{}})
	expectHeard(t, sub, "s@0", "caught up")
	expectHeard(t, all, "caught up")
	f.tombstone("s")
	expectHeard(t, sub, "s@"+itoa(math.MaxInt64))
	if e := sub.Recv(); e.SubscriptionDropped == nil || status.Code(e.SubscriptionDropped.Error) != codes.FailedPrecondition {
		t.Errorf("then comes %+v", e)
	}
	for _, from := range []esdb.StreamPosition{esdb.Start{}, esdb.End{}, esdb.Revision(0)} {
		for _, stream := range []string{"s", "$$s"} {
			if _, err := f.client.SubscribeToStream(f.ctx, stream, esdb.SubscribeToStreamOptions{From: from}); code(err) != esdb.ErrorCodeStreamDeleted {
				t.Errorf("a new one to %s from %T gets %v", stream, from, err)
			}
		}
	}
	never := f.subscribeStream("never", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	expectHeard(t, never, "caught up")
	f.tombstone("never")
	expectHeard(t, never, "never@"+itoa(math.MaxInt64))
	if e := never.Recv(); e.SubscriptionDropped == nil || status.Code(e.SubscriptionDropped.Error) != codes.FailedPrecondition {
		t.Errorf("to a stream that only a tombstone is in, then comes %+v", e)
	}
	f.append("other", esdb.Any{}, "x")
	expectHeard(t, all, "s@"+itoa(math.MaxInt64), "never@"+itoa(math.MaxInt64), "other@0")
}

func TestADeletionDoesNotEndASubscription(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a", "b")
	before := f.subscribeStream("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	expectHeard(t, before, "s@0", "s@1", "caught up")
	f.delete("s")
	after := f.subscribeStream("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	expectHeard(t, after, "caught up")
	f.append("s", esdb.Any{}, "c")
	expectHeard(t, before, "s@2")
	expectHeard(t, after, "s@2")
}

// A catch-up reads what the metadata leaves; live, every event comes.
func TestALiveSubscriptionMissesNoEventThatALaterOnePushesOut(t *testing.T) {
	f := start(t, Config{})
	f.setMeta("s", `{"$maxCount":2}`)
	f.append("s", esdb.Any{}, "a", "b", "c")
	sub := f.subscribeStream("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	expectHeard(t, sub, "s@1", "s@2", "caught up")
	meta := f.subscribeStream("$$s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	expectHeard(t, meta, "$$s@0", "caught up")
	f.append("s", esdb.Any{}, strings.Split("defghij", "")...)
	for i := 3; i < 10; i++ {
		expectHeard(t, sub, "s@"+itoa(uint64(i)))
	}
	for range 5 {
		f.setMeta("s", `{}`)
	}
	for i := 1; i < 6; i++ {
		expectHeard(t, meta, "$$s@"+itoa(uint64(i)))
	}
}

// Whoever does not read holds up nobody, misses nothing, and is told again when
// it has everything.
func TestASlowSubscriberFallsBehindAndCatchesUp(t *testing.T) {
	f := start(t, Config{})
	slow := map[string]*esdb.Subscription{
		"$all":     f.subscribe(esdb.SubscribeToAllOptions{From: esdb.End{}}),
		"filtered": f.subscribe(esdb.SubscribeToAllOptions{From: esdb.End{}, Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"s"}}, CheckpointInterval: 10_000}),
		"stream":   f.subscribeStream("s", esdb.SubscribeToStreamOptions{From: esdb.End{}}),
	}
	for _, s := range slow {
		expectHeard(t, s, "caught up")
	}
	const batches, size = 60, 100 // of 1 KiB: beyond every buffer on the way
	quick := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.End{}})
	expectHeard(t, quick, "caught up")
	for b := range batches {
		batch := make([]esdb.EventData, size)
		for i := range batch {
			batch[i] = esdb.EventData{EventID: uuid.New(), EventType: "t", Data: make([]byte, 1<<10)}
		}
		if _, err := f.client.AppendToStream(f.ctx, "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, batch...); err != nil {
			t.Fatal(err)
		}
		for i := range size {
			expectHeard(t, quick, "s@"+itoa(uint64(b*size+i)))
		}
	}
	for name, s := range slow {
		next := uint64(0)
		for next < batches*size {
			switch h := heard(s); {
			case h == "caught up" || strings.HasPrefix(h, "checkpoint"): // while its buffers still took all
			case h == "s@"+itoa(next):
				next++
			default:
				t.Fatalf("%s: heard %q, want revision %d", name, h, next)
			}
		}
		for heard(s) != "caught up" {
		}
	}
}

func TestClosingTheNodeEndsSubscriptions(t *testing.T) {
	f := start(t, Config{})
	subs := []*esdb.Subscription{f.subscribe(esdb.SubscribeToAllOptions{}), f.subscribeStream("s", esdb.SubscribeToStreamOptions{})}
	for _, s := range subs {
		expectHeard(t, s, "caught up")
	}
	f.stop()
	for _, s := range subs {
		if e := s.Recv(); e.SubscriptionDropped == nil || status.Code(e.SubscriptionDropped.Error) != codes.Unavailable {
			t.Errorf("the subscription got %+v", e)
		}
	}
}

func TestASubscriptionThatResolvesLinksLive(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a")
	sub := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.End{}, ResolveLinkTos: true})
	expectHeard(t, sub, "caught up")
	if _, err := f.client.AppendToStream(f.ctx, "l", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, link("l", "0@s")); err != nil {
		t.Fatal(err)
	}
	e := sub.Recv().EventAppeared
	if e == nil || e.Link == nil || e.Link.StreamID != "l" || e.Event == nil || e.Event.StreamID != "s" {
		t.Errorf("the subscription got %+v", e)
	}
}
