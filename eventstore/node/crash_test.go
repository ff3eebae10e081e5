package node

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// ledger holds what was acknowledged.
type ledger struct {
	mu    sync.Mutex
	acked []acked
}

type acked struct {
	stream             string
	id                 [16]byte
	revision, position uint64
}

func (l *ledger) add(entries ...acked) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, entries...)
	return len(l.acked)
}

func (l *ledger) snapshot() []acked {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]acked(nil), l.acked...)
}

// audit reads every key of a log: positions and revisions have no gaps, no id is
// twice in a stream, the indexes say what the events say, and everything that
// was acknowledged is in its place.
func audit(t *testing.T, s *store, promised []acked) {
	t.Helper()
	type at struct{ stream, revision uint64 }
	numbers, last, where, ids := map[string]uint64{}, map[string]uint64{}, map[at]uint64{}, map[idRef]uint64{}
	position := uint64(0)
	scanKeys(t, s, prefixName, func(key, value []byte) { numbers[string(key)] = beUint64(value) })
	scanKeys(t, s, prefixEvent, func(key, value []byte) {
		e, err := parseRecord(value)
		if err != nil {
			t.Fatalf("the event at %d: %v", beUint64(key), err)
		}
		if position++; beUint64(key) != position || e.position != position {
			t.Fatalf("at position %d stands the event of %d, key %d", position, e.position, beUint64(key))
		}
		name := string(e.stream)
		number, ok := numbers[name]
		if previous, seen := last[name]; !ok || !seen && (e.revision != 0 || number != position) || seen && e.revision != previous+1 {
			t.Fatalf("stream %s (%d) goes from revision %d to %d at position %d", name, number, previous, e.revision, position)
		}
		last[name] = e.revision
		where[at{number, e.revision}] = position
		if _, twice := ids[idRef{number, e.id}]; twice {
			t.Fatalf("stream %s has id %x twice", name, e.id)
		}
		ids[idRef{number, e.id}] = e.revision
	})
	if len(numbers) != len(last) || s.committed.Load() != position {
		t.Fatalf("%d streams have names, %d events; the end is %d, events %d", len(numbers), len(last), s.committed.Load(), position)
	}
	revisions, indexed := 0, 0
	scanKeys(t, s, prefixRevision, func(key, value []byte) {
		if revisions++; where[at{beUint64(key), beUint64(key[8:])}] != beUint64(value) {
			t.Fatalf("the index has revision %d of stream %d at %d", beUint64(key[8:]), beUint64(key), beUint64(value))
		}
	})
	scanKeys(t, s, prefixID, func(key, value []byte) {
		if r, ok := ids[idRef{beUint64(key), [16]byte(key[8:])}]; !ok || r != beUint64(value) {
			t.Fatalf("the index has id %x of stream %d at revision %d", key[8:], beUint64(key), beUint64(value))
		}
		indexed++
	})
	if uint64(revisions) != position || uint64(indexed) != position {
		t.Fatalf("%d events, %d revisions and %d ids are indexed", position, revisions, indexed)
	}
	for _, a := range promised {
		number := numbers[a.stream]
		if r, ok := ids[idRef{number, a.id}]; !ok || r != a.revision || where[at{number, r}] != a.position {
			t.Fatalf("acknowledged %s@%d at %d is not there", a.stream, a.revision, a.position)
		}
	}
}

func scanKeys(t *testing.T, s *store, prefix byte, each func(key, value []byte)) {
	t.Helper()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		each(it.Key()[1:], it.Value())
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
}

// load appends from several callers until the store refuses.
func load(s *store, l *ledger, round int, notify func(total int)) *sync.WaitGroup {
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(round), uint64(caller)))
			for i := 0; ; i++ {
				stream := fmt.Sprintf("s%d", r.IntN(40))
				batch := make([]proposed, 1+r.IntN(4))
				for j := range batch {
					batch[j] = proposed{id: newID(), kind: "noted", contentType: contentJSON, data: make([]byte, r.IntN(2000))}
				}
				o := s.write(&request{stream: stream, expected: expectAny, events: batch})
				if o.err != nil {
					return
				}
				entries := make([]acked, len(batch))
				for j := range batch {
					back := uint64(len(batch) - 1 - j)
					entries[j] = acked{stream, batch[j].id, uint64(o.revision) - back, o.position - back}
				}
				notify(l.add(entries...))
			}
		})
	}
	return &wg
}

