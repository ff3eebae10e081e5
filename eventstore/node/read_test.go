package node

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestAStreamIsReadFromItsRevisionBothWays(t *testing.T) {
	f := start(t, Config{})
	f.append("other", esdb.Any{}, "x")
	f.append("s", esdb.NoStream{}, "a", "b", "c")
	f.append("other", esdb.Any{}, "y")
	f.append("s", esdb.Any{}, "d")
	for _, c := range []struct {
		from      esdb.StreamPosition
		direction esdb.Direction
		count     uint64
		want      string
	}{
		{esdb.Start{}, esdb.Forwards, many, "0 1 2 3"}, {esdb.Start{}, esdb.Forwards, 2, "0 1"}, {esdb.Revision(2), esdb.Forwards, many, "2 3"},
		{esdb.Revision(3), esdb.Forwards, many, "3"}, {esdb.Revision(4), esdb.Forwards, many, ""}, {esdb.End{}, esdb.Forwards, many, ""},
		{esdb.End{}, esdb.Backwards, many, "3 2 1 0"}, {esdb.End{}, esdb.Backwards, 1, "3"}, {esdb.Revision(2), esdb.Backwards, many, "2 1 0"},
		{esdb.Revision(2), esdb.Backwards, 2, "2 1"}, {esdb.Revision(0), esdb.Backwards, many, "0"}, {esdb.Start{}, esdb.Backwards, many, "0"},
		{esdb.Revision(9), esdb.Backwards, many, "3 2 1 0"}, {esdb.Revision(9), esdb.Forwards, many, ""}, {esdb.Start{}, esdb.Forwards, 0, ""},
	} {
		read, err := f.readStream("s", esdb.ReadStreamOptions{From: c.from, Direction: c.direction}, c.count)
		if got := numbers(read); err != nil || got != c.want {
			t.Errorf("%d from %T%v in direction %d: %q, want %q: %v", c.count, c.from, c.from, c.direction, got, c.want, err)
		}
	}
}

func TestAStreamThatIsNotThereIsNotFound(t *testing.T) {
	f := start(t, Config{})
	populate(f)
	for _, stream := range []string{"none", "gone", "meta", "$$none", "$$s"} {
		if got := f.revisions(stream); got != "not found" {
			t.Errorf("%s has %s", stream, got)
		}
	}
	for _, stream := range []string{"dead", "$$dead"} {
		if got := f.revisions(stream); got != "deleted" {
			t.Errorf("%s has %s", stream, got)
		}
	}
	got, err := f.received(readRequest(func(o *streams.ReadReq_Options) { o.StreamOption = fromStart("none") }))
	if err != nil || len(got) != 1 || string(got[0].GetStreamNotFound().GetStreamIdentifier().GetStreamName()) != "none" {
		t.Errorf("a missing stream is told by %v, %v", got, err)
	}
	call, err := f.raw.Read(f.ctx, readRequest(func(o *streams.ReadReq_Options) { o.StreamOption = fromStart("dead") }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = call.Recv()
	expectRefusal(t, err, call.Trailer(), codes.FailedPrecondition, map[string]string{"exception": "stream-deleted", "stream-name": "dead"})
}

func fromStart(stream string) *streams.ReadReq_Options_Stream {
	return &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{StreamIdentifier: named(stream),
		RevisionOption: &streams.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}}}
}

func TestAllIsReadWithItsPositionForwardsAndWithoutItBackwards(t *testing.T) {
	f := start(t, Config{})
	first := f.append("a", esdb.Any{}, "a0")
	f.setMeta("a", `{"mine":1}`)
	third := f.append("b", esdb.Any{}, "b0", "b1")
	f.tombstone("a")
	whole := "a@0 $$a@0 b@0 b@1 a@" + itoa(math.MaxInt64)
	at := func(w *esdb.WriteResult) esdb.Position {
		return esdb.Position{Commit: w.CommitPosition, Prepare: w.PreparePosition}
	}
	for _, c := range []struct {
		from      esdb.AllPosition
		direction esdb.Direction
		count     uint64
		want      string
	}{
		{esdb.Start{}, esdb.Forwards, many, whole}, {esdb.Start{}, esdb.Forwards, 2, "a@0 $$a@0"},
		{at(first), esdb.Forwards, 1, "a@0"}, {at(third), esdb.Forwards, 1, "b@1"}, {esdb.End{}, esdb.Forwards, many, ""},
		{esdb.Position{Commit: 1 << 40, Prepare: 1 << 40}, esdb.Forwards, many, ""},
		{esdb.End{}, esdb.Backwards, 2, "a@" + itoa(math.MaxInt64) + " b@1"}, {at(third), esdb.Backwards, many, "b@0 $$a@0 a@0"},
		{at(first), esdb.Backwards, many, ""}, {esdb.Start{}, esdb.Backwards, many, ""}, {esdb.Start{}, esdb.Forwards, 0, ""},
	} {
		var got []string
		for _, e := range f.readAll(esdb.ReadAllOptions{From: c.from, Direction: c.direction}, c.count) {
			got = append(got, e.Event.StreamID+"@"+itoa(e.Event.EventNumber))
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%d from %T%v in direction %d: %q, want %q", c.count, c.from, c.from, c.direction, got, c.want)
		}
	}
}

