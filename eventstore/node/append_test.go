package node

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

func TestAnAppendedEventIsReadAsItWasWritten(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 891_234_500, time.UTC)
	f := start(t, Config{Now: func() time.Time { return now }})
	r := f.append("s", esdb.NoStream{}, "a")
	if r.NextExpectedVersion != 0 || r.CommitPosition == 0 || r.CommitPosition != r.PreparePosition {
		t.Fatalf("the append answers %+v", r)
	}
	read, err := f.readStream("s", esdb.ReadStreamOptions{From: esdb.Start{}}, many)
	if err != nil || len(read) != 1 {
		t.Fatalf("read %d events: %v", len(read), err)
	}
	e := read[0].Event
	want := event1("a")
	switch {
	case e.EventID != want.EventID, e.EventType != "noted", e.ContentType != "application/json", e.StreamID != "s", e.EventNumber != 0:
		t.Errorf("read %+v", e)
	case string(e.Data) != string(want.Data), string(e.UserMetadata) != string(want.Metadata):
		t.Errorf("read data %s and metadata %s", e.Data, e.UserMetadata)
	case !e.CreatedDate.Equal(now):
		t.Errorf("created %s, want %s", e.CreatedDate, now)
	case e.Position != (esdb.Position{Commit: r.CommitPosition, Prepare: r.PreparePosition}), read[0].Commit == nil, *read[0].Commit != r.CommitPosition:
		t.Errorf("position %+v, the append said %+v", e.Position, r)
	}
	for _, key := range []string{"type", "content-type", "created"} {
		if e.SystemMetadata[key] == "" {
			t.Errorf("the system metadata %v has no %s", e.SystemMetadata, key)
		}
	}
}

func TestTheContentTypeIsJSONOrNot(t *testing.T) {
	f := start(t, Config{})
	for _, c := range []struct{ sent, read string }{
		{"application/json", "application/json"}, {"application/octet-stream", "application/octet-stream"}, {"text/plain", "application/octet-stream"},
		{"", "application/octet-stream"},
	} {
		if _, err := f.rawAppend("s", rawEvent("a "+c.sent, map[string]string{"type": "t", "content-type": c.sent})); err != nil {
			t.Fatal(err)
		}
		read, err := f.readStream("s", esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, 1)
		if err != nil || read[0].Event.ContentType != c.read {
			t.Errorf("sent %q, read %q: %v", c.sent, read[0].Event.ContentType, err)
		}
	}
}

func TestPositionsIncrease(t *testing.T) {
	f := start(t, Config{})
	last := uint64(0)
	for i := range 50 {
		r := f.append("s"+itoa(uint64(i%3)), esdb.Any{}, fmt.Sprint(i), fmt.Sprint(i, "b"))
		if r.CommitPosition <= last {
			t.Fatalf("position %d after %d", r.CommitPosition, last)
		}
		last = r.CommitPosition
	}
	previous := uint64(0)
	for _, e := range f.readAll(esdb.ReadAllOptions{From: esdb.Start{}}, many) {
		if e.Event.Position.Commit <= previous {
			t.Fatalf("position %d after %d", e.Event.Position.Commit, previous)
		}
		previous = e.Event.Position.Commit
	}
	if previous != last {
		t.Errorf("the last event of $all is at %d, the last append said %d", previous, last)
	}
}

// The streams: none was never written to, s has revisions 0 to 2, meta has
// metadata only, gone was deleted at revision 1, dead is tombstoned.
func populate(f *fixture) {
	f.append("s", esdb.NoStream{}, "s0", "s1", "s2")
	f.setMeta("meta", `{"owner":"me"}`)
	f.append("gone", esdb.NoStream{}, "g0", "g1")
	f.delete("gone")
	f.append("dead", esdb.NoStream{}, "d0")
	f.tombstone("dead")
}