// The power goes at any moment; what was not synced is lost wholly, in part or
// not at all.
func TestEveryAcknowledgedEventOutlivesAPowerCut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var fs vfs.FS = vfs.NewCrashableMem()
	l := &ledger{}
	for round := range 12 {
		n, err := Open(Config{Dir: "log", FS: fs})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		audit(t, n.store, l.snapshot())
		target := len(l.snapshot()) + 1 + r.IntN(400)
		reached := make(chan struct{})
		var once sync.Once
		wg := load(n.store, l, round, func(total int) {
			if total >= target {
				once.Do(func() { close(reached) })
			}
		})
		if round%3 == 1 {
			if _, err := n.store.db.AsyncFlush(); err != nil { // a flush and its new log file are on the way
				t.Fatal(err)
			}
		}
		<-reached
		promised := l.snapshot()
		crashed := fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(3) * 50, RNG: r})
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		l.acked = promised // what came after the cut was never said
		fs = crashed
	}
}

// errDisk is what the disk says when it fails.
var errDisk = errors.New("no space left on device")

func TestAFailedSyncIsNotAcknowledgedAndEndsWriting(t *testing.T) {
	for name, kind := range map[string]errorfs.OpKind{"sync": errorfs.OpFileSync, "sync data": errorfs.OpFileSyncData, "write": errorfs.OpFileWrite} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			var failing atomic.Bool
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				log := strings.HasSuffix(op.Path, ".log")
				synced := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
				if failing.Load() && log && (op.Kind == kind || kind != errorfs.OpFileWrite && synced) {
					return errDisk
				}
				return nil
			}))
			f := start(t, Config{FS: fs})
			f.broken = true
			f.append("s", esdb.NoStream{}, "a", "b")
			sub := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.End{}})
			expectHeard(t, sub, "caught up")
			failing.Store(true)
			if _, err := f.try("s", esdb.Any{}, "lost"); err == nil || !strings.Contains(err.Error(), "accepts no writes") {
				t.Fatalf("the append says %v", err)
			}
			failing.Store(false)
			if _, err := f.try("s", esdb.Any{}, "later"); err == nil || !strings.Contains(err.Error(), "accepts no writes") {
				t.Errorf("the next append says %v", err)
			}
			if got := f.revisions("s"); got != "0 1" {
				t.Errorf("the stream has %s", got)
			}
			if n := len(f.readAll(esdb.ReadAllOptions{From: esdb.Start{}}, many)); n != 2 {
				t.Errorf("$all has %d events", n)
			}
			late := f.subscribe(esdb.SubscribeToAllOptions{From: esdb.Start{}})
			expectHeard(t, late, "s@0", "s@1", "caught up")
			crashed := mem.CrashClone(vfs.CrashCloneCfg{})
			again := start(t, Config{FS: crashed})
			if got := again.revisions("s"); got != "0 1" {
				t.Errorf("opened again, the stream has %s", got)
			}
			again.append("s", esdb.Any{}, "later")
			audit(t, again.node.store, nil)
		})
	}
}

func TestAFullDiskRefusesWritesUntilThereIsRoom(t *testing.T) {
	fs := vfs.NewMem()
	f := start(t, Config{FS: fs})
	f.append("s", esdb.NoStream{}, "a")
	for _, usage := range []vfs.DiskUsage{{TotalBytes: 1 << 40, AvailBytes: minFree - 1}, {TotalBytes: 40 << 20, AvailBytes: 1 << 20}, {TotalBytes: 1 << 40}} {
		fs.TestingSetDiskUsage(usage)
		for range 2 {
			if _, err := f.try("s", esdb.Any{}, "b"); err == nil || !strings.Contains(err.Error(), "nearly full") {
				t.Errorf("with %d bytes of %d free the append says %v", usage.AvailBytes, usage.TotalBytes, err)
			}
		}
		if got := f.revisions("s"); got != "0" {
			t.Errorf("the stream has %s", got)
		}
	}
	for i, usage := range []vfs.DiskUsage{{TotalBytes: 1 << 40, AvailBytes: minFree}, {TotalBytes: 40 << 20, AvailBytes: 3 << 20}} {
		fs.TestingSetDiskUsage(usage)
		f.append("s", esdb.Any{}, fmt.Sprint("room", i))
	}
	if got := f.revisions("s"); got != "0 1 2" {
		t.Errorf("with room again the stream has %s", got)
	}
}