// More than one block, with events of all sizes, in memory and from the files.
func TestLongReads(t *testing.T) {
	f := start(t, Config{})
	const total = 3*blockCount + 7
	for i := 0; i < total; {
		var batch []esdb.EventData
		for ; len(batch) < 100 && i < total; i++ {
			e := event1(fmt.Sprint(i))
			if i%50 == 0 {
				e.Data = make([]byte, 2*recentMaxSize) // not kept in memory
			}
			batch = append(batch, e)
		}
		if _, err := f.client.AppendToStream(f.ctx, "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, batch...); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, read []*esdb.ResolvedEvent, err error, number func(i int) int) {
		t.Helper()
		if err != nil || len(read) != total {
			t.Fatalf("%s gives %d events: %v", what, len(read), err)
		}
		for i, e := range read {
			if want := uint64(number(i)); e.Event.EventNumber != want || e.Event.EventID != id(itoa(want)) {
				t.Fatalf("%s gives revision %d at %d", what, e.Event.EventNumber, i)
			}
		}
	}
	same := func(i int) int { return i }
	reverse := func(i int) int { return total - 1 - i }
	for range 2 {
		read, err := f.readStream("s", esdb.ReadStreamOptions{From: esdb.Start{}}, many)
		check("the stream", read, err, same)
		read, err = f.readStream("s", esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, many)
		check("the stream backwards", read, err, reverse)
		check("$all", f.readAll(esdb.ReadAllOptions{From: esdb.Start{}}, many), nil, same)
		check("$all backwards", f.readAll(esdb.ReadAllOptions{From: esdb.End{}, Direction: esdb.Backwards}, many), nil, reverse)
		f.node.store.recent = recentEvents{} // and again from the files; nobody writes
	}
}

func TestMetadataBoundsReads(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ meta, forwards, backwards string }{
		{`{}`, "0 1 2 3 4", "4 3 2 1 0"}, {`{"$maxCount":2}`, "3 4", "4 3"}, {`{"$maxCount":9}`, "0 1 2 3 4", "4 3 2 1 0"}, {`{"$maxCount":0}`, "0 1 2 3 4", "4 3 2 1 0"},
		{`{"$tb":3}`, "3 4", "4 3"}, {`{"$tb":5}`, "", ""}, {`{"$tb":99}`, "", ""}, {`{"$tb":-1}`, "0 1 2 3 4", "4 3 2 1 0"},
		{`{"$tb":1,"$maxCount":3}`, "2 3 4", "4 3 2"}, {`{"$tb":4,"$maxCount":3}`, "4", "4"},
		{`{"$maxAge":30}`, "2 3 4", "4 3 2"}, {`{"$maxAge":20}`, "3 4", "4 3"}, {`{"$maxAge":10,"$maxCount":2}`, "4", "4"}, {`{"$maxAge":1}`, "", ""}, {`{"$maxAge":9223372036854775807}`, "0 1 2 3 4", "4 3 2 1 0"},
		{`{"$maxCount":"2"}`, "0 1 2 3 4", "4 3 2 1 0"}, {`{"$maxCount":2,"$tb":1.5}`, "0 1 2 3 4", "4 3 2 1 0"}, {`{"$MaxCount":2}`, "0 1 2 3 4", "4 3 2 1 0"},
		{`{"$maxCount":2`, "0 1 2 3 4", "4 3 2 1 0"}, {`[2]`, "0 1 2 3 4", "4 3 2 1 0"}, {``, "0 1 2 3 4", "4 3 2 1 0"}, {`{"$maxCount":1,"mine":{"$tb":3}}`, "4", "4"},
	} {
		t.Run(c.meta, func(t *testing.T) {
			clock := newClock(now)
			f := start(t, Config{Now: clock.now})
			for i := range 5 {
				f.append("s", esdb.Any{}, fmt.Sprint(i))
				clock.add(10 * time.Second)
			}
			clock.add(-5 * time.Second) // the last is 5 s old
			f.setMeta("s", c.meta)
			if got := f.revisions("s"); got != c.forwards {
				t.Errorf("forwards %q, want %q", got, c.forwards)
			}
			back, err := f.readStream("s", esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, many)
			if got := numbers(back); err != nil || got != c.backwards {
				t.Errorf("backwards %q, want %q: %v", got, c.backwards, err)
			}
			if n := len(f.readAll(esdb.ReadAllOptions{From: esdb.Start{}}, many)); n != 6 {
				t.Errorf("$all has %d events, want all 6", n)
			}
		})
	}
}