func TestExpectedRevisions(t *testing.T) {
	const deleted, wrong = esdb.ErrorCodeStreamDeleted, esdb.ErrorCodeWrongExpectedVersion
	for _, c := range []struct {
		stream   string
		expected esdb.ExpectedRevision
		want     esdb.ErrorCode // -1: it is written
		next     uint64
	}{
		{"none", esdb.Any{}, -1, 0}, {"none", esdb.NoStream{}, -1, 0}, {"none", esdb.StreamExists{}, wrong, 0}, {"none", esdb.Revision(0), wrong, 0},
		{"s", esdb.Any{}, -1, 3}, {"s", esdb.NoStream{}, wrong, 0}, {"s", esdb.StreamExists{}, -1, 3},
		{"s", esdb.Revision(1), wrong, 0}, {"s", esdb.Revision(2), -1, 3}, {"s", esdb.Revision(3), wrong, 0}, {"s", esdb.Revision(1<<63 - 1), wrong, 0},
		{"meta", esdb.Any{}, -1, 0}, {"meta", esdb.NoStream{}, -1, 0}, {"meta", esdb.StreamExists{}, -1, 0}, {"meta", esdb.Revision(0), wrong, 0},
		{"gone", esdb.Any{}, -1, 2}, {"gone", esdb.NoStream{}, -1, 2}, {"gone", esdb.StreamExists{}, deleted, 0},
		{"gone", esdb.Revision(0), wrong, 0}, {"gone", esdb.Revision(1), -1, 2},
		{"dead", esdb.Any{}, deleted, 0}, {"dead", esdb.NoStream{}, deleted, 0}, {"dead", esdb.StreamExists{}, deleted, 0}, {"dead", esdb.Revision(0), deleted, 0},
		{"$$dead", esdb.Any{}, deleted, 0},
	} {
		t.Run(fmt.Sprintf("%s %T%v", c.stream, c.expected, c.expected), func(t *testing.T) {
			f := start(t, Config{})
			populate(f)
			r, err := f.try(c.stream, c.expected, "new")
			if code(err) != c.want {
				t.Fatalf("the append says %v, want code %d", err, c.want)
			}
			if err == nil && r.NextExpectedVersion != c.next {
				t.Errorf("written at revision %d, want %d", r.NextExpectedVersion, c.next)
			}
		})
	}
}

func TestAnAppendOfNoEventsSucceeds(t *testing.T) {
	f := start(t, Config{})
	f.append("none", esdb.Any{})
	f.append("none", esdb.NoStream{})
	f.append("s", esdb.Any{}, "a", "b")
	f.append("s", esdb.Any{})
	if r := f.append("s", esdb.Revision(1)); r.NextExpectedVersion != 1 {
		t.Errorf("the stream is at revision %d, want 1", r.NextExpectedVersion)
	}
	if _, err := f.try("s", esdb.Revision(0)); code(err) != esdb.ErrorCodeWrongExpectedVersion {
		t.Errorf("at another revision: %v", err)
	}
	if got := f.revisions("none"); got != "not found" {
		t.Errorf("the stream that got no events has %s", got)
	}
}