// What a crash leaves of the real files: several logs, the last with room ahead,
// its end whole, torn, or never written.
func TestLogsWithRoomAheadAreReadToTheirEnd(t *testing.T) {
	dir := t.TempDir()
	n, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	l := &ledger{}
	write := func(size int) {
		t.Helper()
		p := proposed{id: newID(), kind: "noted", data: bytes.Repeat([]byte("x"), size)}
		o := n.store.write(&request{stream: "s", expected: expectAny, events: []proposed{p}})
		if o.err != nil {
			t.Fatal(o.err)
		}
		l.add(acked{"s", p.id, uint64(o.revision), o.position})
	}
	for range 60 {
		write(100 << 10)
	}
	for range 5 {
		write(1000)
	}
	awaitMark(t, vfs.Default, dir, n.store.committed.Load())
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) < 3 {
		t.Fatalf("the logs are %v, %v", logs, err)
	}
	last := logs[len(logs)-1]
	whole, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(whole, "\x00"))
	if len(whole) == end {
		t.Fatal("the last log has no room ahead")
	}
	for name, c := range map[string]struct {
		cut  int // bytes of the end that were never written
		size int // of the file
		lost int // events, at most
	}{
		"whole": {0, len(whole), 0}, "without its room": {0, end, 0}, "torn": {500, len(whole), 1}, "torn and short": {500, end - 500, 1},
		"torn in a header": {len(whole[:end]) - bytes.LastIndex(whole[:end], []byte("noted")), len(whole), 1}, "two gone": {1500, len(whole), 2},
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "log")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			damaged := append([]byte(nil), whole...)
			clear(damaged[end-c.cut:])
			if err := os.WriteFile(filepath.Join(copied, filepath.Base(last)), damaged[:c.size], 0o600); err != nil {
				t.Fatal(err)
			}
			promised := l.snapshot()
			var loss *LossError
			if again, err := Open(Config{Dir: copied}); c.lost > 0 && (!errors.As(err, &loss) || loss.Acknowledged != uint64(len(promised)) || loss.Last >= loss.Acknowledged) {
				t.Fatalf("with acknowledged events lost: %v, %v", again, err)
			} else if err == nil {
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
			// The same end is cut where it was not acknowledged.
			if err := writeMark(vfs.Default, copied, markSlot{generation: 1 << 40, position: uint64(len(promised) - c.lost)}); err != nil {
				t.Fatal(err)
			}
			again, err := Open(Config{Dir: copied})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			audit(t, again.store, promised[:len(promised)-c.lost])
			if o := again.store.write(&request{stream: "s", expected: expectAny, events: []proposed{{id: newID(), kind: "noted"}}}); o.err != nil {
				t.Fatal(o.err)
			}
			audit(t, again.store, promised[:len(promised)-c.lost])
		})
	}
}

// childDir makes the test binary a node, see TestMain.
const childDir = "NODE_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// child serves until it is killed.
func child(dir string) int {
	n, err := Open(Config{Dir: filepath.Join(dir, "log")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := Listen(filepath.Join(dir, "s"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	if err := n.Serve(l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func startChild(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the node says %q, %v", line, err)
	}
	return cmd
}

// The process is killed while clients write over its socket; they repeat what
// was not answered, and nothing is lost or doubled.
func TestEveryAcknowledgedEventOutlivesAKill(t *testing.T) {
	dir := socketFolder(t)
	l := &ledger{}
	for round := range 4 {
		cmd := startChild(t, dir)
		if _, err := Open(Config{Dir: filepath.Join(dir, "log")}); !errors.Is(err, ErrLocked) {
			t.Fatalf("a second process on the folder is told %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		target := len(l.snapshot()) + 200
		reached := make(chan struct{})
		var once sync.Once
		var wg sync.WaitGroup
		client := dial(t, filepath.Join(dir, "s"))
		for caller := range 8 {
			wg.Go(func() {
				stream := fmt.Sprintf("caller-%d", caller)
				for i := 0; ctx.Err() == nil; i++ {
					e := event1(fmt.Sprintf("%d %d %d", round, caller, i))
					call, done := context.WithTimeout(ctx, 5*time.Second)
					r, err := client.AppendToStream(call, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, e)
					done()
					if err != nil {
						return
					}
					if l.add(acked{stream, e.EventID, r.NextExpectedVersion, r.CommitPosition}) >= target {
						once.Do(func() { close(reached) })
					}
				}
			})
		}
		<-reached
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		cancel()
		wg.Wait()
		n, err := Open(Config{Dir: filepath.Join(dir, "log")})
		if err != nil {
			t.Fatal(err)
		}
		audit(t, n.store, l.snapshot())
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