func TestEventsExpireWhileTheClockRuns(t *testing.T) {
	clock := newClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	f := start(t, Config{Now: clock.now})
	f.setMeta("s", `{"$maxAge":60}`)
	f.append("s", esdb.Any{}, "a")
	clock.add(59 * time.Second)
	if got := f.revisions("s"); got != "0" {
		t.Errorf("before its time the stream has %q", got)
	}
	clock.add(2 * time.Second)
	if got := f.revisions("s"); got != "" {
		t.Errorf("after its time the stream has %q", got)
	}
	if r := f.append("s", esdb.Revision(0), "b"); r.NextExpectedVersion != 1 {
		t.Errorf("the next revision is %d", r.NextExpectedVersion)
	}
	if got := f.revisions("s"); got != "1" {
		t.Errorf("then the stream has %q", got)
	}
}

func TestMetadataHasAMaxCountOfOne(t *testing.T) {
	f := start(t, Config{})
	f.setMeta("s", `{"$maxCount":7}`)
	f.setMeta("s", `{"$maxCount":8}`)
	if got := f.revisions("$$s"); got != "1" {
		t.Errorf("the metadata stream has %q, want the last only", got)
	}
	meta, err := f.client.GetStreamMetadata(f.ctx, "s", esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards})
	if err != nil || meta.MaxCount() == nil || *meta.MaxCount() != 8 {
		t.Errorf("the client reads %+v, %v", meta, err)
	}
	if _, err := f.client.GetStreamMetadata(f.ctx, "none", esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}); err == nil {
		t.Error("a stream without metadata has some")
	}
}

func TestMetadataThatIsNotJSONBoundsNothing(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a", "b")
	e := esdb.EventData{EventID: uuid.New(), EventType: "$metadata", ContentType: esdb.ContentTypeBinary, Data: []byte(`{"$maxCount":1}`)}
	if _, err := f.client.AppendToStream(f.ctx, "$$s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, e); err != nil {
		t.Fatal(err)
	}
	if got := f.revisions("s"); got != "0 1" {
		t.Errorf("the stream has %s", got)
	}
}

// The client panics on what a newer one could take.
func TestAReadSendsNothingButEvents(t *testing.T) {
	f := start(t, Config{})
	populate(f)
	f.setMeta("s", `{"$tb":2}`)
	for name, change := range map[string]func(*streams.ReadReq_Options){
		"all":       func(*streams.ReadReq_Options) {},
		"stream":    func(o *streams.ReadReq_Options) { o.StreamOption = fromStart("s") },
		"backwards": func(o *streams.ReadReq_Options) { o.ReadDirection = streams.ReadReq_Options_Backwards },
		"filtered":  func(o *streams.ReadReq_Options) { o.FilterOption = byType("note") },
	} {
		got, err := f.received(readRequest(func(o *streams.ReadReq_Options) {
			o.ControlOption = &streams.ReadReq_Options_ControlOption{Compatibility: 1}
			change(o)
		}))
		if err != nil || len(got) == 0 && name != "backwards" {
			t.Errorf("%s: %d messages, %v", name, len(got), err)
		}
		for _, m := range got {
			if m.GetEvent() == nil {
				t.Errorf("%s: %T", name, m.Content)
			}
		}
	}
}

func byType(prefixes ...string) *streams.ReadReq_Options_Filter {
	return &streams.ReadReq_Options_Filter{Filter: &streams.ReadReq_Options_FilterOptions{
		Filter:                       &streams.ReadReq_Options_FilterOptions_EventType{EventType: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: prefixes}},
		Window:                       &streams.ReadReq_Options_FilterOptions_Max{Max: 32},
		CheckpointIntervalMultiplier: 1,
	}}
}

