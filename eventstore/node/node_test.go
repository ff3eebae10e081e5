package node

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestTheFeatures(t *testing.T) {
	f := start(t, Config{})
	m, err := serverfeatures.NewServerFeaturesClient(f.conn).GetSupportedMethods(f.ctx, &shared.Empty{})
	if err != nil || m.GetEventStoreServerVersion() != "24.10.0" {
		t.Fatalf("%v, %v", m, err)
	}
	has := map[string][]string{}
	for _, method := range m.GetMethods() {
		name := method.GetServiceName() + "/" + method.GetMethodName()
		if name != strings.ToLower(name) {
			t.Errorf("%s is not in lower case", name)
		}
		has[name] = method.GetFeatures()
	}
	for _, method := range []string{"append", "read", "delete", "tombstone"} {
		if _, ok := has["event_store.client.streams.streams/"+method]; !ok {
			t.Errorf("no %s", method)
		}
	}
	if got := strings.Join(has["event_store.client.persistent_subscriptions.persistentsubscriptions/create"], " "); got != "stream all" {
		t.Errorf("persistent subscriptions are for %q", got)
	}
	if v, err := f.client.GetServerVersion(); err != nil || v.Major != 24 || v.Minor != 10 {
		t.Errorf("the client reads %+v, %v", v, err)
	}
}

func TestWhatIsNotImplementedSaysSo(t *testing.T) {
	f := start(t, Config{})
	for range 20 { // answered too early, some would get EOF
		unsupported := map[string]error{
			"create": f.client.CreatePersistentSubscription(f.ctx, "s", "g", esdb.PersistentStreamSubscriptionOptions{}),
			"to all": f.client.CreatePersistentSubscriptionToAll(f.ctx, "g", esdb.PersistentAllSubscriptionOptions{}),
			"delete": f.client.DeletePersistentSubscription(f.ctx, "s", "g", esdb.DeletePersistentSubscriptionOptions{}),
		}
		_, unsupported["subscribe"] = f.client.SubscribeToPersistentSubscription(f.ctx, "s", "g", esdb.SubscribeToPersistentSubscriptionOptions{})
		_, unsupported["list"] = f.client.ListAllPersistentSubscriptions(f.ctx, esdb.ListPersistentSubscriptionsOptions{})
		for name, err := range unsupported {
			if !strings.Contains(errorText(err), "Unimplemented") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	call, err := f.raw.BatchAppend(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Send(&streams.BatchAppendReq{}); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("BatchAppend: %v", err)
	}
	f.append("s", esdb.Any{}, "the connection lives")
}

func errorText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

// The client pings every 10 s; the test does it faster. A node with the default
// policy of grpc would end the connection at the third ping.
func TestPingsOfAnIdleClientAreTaken(t *testing.T) {
	f := start(t, Config{})
	c := mustDial(t, f.socket)
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(c, c)
	if err := fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if err := fr.WritePing(false, [8]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		awaitPong(t, c, fr, byte(i))
		time.Sleep(keepaliveMin * 3 / 2) // the pace of a patient client
	}
}

func awaitPong(t *testing.T, c net.Conn, fr *http2.Framer, want byte) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("waiting for the answer to ping %d: %v", want, err)
		}
		switch m := frame.(type) {
		case *http2.GoAwayFrame:
			t.Fatalf("after ping %d the node goes away: %v %s", want, m.ErrCode, m.DebugData())
		case *http2.PingFrame:
			if m.IsAck() && m.Data[0] == want {
				return
			}
		}
	}
}

func TestAFolderIsForOneNode(t *testing.T) {
	dir := t.TempDir()
	n, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one is told %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err = Open(Config{Dir: dir}); err != nil {
		t.Fatalf("after the first has closed: %v", err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("the folder: %v", err)
	}
}

func TestOpeningFails(t *testing.T) {
	if _, err := Open(Config{}); err == nil {
		t.Error("without a folder")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: file}); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("a file as folder: %v", err)
	}
}

func TestThePrivateFolderIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	n, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
}