func TestARepeatedAppendIsOneAppend(t *testing.T) {
	wrong := esdb.ErrorCodeWrongExpectedVersion
	// The stream has a b c at 0 1 2 and, as an id may come twice, a at 3.
	for _, c := range []struct {
		expected esdb.ExpectedRevision
		ids      string
		want     esdb.ErrorCode
		revision uint64 // of the answer
		at       int    // the index of the append whose position is answered; -1: a new one
	}{
		{esdb.Any{}, "b", -1, 1, 0}, {esdb.Any{}, "b c", -1, 2, 0}, {esdb.Any{}, "c b", -1, 1, 0},
		{esdb.Any{}, "b x", wrong, 0, 0}, {esdb.Any{}, "x b", -1, 5, -1}, {esdb.Any{}, "x", -1, 4, -1},
		{esdb.StreamExists{}, "b c", -1, 2, 0}, {esdb.StreamExists{}, "b x", wrong, 0, 0},
		{esdb.NoStream{}, "a b c", -1, 2, 0}, {esdb.NoStream{}, "a", -1, 0, 0}, {esdb.NoStream{}, "b", wrong, 0, 0}, {esdb.NoStream{}, "a b x", wrong, 0, 0},
		{esdb.NoStream{}, "a b c a", -1, 3, 1}, {esdb.NoStream{}, "a b c a x", wrong, 0, 0},
		{esdb.Revision(0), "b c", -1, 2, 0}, {esdb.Revision(0), "c", wrong, 0, 0}, {esdb.Revision(2), "a", -1, 3, 1},
		{esdb.Revision(3), "a", -1, 4, -1}, {esdb.Revision(1), "c a x", wrong, 0, 0},
	} {
		t.Run(fmt.Sprintf("%T%v %s", c.expected, c.expected, c.ids), func(t *testing.T) {
			f := start(t, Config{})
			f.append("other", esdb.Any{}, "x", "b") // ids count within their stream only
			before := []*esdb.WriteResult{f.append("s", esdb.NoStream{}, "a", "b", "c"), f.append("s", esdb.Revision(2), "a")}
			r, err := f.try("s", c.expected, strings.Fields(c.ids)...)
			if code(err) != c.want {
				t.Fatalf("the append says %v, want code %d", err, c.want)
			}
			if err != nil {
				return
			}
			if r.NextExpectedVersion != c.revision {
				t.Errorf("revision %d, want %d", r.NextExpectedVersion, c.revision)
			}
			read, err := f.readStream("s", esdb.ReadStreamOptions{From: esdb.Revision(c.revision)}, 1)
			if err != nil || len(read) != 1 || read[0].Event.Position.Commit != r.CommitPosition {
				t.Errorf("position %d is not that of revision %d: %v", r.CommitPosition, c.revision, err)
			}
			if wantNew := c.at < 0; wantNew != (r.CommitPosition > before[1].CommitPosition) {
				t.Errorf("position %d, a new one: %t", r.CommitPosition, wantNew)
			}
		})
	}
}

func TestARepeatedAppendIsKnownAfterARestart(t *testing.T) {
	fs := vfs.NewMem()
	f := start(t, Config{FS: fs})
	first := f.append("s", esdb.NoStream{}, "a", "b")
	f.append("s", esdb.Any{}, "c")
	f.stop()
	f = start(t, Config{FS: fs})
	for _, expected := range []esdb.ExpectedRevision{esdb.Any{}, esdb.NoStream{}, esdb.StreamExists{}} {
		if r := f.append("s", expected, "a", "b"); *r != *first {
			t.Errorf("expecting %T the repetition answers %+v, the original %+v", expected, r, first)
		}
	}
	if got := f.revisions("s"); got != "0 1 2" {
		t.Errorf("the stream has %s", got)
	}
}

func rawEvent(name string, meta map[string]string) *streams.AppendReq_ProposedMessage {
	u := id(name)
	return &streams.AppendReq_ProposedMessage{Metadata: meta, Data: []byte("{}"),
		Id: &shared.UUID{Value: &shared.UUID_String_{String_: u.String()}}}
}

var plain = map[string]string{"type": "t", "content-type": "application/json"}

func anyRevision(stream string) *streams.AppendReq {
	return &streams.AppendReq{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{
		StreamIdentifier: named(stream), ExpectedStreamRevision: &streams.AppendReq_Options_Any{Any: &shared.Empty{}}}}}
}

func (f *fixture) rawAppend(stream string, events ...*streams.AppendReq_ProposedMessage) (metadata.MD, error) {
	f.t.Helper()
	msgs := []*streams.AppendReq{anyRevision(stream)}
	for _, e := range events {
		msgs = append(msgs, &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: e}})
	}
	_, md, err := f.send(msgs...)
	return md, err
}