func TestReadsThatAreRefused(t *testing.T) {
	f := start(t, Config{})
	populate(f)
	filter := func(change func(*streams.ReadReq_Options_FilterOptions)) func(*streams.ReadReq_Options) {
		return func(o *streams.ReadReq_Options) {
			by := byType("x")
			change(by.Filter)
			o.FilterOption = by
		}
	}
	for name, change := range map[string]func(*streams.ReadReq_Options){
		"no stream and not $all": func(o *streams.ReadReq_Options) { o.StreamOption = nil },
		"no name":                func(o *streams.ReadReq_Options) { o.StreamOption = fromStart("") },
		"a long name":            func(o *streams.ReadReq_Options) { o.StreamOption = fromStart(strings.Repeat("x", maxName+1)) },
		"no start of a stream": func(o *streams.ReadReq_Options) {
			s := fromStart("s")
			s.Stream.RevisionOption = nil
			o.StreamOption = s
		},
		"no start of $all": func(o *streams.ReadReq_Options) {
			o.StreamOption = &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{}}
		},
		"no count":      func(o *streams.ReadReq_Options) { o.CountOption = nil },
		"no uuid":       func(o *streams.ReadReq_Options) { o.UuidOption = nil },
		"no filter nor": func(o *streams.ReadReq_Options) { o.FilterOption = nil },
		"a filtered stream": func(o *streams.ReadReq_Options) {
			o.StreamOption, o.FilterOption = fromStart("s"), byType("x")
		},
		"a subscription backwards": func(o *streams.ReadReq_Options) {
			o.CountOption = &streams.ReadReq_Options_Subscription{}
			o.ReadDirection = streams.ReadReq_Options_Backwards
		},
		"an empty filter":  filter(func(o *streams.ReadReq_Options_FilterOptions) { o.Filter = nil }),
		"an interval of 0": filter(func(o *streams.ReadReq_Options_FilterOptions) { o.CheckpointIntervalMultiplier = 0 }),
		"no window":        filter(func(o *streams.ReadReq_Options_FilterOptions) { o.Window = nil }),
		"a bad regex":      filter(func(o *streams.ReadReq_Options_FilterOptions) { o.GetEventType().Regex = "(" }),
		"a long regex": filter(func(o *streams.ReadReq_Options_FilterOptions) {
			o.GetEventType().Regex = strings.Repeat("x", maxRegex+1)
		}),
		"too many prefixes": filter(func(o *streams.ReadReq_Options_FilterOptions) {
			o.GetEventType().Prefix = make([]string, maxPrefixes+1)
		}),
		"neither expression": filter(func(o *streams.ReadReq_Options_FilterOptions) { o.GetEventType().Prefix = nil }),
	} {
		if _, err := f.received(readRequest(change)); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.received(&streams.ReadReq{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an empty request: %v", err)
	}
}

func TestIDsAsText(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a")
	got, err := f.received(readRequest(func(o *streams.ReadReq_Options) {
		o.UuidOption.Content = &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}
	}))
	if err != nil || len(got) != 1 || got[0].GetEvent().GetEvent().GetId().GetString_() != id("a").String() {
		t.Errorf("read %v, %v", got, err)
	}
}

func TestAFilteredRead(t *testing.T) {
	f := start(t, Config{})
	populate(f)
	got, err := f.received(readRequest(func(o *streams.ReadReq_Options) {
		o.FilterOption = byType("noted")
		o.CountOption = &streams.ReadReq_Options_Count{Count: 4}
	}))
	if err != nil || len(got) != 4 {
		t.Fatalf("read %d, %v", len(got), err)
	}
	for _, m := range got {
		if m.GetEvent().GetEvent().GetMetadata()["type"] != "noted" {
			t.Errorf("read %v", m)
		}
	}
}

func link(name, target string) esdb.EventData {
	return esdb.EventData{EventID: id(name), EventType: "$>", Data: []byte(target)}
}

