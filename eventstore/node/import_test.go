package node

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// imported is an event of $all as Import takes it.
func imported(r *esdb.ResolvedEvent) ImportedEvent {
	e := r.OriginalEvent()
	return ImportedEvent{Stream: e.StreamID, Revision: e.EventNumber, ID: e.EventID, Type: e.EventType, ContentType: e.ContentType,
		Data: e.Data, Metadata: e.UserMetadata, Created: e.CreatedDate}
}

// each returns the events one by one, as Import asks for them.
func each(events []ImportedEvent) func() (ImportedEvent, error) {
	return func() (ImportedEvent, error) {
		if len(events) == 0 {
			return ImportedEvent{}, io.EOF
		}
		e := events[0]
		events = events[1:]
		return e, nil
	}
}

func (f *fixture) allForImport() []ImportedEvent {
	var out []ImportedEvent
	for _, r := range f.readAll(esdb.ReadAllOptions{From: esdb.Start{}}, many) {
		out = append(out, imported(r))
	}
	return out
}

func TestAnImportedLogReadsTheSame(t *testing.T) {
	f := start(t, Config{})
	for i := range 300 {
		f.append(fmt.Sprintf("s%d", i%7), esdb.Any{}, fmt.Sprint("a", i), fmt.Sprint("b", i))
	}
	f.setMeta("s1", `{"$maxCount":3}`)
	f.setMeta("s2", `{"$tb":10}`)
	f.delete("s3")
	f.append("s3", esdb.NoStream{}, "back")
	f.delete("s4")
	f.tombstone("s5")
	events := f.allForImport()

	cfg := Config{Dir: "imported", FS: vfs.NewCrashableMem()}
	last, err := Import(cfg, each(events))
	if err != nil {
		t.Fatal(err)
	}
	if last != uint64(len(events)) {
		t.Fatalf("the last position is %d of %d events", last, len(events))
	}
	// Everything is synced: the power may go at once.
	cfg.FS = cfg.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	again := start(t, cfg)
	if got := again.allForImport(); fmt.Sprint(got) != fmt.Sprint(events) {
		t.Error("$all of the imported log differs")
	}
	for i := range 7 {
		s := fmt.Sprintf("s%d", i)
		if got, want := again.revisions(s), f.revisions(s); got != want {
			t.Errorf("%s has %s, the original %s", s, got, want)
		}
	}
	for _, g := range []*fixture{f, again} { // and goes on the same
		g.append("s0", esdb.Revision(again.lastRevision("s0")), "more")
		if _, err := g.try("s5", esdb.Any{}, "refused"); code(err) != esdb.ErrorCodeStreamDeleted {
			t.Errorf("an append to a tombstoned stream says %v", err)
		}
	}
	if got, want := again.revisions("s0"), f.revisions("s0"); got != want {
		t.Errorf("s0 has %s, the original %s", got, want)
	}
}

func TestAnImportedLogIsWhole(t *testing.T) {
	var events []ImportedEvent
	l := &ledger{}
	for i := range uint64(5000) {
		e := ImportedEvent{Stream: fmt.Sprint("s", i%50), Revision: i / 50, ID: id(fmt.Sprint(i)), Type: "t", ContentType: contentJSON, Data: []byte("{}")}
		events = append(events, e)
		l.add(acked{e.Stream, e.ID, e.Revision, i + 1})
	}
	cfg := Config{Dir: "log", FS: vfs.NewMem()}
	if _, err := Import(cfg, each(events)); err != nil {
		t.Fatal(err)
	}
	audit(t, start(t, cfg).node.store, l.snapshot())
}

func (f *fixture) lastRevision(stream string) uint64 {
	f.t.Helper()
	out, err := f.readStream(stream, esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, 1)
	if err != nil || len(out) != 1 {
		f.t.Fatalf("the last event of %s: %v, %v", stream, out, err)
	}
	return out[0].OriginalEvent().EventNumber
}

// With events left out, positions are counted again and revisions keep their
// gaps.
func TestAnImportMayLeaveEventsOut(t *testing.T) {
	var events []ImportedEvent
	for i := range uint64(9000) {
		if i%3 != 1 {
			events = append(events, ImportedEvent{Stream: "s", Revision: i, ID: id(fmt.Sprint(i)), Type: "t", ContentType: contentJSON,
				Data: []byte(strings.Repeat("x", 2000)), Created: time.Unix(int64(i), 100)})
		}
	}
	cfg := Config{Dir: "log", FS: vfs.NewMem()}
	if last, err := Import(cfg, each(events)); last != 6000 || err != nil {
		t.Fatalf("%d, %v", last, err)
	}
	f := start(t, cfg)
	got := f.allForImport()
	if len(got) != len(events) || got[5999].Revision != 8999 || !got[10].Created.Equal(events[10].Created) {
		t.Errorf("%d events, the last %+v", len(got), got[len(got)-1])
	}
	if got := f.append("s", esdb.Revision(8999), "more"); got.NextExpectedVersion != 9000 || got.CommitPosition != 6001 {
		t.Errorf("an append is at %+v", got)
	}
}

func TestAnImportThatFailsIsNoLog(t *testing.T) {
	good := ImportedEvent{Stream: "s", ID: id("1"), Type: "t", ContentType: contentJSON}
	with := func(change func(*ImportedEvent)) ImportedEvent {
		e := good
		change(&e)
		return e
	}
	for name, bad := range map[string]ImportedEvent{
		"the same revision": good,
		"no stream":         with(func(e *ImportedEvent) { e.Stream = "" }),
		"no type":           with(func(e *ImportedEvent) { e.Revision, e.Type = 1, "" }),
		"no id":             with(func(e *ImportedEvent) { e.Revision, e.ID = 1, [16]byte{} }),
		"no revision":       with(func(e *ImportedEvent) { e.Revision = math.MaxUint64 }),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: "log", FS: vfs.NewMem()}
			if _, err := Import(cfg, each([]ImportedEvent{good, bad})); err == nil || !strings.Contains(err.Error(), "after position 1") {
				t.Fatalf("it says %v", err)
			}
			if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "restore") {
				t.Errorf("opening says %v", err)
			}
			if _, err := Import(cfg, each(nil)); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("importing again says %v", err)
			}
		})
	}
	source := errors.New("the copy is damaged")
	if _, err := Import(Config{Dir: "log", FS: vfs.NewMem()}, func() (ImportedEvent, error) { return ImportedEvent{}, source }); !errors.Is(err, source) {
		t.Errorf("it says %v", err)
	}
}

func TestAnImportNeedsAnEmptyFolder(t *testing.T) {
	cfg := Config{Dir: "log", FS: vfs.NewMem()}
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := cfg.FS.List("log")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Import(cfg, each(nil)); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Fatalf("it says %v", err)
	}
	after, err := cfg.FS.List("log")
	slices.Sort(before)
	slices.Sort(after)
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("the folder held %v and holds %v, %v", before, after, err)
	}
}