func (f *fixture) send(msgs ...*streams.AppendReq) (*streams.AppendResp, metadata.MD, error) {
	f.t.Helper()
	call, err := f.raw.Append(f.ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range msgs {
		if err := call.Send(m); err != nil {
			f.t.Fatalf("sending ended before the last event: %v", err)
		}
	}
	resp, err := call.CloseAndRecv()
	return resp, call.Trailer(), err
}

func expectRefusal(t *testing.T, err error, md metadata.MD, want codes.Code, trailers map[string]string) {
	t.Helper()
	if status.Code(err) != want {
		t.Fatalf("the call says %v, want %v", err, want)
	}
	for key, value := range trailers {
		if got := md.Get(key); len(got) != 1 || got[0] != value {
			t.Errorf("the trailer %s is %q, want %q", key, got, value)
		}
	}
}

func TestAWrongRevisionIsANormalAnswer(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a", "b")
	msg := anyRevision("s")
	msg.GetOptions().ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: 7}
	resp, _, err := f.send(msg, &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: rawEvent("x", plain)}})
	if err != nil || resp.GetWrongExpectedVersion().GetCurrentRevision() != 1 || resp.GetWrongExpectedVersion().GetExpectedRevision() != 7 {
		t.Errorf("the answer is %v, %v", resp, err)
	}
	msg.GetOptions().StreamIdentifier = named("none")
	if resp, _, err = f.send(msg); err != nil || resp.GetWrongExpectedVersion().GetCurrentNoStream() == nil {
		t.Errorf("without a stream the answer is %v, %v", resp, err)
	}
}

// Clients of version 20.6 read other fields of the same answer.
func TestAWrongRevisionSaysWhatWasExpected(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.NoStream{}, "a", "b")
	for name, c := range map[string]struct {
		stream   string
		change   func(*streams.AppendReq_Options)
		expected any
		events   []string
	}{
		"no stream": {"s", func(o *streams.AppendReq_Options) {
			o.ExpectedStreamRevision = &streams.AppendReq_Options_NoStream{NoStream: &shared.Empty{}}
		}, &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{}, []string{"x"}},
		"exists": {"none", func(o *streams.AppendReq_Options) {
			o.ExpectedStreamRevision = &streams.AppendReq_Options_StreamExists{StreamExists: &shared.Empty{}}
		}, &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{}, []string{"x"}},
		"any": {"s", func(*streams.AppendReq_Options) {}, &streams.AppendResp_WrongExpectedVersion_ExpectedAny{}, []string{"a", "x"}},
	} {
		msg := anyRevision(c.stream)
		c.change(msg.GetOptions())
		msgs := []*streams.AppendReq{msg}
		for _, e := range c.events {
			msgs = append(msgs, &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: rawEvent(e, plain)}})
		}
		resp, md, err := f.send(msgs...)
		w := resp.GetWrongExpectedVersion()
		if err != nil || w == nil || len(md.Get("exception")) != 0 {
			t.Errorf("%s: %v, %v, %v", name, resp, md, err)
			continue
		}
		if got, want := fmt.Sprintf("%T", w.ExpectedRevisionOption), fmt.Sprintf("%T", c.expected); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if is20 := w.ExpectedRevisionOption_20_6_0 != nil && w.CurrentRevisionOption_20_6_0 != nil; !is20 {
			t.Errorf("%s: the fields of version 20.6 are missing in %v", name, w)
		}
		if c.stream == "s" && w.GetCurrentRevision() != 1 || c.stream == "none" && w.GetCurrentNoStream() == nil {
			t.Errorf("%s: the stream is at %v", name, w)
		}
	}
}

func TestAnAppendToADeletedStreamIsRefused(t *testing.T) {
	f := start(t, Config{})
	populate(f)
	md, err := f.rawAppend("dead", rawEvent("x", plain))
	expectRefusal(t, err, md, codes.FailedPrecondition, map[string]string{"exception": "stream-deleted", "stream-name": "dead"})
	msg := anyRevision("gone")
	msg.GetOptions().ExpectedStreamRevision = &streams.AppendReq_Options_StreamExists{StreamExists: &shared.Empty{}}
	_, md, err = f.send(msg, &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: rawEvent("g0", plain)}})
	expectRefusal(t, err, md, codes.FailedPrecondition, map[string]string{"exception": "stream-deleted", "stream-name": "gone"})
}