func TestLinks(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a", "b", "c")
	f.append("with@sign", esdb.Any{}, "w")
	f.append("short", esdb.Any{}, "x", "y")
	f.setMeta("short", `{"$maxCount":1}`)
	f.append("gone", esdb.Any{}, "g")
	f.delete("gone")
	f.append("dead", esdb.Any{}, "d")
	f.tombstone("dead")
	const nowhere, noLink = "nowhere", "no link"
	for target, want := range map[string]string{
		"1@s": "s@1", "0@with@sign": "with@sign@0", "1@short": "short@1", "-1@s": "s@2",
		"0@short": nowhere, "3@s": nowhere, "0@none": nowhere, "0@gone": nowhere, "0@dead": nowhere, "-2@s": nowhere, "1@": nowhere, "1": nowhere,
		"9223372036854775807@s": nowhere, "x@s": noLink, "": noLink, "@s": noLink,
	} {
		t.Run(target, func(t *testing.T) {
			stream := "links to " + target
			if _, err := f.client.AppendToStream(f.ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, link(target, target)); err != nil {
				t.Fatal(err)
			}
			all := func() *esdb.ResolvedEvent {
				return f.readAll(esdb.ReadAllOptions{From: esdb.End{}, Direction: esdb.Backwards, ResolveLinkTos: true}, 1)[0]
			}
			read := func(resolve bool) *esdb.ResolvedEvent {
				got, err := f.readStream(stream, esdb.ReadStreamOptions{From: esdb.Start{}, ResolveLinkTos: resolve}, 1)
				if err != nil || len(got) != 1 {
					t.Fatalf("read %d: %v", len(got), err)
				}
				return got[0]
			}
			if e := read(false); e.Link != nil || e.Event.StreamID != stream {
				t.Errorf("not to be resolved, it is %+v", e)
			}
			sub := f.subscribeStream(stream, esdb.SubscribeToStreamOptions{From: esdb.Start{}, ResolveLinkTos: true})
			for _, e := range []*esdb.ResolvedEvent{read(true), all(), sub.Recv().EventAppeared} {
				got := noLink
				switch {
				case e.Link != nil && e.Event == nil:
					got = nowhere
				case e.Link != nil:
					got = e.Event.StreamID + "@" + itoa(e.Event.EventNumber)
				}
				if got != want {
					t.Errorf("resolved to %s, want %s", got, want)
				}
				if e.OriginalEvent().StreamID != stream || e.Commit == nil || *e.Commit != e.OriginalEvent().Position.Commit {
					t.Errorf("the original is %+v at %v", e.OriginalEvent(), e.Commit)
				}
			}
		})
	}
}

func TestDeletionsThatAreRefused(t *testing.T) {
	revision := func(n uint64) *streams.DeleteReq_Options_Revision {
		return &streams.DeleteReq_Options_Revision{Revision: n}
	}
	none, exists, whatever := &streams.DeleteReq_Options_NoStream{}, &streams.DeleteReq_Options_StreamExists{}, &streams.DeleteReq_Options_Any{}
	f := start(t, Config{})
	populate(f)
	options := func(stream string, expected any) *streams.DeleteReq_Options {
		o := &streams.DeleteReq_Options{StreamIdentifier: named(stream)}
		switch e := expected.(type) {
		case *streams.DeleteReq_Options_Revision:
			o.ExpectedStreamRevision = e
		case *streams.DeleteReq_Options_NoStream:
			o.ExpectedStreamRevision = e
		case *streams.DeleteReq_Options_StreamExists:
			o.ExpectedStreamRevision = e
		case *streams.DeleteReq_Options_Any:
			o.ExpectedStreamRevision = e
		}
		return o
	}
	for _, c := range []struct {
		stream   string
		expected any
		trailers map[string]string
	}{
		{"s", revision(1), wrongAt("s", "1", "2")}, {"s", revision(7), wrongAt("s", "7", "2")}, {"s", none, wrongAt("s", "-1", "2")},
		{"none", revision(0), wrongAt("none", "0", "-1")}, {"none", exists, wrongAt("none", "-4", "-1")}, {"none", whatever, wrongAt("none", "-2", "-1")},
		{"gone", exists, map[string]string{"exception": "stream-deleted", "stream-name": "gone"}},
		{"dead", whatever, map[string]string{"exception": "stream-deleted", "stream-name": "dead"}},
	} {
		var md metadata.MD
		_, err := f.raw.Delete(f.ctx, &streams.DeleteReq{Options: options(c.stream, c.expected)}, trailerInto(&md))
		t.Run(fmt.Sprintf("%s %T", c.stream, c.expected), func(t *testing.T) { expectRefusal(t, err, md, codes.FailedPrecondition, c.trailers) })
	}
	for _, o := range []*streams.DeleteReq_Options{nil, options("", whatever), options("s", nil)} {
		if _, err := f.raw.Delete(f.ctx, &streams.DeleteReq{Options: o}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", o, err)
		}
	}
	if got := f.revisions("s"); got != "0 1 2" {
		t.Errorf("the stream has %s", got)
	}
	var md metadata.MD
	_, err := f.raw.Tombstone(f.ctx, &streams.TombstoneReq{Options: &streams.TombstoneReq_Options{StreamIdentifier: named("s"),
		ExpectedStreamRevision: &streams.TombstoneReq_Options_Revision{Revision: 0}}}, trailerInto(&md))
	expectRefusal(t, err, md, codes.FailedPrecondition, wrongAt("s", "0", "2"))
}

