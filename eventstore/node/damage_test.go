package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// rotten is a log with a flipped byte in the middle of its only table, and more
// events behind it.
func rotten(t *testing.T) *folder {
	t.Helper()
	f := &folder{t, t.TempDir() + "/log", &ledger{}}
	n, err := Open(Config{Dir: f.dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		var events []proposed
		for range 100 {
			data := `"` + uuid.NewString() + uuid.NewString() + uuid.NewString() + uuid.NewString() + `"`
			events = append(events, proposed{id: newID(), kind: "noted", contentType: contentJSON, data: []byte(data)})
		}
		if o := n.store.write(&request{stream: fmt.Sprint("s", i), expected: expectAny, events: events}); o.err != nil {
			t.Fatal(o.err)
		}
	}
	// One table, whose events come first.
	if err := errors.Join(n.store.db.Flush(), n.store.db.Compact(t.Context(), []byte("a"), []byte("z"), false), n.Close()); err != nil {
		t.Fatal(err)
	}
	tables := f.named("*.sst")
	if len(tables) != 1 {
		t.Fatalf("the tables are %v", tables)
	}
	f.edit(tables[0], flip(300<<10))
	return f
}

// What is damaged is refused by its position, everything else goes on, and the
// node's own log says it once.
func TestDamageWithinTheLogIsRefusedByPosition(t *testing.T) {
	dir := rotten(t).dir
	var said bytes.Buffer
	f := start(t, Config{Dir: dir, FS: vfs.Default, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	read := func() (uint64, error) {
		call, err := f.raw.Read(f.ctx, readRequest(func(o *streams.ReadReq_Options) { o.CountOption = &streams.ReadReq_Options_Count{Count: many} }))
		if err != nil {
			t.Fatal(err)
		}
		for last := uint64(0); ; {
			m, err := call.Recv()
			if err != nil {
				return last, err
			}
			last = m.GetEvent().GetEvent().GetCommitPosition()
		}
	}
	last, err := read()
	want := fmt.Sprintf("the log is damaged at position %d (in the file ", last+1)
	if status.Code(err) != codes.DataLoss || !strings.Contains(err.Error(), want) || last < 100 || last > 3900 {
		t.Fatalf("after position %d the read says %v", last, err)
	}
	sub := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.Start{}})
	for i := uint64(1); ; i++ {
		e := sub.Recv()
		if e.SubscriptionDropped != nil {
			if !strings.Contains(e.SubscriptionDropped.Error.Error(), want) || i != last+1 {
				t.Errorf("after %d events the subscription says %v", i-1, e.SubscriptionDropped.Error)
			}
			break
		}
	}
	for range 3 {
		if again, err := read(); again != last || status.Code(err) != codes.DataLoss {
			t.Fatalf("read again it says %v after %d", err, again)
		}
	}
	if n := said.Len(); n > 3000 || !strings.Contains(said.String(), want) {
		t.Errorf("it says %d bytes: %s", n, said.String()[:min(n, 3000)])
	}
	if got, err := f.received(readRequest(func(o *streams.ReadReq_Options) {
		o.StreamOption = &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Position{
			Position: &streams.ReadReq_Options_Position{CommitPosition: 3900, PreparePosition: 3900}}}}
	})); err != nil || len(got) != 101 {
		t.Errorf("behind the damage: %d events, %v", len(got), err)
	}
	f.append("new", esdb.NoStream{}, "a")
	if st := f.node.Status(); !st.Writable || !strings.Contains(st.Reason, "damaged") {
		t.Errorf("the status is %+v", st)
	}
}

// A write that depends on what cannot be read is refused; the others of its
// group are not, and the node goes on.
func TestOneUnreadableStreamEndsNoWrites(t *testing.T) {
	cfg := Config{Dir: "log", FS: vfs.NewMem()}
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	event := func() []proposed { return []proposed{{id: newID(), kind: "t"}} }
	if o := n.store.write(&request{stream: metadataOf("bad"), expected: expectAny, events: event()}); o.err != nil {
		t.Fatal(o.err)
	}
	if err := errors.Join(n.store.db.Set(eventKey(nil, 1), []byte("damaged"), pebble.Sync), n.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	group := []*request{
		{stream: "good", expected: expectNoStream, events: event()},
		{stream: "bad", expected: expectAny, events: event()},
		{stream: "good", expected: 0, events: event()},
	}
	for _, r := range group {
		r.done = make(chan outcome, 1)
	}
	n.store.commitGroup(group)
	for i, bad := range []bool{false, true, false} {
		o := <-group[i].done
		if (o.err != nil) != bad || bad && status.Code(refuse(t.Context(), o.err)) != codes.DataLoss {
			t.Errorf("request %d: %v", i, o.err)
		}
	}
	if o := n.store.write(&request{stream: "good", expected: 1, events: event()}); o.err != nil || o.position != 4 {
		t.Errorf("the next write: %+v", o)
	}
}

func TestTheStatusIsReadOverTheSocket(t *testing.T) {
	f := start(t, Config{})
	f.append("s", esdb.Any{}, "a", "b")
	st, err := ReadStatus(f.ctx, f.conn)
	if err != nil || !st.Writable || !st.Reserved || st.Reason != "" || st.Position != 2 {
		t.Errorf("the status is %+v, %v", st, err)
	}
	_ = f.node.store.fail(errDisk)
	st, err = ReadStatus(f.ctx, f.conn)
	if err != nil || st.Writable || st.Reserved || !strings.Contains(st.Reason, "restart it") {
		t.Errorf("after a failed write the status is %+v, %v", st, err)
	}
	other := start(t, Config{})
	other.node.server.Stop()
	if _, err := ReadStatus(other.ctx, other.conn); err == nil || errors.Is(err, ErrNoStatus) {
		t.Errorf("of a node that is gone: %v", err)
	}
}