func TestANameThatIsNoHeaderIsToldAllTheSame(t *testing.T) {
	f := start(t, Config{})
	for _, name := range []string{"Türkamera", "two\nlines", "nul\x00"} {
		f.append(name, esdb.Any{}, "a")
		f.tombstone(name)
		if _, err := f.try(name, esdb.Any{}, "b"); code(err) != esdb.ErrorCodeStreamDeleted {
			t.Errorf("%q: %v", name, err)
		}
	}
	f.append("s", esdb.Any{}, "the connection lives")
}

func TestWhatAnAppendMustHave(t *testing.T) {
	f := start(t, Config{})
	missing := map[string]string{"exception": "missing-required-metadata-property", "required-metadata-properties": "type,content-type"}
	for name, meta := range map[string]map[string]string{
		"type": {"content-type": "application/json"}, "a type that is not empty": {"type": "", "content-type": "application/json"}, "content-type": {"type": "t"}, "both": nil,
	} {
		md, err := f.rawAppend("s", rawEvent("ok", plain), rawEvent("x", meta), rawEvent("y", plain))
		t.Run("without "+name, func(t *testing.T) { expectRefusal(t, err, md, codes.InvalidArgument, missing) })
	}
	noID := rawEvent("x", plain)
	noID.Id = nil
	emptyID := rawEvent("x", plain)
	emptyID.Id = &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{}}}
	badID := rawEvent("x", plain)
	badID.Id = &shared.UUID{Value: &shared.UUID_String_{String_: "seven"}}
	for name, e := range map[string]*streams.AppendReq_ProposedMessage{"no id": noID, "an empty id": emptyID, "a bad id": badID} {
		if _, err := f.rawAppend("s", e); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	event := &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: rawEvent("x", plain)}}
	unexpected := anyRevision("s")
	unexpected.GetOptions().ExpectedStreamRevision = nil
	for name, msgs := range map[string][]*streams.AppendReq{
		"nothing": nil, "no options": {event, event}, "options twice": {anyRevision("s"), event, anyRevision("s")},
		"no stream": {anyRevision(""), event}, "no name": {anyRevision("$$"), event}, "$all": {anyRevision("$all"), event},
		"a long name": {anyRevision(strings.Repeat("x", maxName+1)), event}, "no expected revision": {unexpected, event},
	} {
		if _, _, err := f.send(msgs...); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := f.revisions("s"); got != "not found" {
		t.Errorf("refused appends have left %s", got)
	}
}

func TestAnAppendIsBounded(t *testing.T) {
	f := start(t, Config{})
	sized := func(name string, data, custom int) *streams.AppendReq_ProposedMessage {
		e := rawEvent(name, plain)
		e.Data, e.CustomMetadata = make([]byte, data), make([]byte, custom)
		return e
	}
	// The real server counts the data only.
	if md, err := f.rawAppend("s", sized("a", maxAppend/2, 10), sized("b", maxAppend/2, 0)); err != nil {
		t.Fatalf("one of 1 MiB: %v %v", md, err)
	}
	if md, err := f.rawAppend("s", sized("c", maxAppend, 2*maxAppend)); err != nil {
		t.Fatalf("one of 1 MiB and metadata: %v %v", md, err)
	}
	want := map[string]string{"exception": "maximum-append-size-exceeded", "maximum-append-size": "1048576"}
	for _, refused := range [][]*streams.AppendReq_ProposedMessage{
		{sized("d", maxAppend+1, 0)},
		{sized("d", maxAppend/2, 0), sized("e", maxAppend/2+1, 0), sized("f", 10, 0)},
		{sized("d", 1, maxBeside-1), sized("e", 1, 1)},
	} {
		md, err := f.rawAppend("s", refused...)
		expectRefusal(t, err, md, codes.InvalidArgument, want)
	}
	if got := f.revisions("s"); got != "0 1 2" {
		t.Errorf("the stream has %s", got)
	}
}