func wrongAt(stream, expected, actual string) map[string]string {
	return map[string]string{"exception": "wrong-expected-version", "stream-name": stream, "expected-version": expected, "actual-version": actual}
}

func TestADeletedStreamComesBackWithItsNextAppend(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.NoStream{}, "a", "b")
	f.setMeta("s", `{"owner":"me","$maxCount":100}`)
	deleted, err := f.client.DeleteStream(f.ctx, "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Revision(1)})
	if err != nil || deleted.Position.Commit == 0 {
		t.Fatalf("deleting: %+v, %v", deleted, err)
	}
	if got := f.lastData("$$s"); got != `{"$tb":9223372036854775807}` {
		t.Errorf("the metadata is %s", got)
	}
	f.delete("s") // again
	if got := f.revisions("s"); got != "not found" {
		t.Errorf("deleted, the stream has %s", got)
	}
	if r := f.append("s", esdb.NoStream{}, "c", "d"); r.NextExpectedVersion != 3 {
		t.Errorf("the next revision is %d, want 3", r.NextExpectedVersion)
	}
	if got := f.lastData("$$s"); got != `{"$tb":2}` {
		t.Errorf("the metadata is %s", got)
	}
	if got := f.revisions("s"); got != "2 3" {
		t.Errorf("back again, the stream has %s", got)
	}
	f.append("s", esdb.StreamExists{}, "e")
	if got := f.revisions("s"); got != "2 3 4" {
		t.Errorf("then the stream has %s", got)
	}
}

func (f *fixture) lastData(stream string) string {
	f.t.Helper()
	read, err := f.readStream(stream, esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, 1)
	if err != nil || len(read) != 1 {
		f.t.Fatalf("the last of %s: %d, %v", stream, len(read), err)
	}
	return string(read[0].Event.Data)
}

func TestMetadataForADeletedStreamBringsItBackEmpty(t *testing.T) {
	f := start(t, Config{})
	populate(f)
	f.setMeta("gone", `{"owner":"me"}`)
	if got := f.lastData("$$gone"); got != `{"$tb":2,"owner":"me"}` {
		t.Errorf("the metadata is %s", got)
	}
	if got := f.revisions("gone"); got != "" {
		t.Errorf("the stream has %q", got)
	}
	if r := f.append("gone", esdb.Revision(1), "x"); r.NextExpectedVersion != 2 {
		t.Errorf("the next revision is %d", r.NextExpectedVersion)
	}
	if got := f.revisions("gone"); got != "2" {
		t.Errorf("the stream has %q", got)
	}
}

// A client may write what a deletion writes.
func TestAStreamIsDeletedByItsMetadata(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a")
	f.setMeta("s", `{"$tb":9223372036854775807}`)
	if got := f.revisions("s"); got != "not found" {
		t.Errorf("the stream has %s", got)
	}
	if _, err := f.try("s", esdb.StreamExists{}, "b"); code(err) != esdb.ErrorCodeStreamDeleted {
		t.Errorf("appending: %v", err)
	}
	f.append("s", esdb.Any{}, "b")
	if got := f.revisions("s"); got != "1" {
		t.Errorf("the stream has %s", got)
	}
}

func TestATombstoneIsTheLastEventOfItsStream(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a")
	f.delete("s")
	f.tombstone("s") // also of a deleted one
	f.tombstone("new")
	for _, stream := range []string{"s", "new"} {
		if got := f.revisions(stream); got != "deleted" {
			t.Errorf("%s has %s", stream, got)
		}
	}
	last := f.readAll(esdb.ReadAllOptions{From: esdb.End{}, Direction: esdb.Backwards}, 1)[0].Event
	if last.EventType != "$streamDeleted" || last.StreamID != "new" || last.EventNumber != math.MaxInt64 ||
		last.ContentType != "application/octet-stream" || len(last.Data)+len(last.UserMetadata) > 0 {
		t.Errorf("the last event is %+v", last)
	}
	if _, err := f.client.TombstoneStream(f.ctx, "s", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); code(err) != esdb.ErrorCodeStreamDeleted {
		t.Errorf("a second tombstone: %v", err)
	}
}