// The clock panics, as a defect in a handler would.
func TestAPanicEndsItsCallOnly(t *testing.T) {
	var broken atomic.Bool
	f := start(t, Config{Now: func() time.Time {
		if broken.Load() {
			panic("no time")
		}
		return time.Now()
	}})
	f.append("s", esdb.Any{}, "a")
	broken.Store(true)
	call, err := f.raw.Read(f.ctx, readRequest(func(o *streams.ReadReq_Options) { o.StreamOption = fromStart("s") }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); status.Code(err) != codes.Internal {
		t.Errorf("the read says %v", err)
	}
	broken.Store(false)
	if got := f.revisions("s"); got != "0" {
		t.Errorf("then the stream has %s", got)
	}
}

func TestCloseIsBoundedByNoClient(t *testing.T) {
	f := start(t, Config{})
	big := make([]esdb.EventData, 60)
	for i := range big {
		big[i] = esdb.EventData{EventID: id(itoa(uint64(i))), EventType: "t", Data: make([]byte, 16<<10)}
	}
	for range 8 {
		if _, err := f.client.AppendToStream(f.ctx, "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Revision(f.next())}, big...); err != nil && code(err) != esdb.ErrorCodeWrongExpectedVersion {
			t.Fatal(err)
		}
	}
	// It asks for all and takes nothing: the node is in the middle of a Send.
	call, err := f.raw.Read(f.ctx, readRequest(func(o *streams.ReadReq_Options) { o.CountOption = &streams.ReadReq_Options_Count{Count: many} }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); err != nil {
		t.Fatal(err)
	}
	open, err := f.raw.Append(f.ctx) // and an append that never ends
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Send(anyRevision("s")); err != nil {
		t.Fatal(err)
	}
	f.stop() // the test's time is up if this hangs
	if err := open.RecvMsg(&streams.AppendResp{}); status.Code(err) != codes.Unavailable && !errors.Is(err, io.EOF) {
		t.Errorf("the open append says %v", err)
	}
}

// next is the last revision of s, or one that is refused where there is none.
func (f *fixture) next() uint64 {
	read, err := f.readStream("s", esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, 1)
	if err != nil || len(read) == 0 {
		f.append("s", esdb.NoStream{}, "first")
		return 0
	}
	return read[0].Event.EventNumber
}

func TestAClosedNodeTakesNothing(t *testing.T) {
	n, err := Open(Config{Dir: "log", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if o := n.store.write(&request{stream: "s", expected: expectAny, events: []proposed{{id: newID(), kind: "t"}}}); !errors.Is(o.err, errClosed) {
		t.Errorf("it says %v", o.err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Serve(l); err != nil {
		t.Errorf("serving after the end: %v", err)
	}
}

// What is remembered of streams is bounded, however many there are.
func TestMemoryDoesNotGrowWithStreams(t *testing.T) {
	n, err := Open(Config{Dir: "log", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	name := bytes.Repeat([]byte("x"), 1000)
	for i := range uint64(headsKept) / 2 {
		putUint64(name, i)
		o := n.store.write(&request{stream: string(name), expected: expectExists, action: actDelete})
		var wrong *wrongRevision
		if !errors.As(o.err, &wrong) {
			t.Fatal(o.err)
		}
		if _, err := n.store.stream(string(name[:nameCounted])); err != nil {
			t.Fatal(err)
		}
	}
	if heads := len(n.store.heads); heads > headsKept || heads*len(name) > namesKept+groupCount*len(name) {
		t.Errorf("%d heads are kept", heads)
	}
	if states := len(n.store.states); states > statesKept {
		t.Errorf("%d states are kept", states)
	}
}

// After a restart the client's first call may say so; the next works, and the
// same ids again are the same append.
func TestAClientOutlivesARestartOfTheNode(t *testing.T) {
	cfg := Config{Dir: "log", FS: vfs.NewMem()}
	f := start(t, cfg)
	before := f.append("s", esdb.NoStream{}, "a")
	f.stop()
	f.serve(cfg)
	var err error
	for range 2 {
		var again *esdb.WriteResult
		if again, err = f.try("s", esdb.NoStream{}, "a"); err == nil {
			if *again != *before {
				t.Errorf("the repetition answers %+v, the original %+v", again, before)
			}
			break
		}
		if code(err) != esdb.ErrorUnavailable {
			t.Errorf("the first call says %v", err)
		}
	}
	if err != nil {
		t.Fatalf("the second call says %v", err)
	}
	if got := f.revisions("s"); got != "0" {
		t.Errorf("the stream has %s", got)
	}
}