// The largest event there can be and as large a link to it are one message.
func TestALinkedEventFitsIntoAMessage(t *testing.T) {
	f := start(t, Config{})
	target, linked := rawEvent("a", plain), rawEvent("l", map[string]string{"type": "$>", "content-type": ""})
	target.Data, target.CustomMetadata = make([]byte, maxAppend), make([]byte, maxBeside-10)
	linked.Data, linked.CustomMetadata = []byte("0@s"), make([]byte, maxBeside-10)
	for stream, e := range map[string]*streams.AppendReq_ProposedMessage{"s": target, "l": linked} {
		if _, err := f.rawAppend(stream, e); err != nil {
			t.Fatal(err)
		}
	}
	read, err := f.readStream("l", esdb.ReadStreamOptions{From: esdb.Start{}, ResolveLinkTos: true}, 1)
	if err != nil || len(read) != 1 || read[0].Event == nil || read[0].Link == nil {
		t.Errorf("read %d: %v", len(read), err)
	}
}

// How refusals look behind the client.
func TestWhatTheClientMakesOfRefusals(t *testing.T) {
	f := start(t, Config{})
	f.append("s", nil, "a") // no expectation is any
	f.append("s", nil, "b")
	_, deletion := f.client.DeleteStream(f.ctx, "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Revision(7)})
	_, tombstone := f.client.TombstoneStream(f.ctx, "s", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Revision(7)})
	_, large := f.client.AppendToStream(f.ctx, "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}},
		esdb.EventData{EventID: uuid.New(), EventType: "t", Data: make([]byte, maxAppend+1)})
	for want, err := range map[string]error{"Delete failed due to WrongExpectedVersion": deletion, "Expected version: 7, Actual version: 1": tombstone,
		"Maximum Append Size of 1048576 Exceeded": large} {
		if code(err) != esdb.ErrorCodeUnknown || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	_, wrong := f.try("s", esdb.Revision(7), "x")
	if code(wrong) != esdb.ErrorCodeWrongExpectedVersion {
		t.Errorf("an append with a wrong revision: %v", wrong)
	}
	if got := f.revisions("s"); got != "0 1" {
		t.Errorf("the stream has %s", got)
	}
}

// The client takes an answer that comes before it has sent all for a broken
// connection, and tells its caller "EOF".
func TestRefusalsWaitForTheLastEvent(t *testing.T) {
	f := start(t, Config{})
	big := make([]esdb.EventData, 40)
	for i := range big {
		big[i] = esdb.EventData{EventID: uuid.New(), EventType: "t", Data: make([]byte, 100<<10)}
	}
	for range 50 {
		_, err := f.client.AppendToStream(f.ctx, "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, big...)
		if err == nil || !strings.Contains(err.Error(), "Maximum Append Size") {
			t.Fatalf("the client says %v", err)
		}
	}
	bad := append([]esdb.EventData{{EventID: uuid.New()}}, events(strings.Split(strings.Repeat("x", 20), "")...)...)
	for range 50 {
		_, err := f.client.AppendToStream(f.ctx, "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, bad...)
		if err == nil || !strings.Contains(err.Error(), "Required Metadata Property") {
			t.Fatalf("the client says %v", err)
		}
	}
}

func TestAnAppendThatIsGivenUpWritesNothing(t *testing.T) {
	f := start(t, Config{})
	ctx, cancel := context.WithCancel(f.ctx)
	call, err := f.raw.Append(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*streams.AppendReq{anyRevision("s"), {Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: rawEvent("x", plain)}}} {
		if err := call.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := call.RecvMsg(&streams.AppendResp{}); status.Code(err) != codes.Canceled {
		t.Fatalf("the call says %v", err)
	}
	f.append("other", esdb.Any{}, "a")
	if got := f.revisions("s"); got != "not found" {
		t.Errorf("the stream has %s", got)
	}
}

func TestTheHeadersOfTheClientAreTaken(t *testing.T) {
	f := start(t, Config{})
	ctx := metadata.AppendToOutgoingContext(f.ctx, "requires-leader", "true", "connection-name", "me", "authorization", "Basic bWU6bWU=")
	var header metadata.MD
	resp, err := f.raw.Delete(ctx, &streams.DeleteReq{Options: &streams.DeleteReq_Options{StreamIdentifier: named("none"),
		ExpectedStreamRevision: &streams.DeleteReq_Options_Any{Any: &shared.Empty{}}}}, grpc.Header(&header))
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("the answer is %v, %v", resp, err)
	}
}
