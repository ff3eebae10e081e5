package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// folder is a log on the real disk that a test damages.
type folder struct {
	t   *testing.T
	dir string
	l   *ledger
}

// write appends one event.
func (f *folder) write(s *store, stream string, size int) {
	f.t.Helper()
	p := proposed{id: newID(), kind: "noted", data: bytes.Repeat([]byte("x"), size)}
	o := s.write(&request{stream: stream, expected: expectAny, events: []proposed{p}})
	if o.err != nil {
		f.t.Fatal(o.err)
	}
	f.l.add(acked{stream, p.id, uint64(o.revision), o.position})
}

// aLog is a folder with several tables and a write-ahead log with events that
// are in no table. The node that wrote it was killed, as it were.
func aLog(t *testing.T) *folder {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	n, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	f := &folder{t, filepath.Join(t.TempDir(), "log"), &ledger{}}
	for i := range 300 {
		f.write(n.store, fmt.Sprint("s", i%9), 300)
		if i%120 == 100 {
			if err := n.store.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	awaitMark(t, vfs.Default, dir, n.store.committed.Load())
	if err := os.CopyFS(f.dir, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return f
}

// awaitMark waits until the mark says position.
func awaitMark(t *testing.T, fsys vfs.FS, dir string, position uint64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		m, found, err := readMark(fsys, dir)
		if err == nil && found && m.position == position {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the mark is %+v, %v, %v, want position %d", m, found, err, position)
		}
	}
}

// copied is the folder in another place.
func (f *folder) copied(t *testing.T) *folder {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(dir, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	return &folder{t, dir, f.l}
}

// named are the files that match a pattern, in their order.
func (f *folder) named(pattern string) []string {
	f.t.Helper()
	names, err := filepath.Glob(filepath.Join(f.dir, pattern))
	if err != nil || len(names) == 0 {
		f.t.Fatalf("%s matches %v, %v", pattern, names, err)
	}
	return names
}

func (f *folder) last(pattern string) string { n := f.named(pattern); return n[len(n)-1] }

// content is everything in the folder.
func (f *folder) content() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() && e.Name() != "LOCK" {
			b, err := os.ReadFile(filepath.Join(f.dir, e.Name()))
			if err != nil {
				f.t.Fatal(err)
			}
			out[e.Name()] = string(b)
		}
	}
	return out
}

func (f *folder) remove(pattern string) {
	f.t.Helper()
	for _, name := range f.named(pattern) {
		if err := os.RemoveAll(name); err != nil {
			f.t.Fatal(err)
		}
	}
}

// edit changes a file.
func (f *folder) edit(name string, change func([]byte) []byte) {
	f.t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, change(b), 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// editLog changes the last write-ahead log. end is that of its records; what
// follows is room ahead, or of an earlier use of the file.
func (f *folder) editLog(change func(b []byte, end int) []byte) {
	f.t.Helper()
	name := f.last("*.log")
	t, err := readTail(vfs.Default, name)
	if err != nil {
		f.t.Fatal(err)
	}
	f.edit(name, func(b []byte) []byte { return change(b, int(t.offset)) })
}

// cutLogEnd takes bytes from the end of the records.
func (f *folder) cutLogEnd(n int) { f.editLog(func(b []byte, end int) []byte { return b[:end-n] }) }

// flipLog flips a bit that many bytes before the end of the records.
func (f *folder) flipLog(back int) {
	f.editLog(func(b []byte, end int) []byte {
		b[end-back] ^= 0x10
		return b
	})
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 0x10
		return b
	}
}

// Whatever is wrong with a folder: nothing in it is changed, and the error says
// what it is.
func TestADamagedLogIsRefusedAndLeftAsItIs(t *testing.T) {
	whole := aLog(t)
	for name, c := range map[string]struct {
		damage func(*folder)
		want   error
		says   string
	}{
		"no manifest marker": {func(f *folder) { f.remove("marker.manifest*") }, ErrDamaged, "marker.manifest"},
		"no format marker":   {func(f *folder) { f.remove("marker.format*") }, ErrDamaged, "marker.format-version"},
		"no markers":         {func(f *folder) { f.remove("marker.*") }, ErrDamaged, "marker."},
		"no manifest":        {func(f *folder) { f.remove("MANIFEST-*") }, ErrDamaged, "MANIFEST-"},
		"an empty manifest":  {func(f *folder) { f.edit(f.last("MANIFEST-*"), func([]byte) []byte { return nil }) }, ErrDamaged, "cannot be read"},
		"a table is missing": {func(f *folder) { os.Remove(f.last("*.sst")) }, ErrDamaged, ".sst is missing"},
		"a table is short":   {func(f *folder) { f.edit(f.last("*.sst"), func(b []byte) []byte { return b[:len(b)-1] }) }, ErrDamaged, "wrong size"},
		"no write-ahead log": {func(f *folder) { f.remove("*.log") }, ErrDamaged, "write-ahead log"},
		"only the marks":     {func(f *folder) { f.remove("*.log"); f.remove("*.sst"); f.remove("M*"); f.remove("m*") }, ErrDamaged, "missing"},
		"only the options": {func(f *folder) {
			f.remove("*.log")
			f.remove("*.sst")
			f.remove("M*")
			f.remove("m*")
			f.remove("latchkey.*")
		}, ErrDamaged, "missing"},
		"the last log is missing":  {func(f *folder) { os.Remove(f.last("*.log")) }, nil, "was acknowledged"},
		"the last log is cut":      {func(f *folder) { f.cutLogEnd(100) }, ErrLoss, "position 300 was acknowledged"},
		"the last log is empty":    {func(f *folder) { f.edit(f.last("*.log"), func([]byte) []byte { return nil }) }, ErrLoss, "position 300 was acknowledged"},
		"a flip in the last event": {func(f *folder) { f.flipLog(100) }, ErrLoss, "position 299, but position 300 was"},
		"a flip before the end":    {func(f *folder) { f.flipLog(2000) }, ErrLoss, "position 300 was acknowledged"},
		"a flip at the beginning":  {func(f *folder) { f.edit(f.last("*.log"), flip(30)) }, ErrLoss, "position 300 was acknowledged"},
		"the mark is damaged":      {func(f *folder) { f.edit(f.last(markName), func([]byte) []byte { return make([]byte, 8192) }) }, ErrDamaged, markName},
		"the mark is ahead": {func(f *folder) {
			if err := writeMark(vfs.Default, f.dir, markSlot{1 << 40, 301}); err != nil {
				f.t.Fatal(err)
			}
		}, ErrLoss, "ends at position 300, but position 301 was"},
	} {
		t.Run(name, func(t *testing.T) {
			f := whole.copied(t)
			c.damage(f)
			before := f.content()
			n, err := Open(Config{Dir: f.dir})
			if err == nil {
				n.Close()
				t.Fatal("it is opened")
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("it says %v", err)
			}
			if after := f.content(); !maps.Equal(before, after) {
				t.Errorf("the folder held %v and holds %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			}
		})
	}
}

// Without any file that a healthy folder has, one at a time: all is there, or it
// is refused.
func TestNoFileIsMissingInSilence(t *testing.T) {
	whole := aLog(t)
	for name := range whole.content() {
		t.Run(name, func(t *testing.T) {
			f := whole.copied(t)
			if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
				t.Fatal(err)
			}
			n, err := Open(Config{Dir: f.dir})
			if err != nil {
				return
			}
			defer n.Close()
			audit(t, n.store, f.l.snapshot())
		})
	}
}

// A flipped byte anywhere in the files that say where the log ends: all is
// there, or it is refused.
func TestNoFlippedByteShortensTheLogInSilence(t *testing.T) {
	whole := aLog(t)
	for _, pattern := range []string{"*.log", "MANIFEST-*", markName} {
		b, err := os.ReadFile(whole.last(pattern))
		if err != nil {
			t.Fatal(err)
		}
		end := len(b)
		if pattern == "*.log" {
			tail, err := readTail(vfs.Default, whole.last(pattern))
			if err != nil {
				t.Fatal(err)
			}
			end = int(tail.offset)
		}
		const places = 20
		for i := range places {
			f := whole.copied(t)
			at := i * (end - 1) / (places - 1)
			f.edit(f.last(pattern), flip(at))
			n, err := Open(Config{Dir: f.dir})
			if err != nil {
				continue
			}
			audit(t, n.store, f.l.snapshot())
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Without a mark, as an earlier version left it, damage before the end of a
// write-ahead log is noticed all the same: a record stands behind it.
func TestDamageBeforeAnotherRecordNeedsNoMark(t *testing.T) {
	whole := aLog(t)
	whole.remove(markName)
	n, err := Open(Config{Dir: whole.copied(t).dir})
	if err != nil {
		t.Fatalf("the folder of an earlier version: %v", err)
	}
	audit(t, n.store, whole.l.snapshot())
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, back := range []int{900, 1500, 4000, 10000} {
		f := whole.copied(t)
		f.flipLog(back)
		var loss *LossError
		if _, err := Open(Config{Dir: f.dir}); !errors.As(err, &loss) || loss.Acknowledged <= loss.Last || loss.Acknowledged > 300 {
			t.Errorf("a flip %d bytes before the end: %v", back, err)
		}
	}
}

// A manifest of earlier, put back: the tables made since are not in it, and the
// write-ahead logs that they came from are gone.
func TestAnOlderManifestIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	n, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	f := &folder{t, dir, &ledger{}}
	for range 50 {
		f.write(n.store, "s", 100)
	}
	if err := n.store.db.Flush(); err != nil {
		t.Fatal(err)
	}
	older, err := os.ReadFile(f.last("MANIFEST-*"))
	if err != nil {
		t.Fatal(err)
	}
	name := f.last("MANIFEST-*")
	for range 3 {
		for range 50 {
			f.write(n.store, "s", 100)
		}
		if err := n.store.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		f.write(n.store, "s", 100)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, older, 0o600); err != nil {
		t.Fatal(err)
	}
	before := f.content()
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLoss) && !errors.Is(err, ErrDamaged) {
		t.Errorf("it says %v", err)
	}
	if !maps.Equal(before, f.content()) {
		t.Error("the folder was changed")
	}
}

// A write-ahead log between others is missing, as in a copy of a busy folder.
func TestAGapBetweenLogsIsRefused(t *testing.T) {
	f, names := severalLogs(t)
	gone := f.copied(t)
	if err := os.Remove(filepath.Join(gone.dir, names[1])); err != nil {
		t.Fatal(err)
	}
	var loss *LossError
	if _, err := Open(Config{Dir: gone.dir}); !errors.As(err, &loss) || !strings.Contains(err.Error(), "missing between others") {
		t.Fatalf("it says %v", err)
	}
	n, err := Open(Config{Dir: gone.dir, AcceptLoss: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	last := n.store.committed.Load()
	if last == 0 || last >= uint64(len(f.l.snapshot())) || last != loss.Last {
		t.Errorf("with the loss accepted it ends at %d, was said to end at %d", last, loss.Last)
	}
	audit(t, n.store, f.l.snapshot()[:last])
	for _, name := range names[2:] {
		if _, err := os.Stat(filepath.Join(gone.dir, name+setAside)); err != nil {
			t.Errorf("%s is not kept: %v", name, err)
		}
	}
}

// severalLogs is a folder whose events are in several write-ahead logs only.
func severalLogs(t *testing.T) (*folder, []string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	n, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	f := &folder{t, filepath.Join(t.TempDir(), "log"), &ledger{}}
	names := []string{}
	for len(names) < 4 {
		f.write(n.store, "s", 50<<10)
		names = (&folder{t, dir, nil}).named("*.log")
		if len(f.l.snapshot()) == 1 {
			// The logs must outlive their tables, which are copied before they are made.
			if err := os.CopyFS(f.dir, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	awaitMark(t, vfs.Default, dir, n.store.committed.Load())
	for _, name := range append(names, filepath.Join(dir, markName)) {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(f.dir, filepath.Base(name)), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return f, names
}

// With the loss accepted the log ends before the damage, goes on, and what it no
// longer uses is kept.
func TestALossIsAcceptedOnPurposeOnly(t *testing.T) {
	whole := aLog(t)
	for name, damage := range map[string]func(*folder){
		"cut":                  func(f *folder) { f.cutLogEnd(100) },
		"a flip at the end":    func(f *folder) { f.flipLog(100) },
		"a flip before it":     func(f *folder) { f.flipLog(2000) },
		"the mark is damaged":  func(f *folder) { f.edit(f.last(markName), func([]byte) []byte { return nil }) },
		"all that was not yet": func(f *folder) { f.edit(f.last("*.log"), func([]byte) []byte { return nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			f := whole.copied(t)
			damage(f)
			if _, err := Open(Config{Dir: f.dir}); err == nil {
				t.Fatal("it is opened without")
			}
			damagedLog, err := os.ReadFile(f.last("*.log"))
			if err != nil {
				t.Fatal(err)
			}
			lastLog := f.last("*.log")
			var said bytes.Buffer
			n, err := Open(Config{Dir: f.dir, AcceptLoss: true, Logger: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatal(err)
			}
			last := n.store.committed.Load()
			promised := f.l.snapshot()[:last]
			audit(t, n.store, promised)
			f.l = &ledger{acked: slices.Clone(promised)}
			f.write(n.store, "s0", 10)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if name == "a flip before it" {
				kept, err := os.ReadFile(lastLog + setAside)
				if err != nil || !bytes.Equal(kept, damagedLog) {
					t.Errorf("the damaged file is not kept: %v", err)
				}
			}
			if last < 300 && (!strings.Contains(said.String(), "accepting the loss") || !strings.Contains(said.String(), fmt.Sprint("last=", last))) {
				t.Errorf("it says %q", said.String())
			}
			if n, err = Open(Config{Dir: f.dir}); err != nil {
				t.Fatalf("afterwards: %v", err)
			}
			defer n.Close()
			audit(t, n.store, f.l.snapshot())
		})
	}
}

// The first opening of a log may end at any moment.
func TestAnUnfinishedCreationIsResumed(t *testing.T) {
	for _, left := range [][]string{
		{creating}, {creating, "MANIFEST-000001"}, {creating, "MANIFEST-000001", "marker.manifest.000001.MANIFEST-000001"},
		{creating, "000002.log", "MANIFEST-000001", "marker.manifest.000001.MANIFEST-000001", "marker.format-version.000001.013"},
	} {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("log", 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range left {
			if err := placeFile(mem, "log", name); err != nil {
				t.Fatal(err)
			}
		}
		f := start(t, Config{Dir: "log", FS: mem})
		f.append("s", esdb.Any{}, "a")
		if names, err := mem.List("log"); err != nil || slices.Contains(names, creating) {
			t.Errorf("%v is left, %v", names, err)
		}
	}
}

// With events in it a folder is never taken for one that is being made.
func TestAFolderWithEventsIsNotMadeAgain(t *testing.T) {
	f := aLog(t)
	f.remove("*.sst")
	f.remove("marker.*")
	f.remove(markName)
	if err := os.WriteFile(filepath.Join(f.dir, creating), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := f.content()
	if _, err := Open(Config{Dir: f.dir}); !errors.Is(err, ErrDamaged) {
		t.Errorf("it says %v", err)
	}
	if !maps.Equal(before, f.content()) {
		t.Error("the folder was changed")
	}
}

func TestFilesOpenToOthersAreClosed(t *testing.T) {
	f := aLog(t)
	if err := os.Chmod(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range f.named("*") {
		if info, err := os.Stat(name); err == nil && !info.IsDir() {
			if err := os.Chmod(name, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	var said bytes.Buffer
	n, err := Open(Config{Dir: f.dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	f.write(n.store, "s", 10)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "now restricted") {
		t.Errorf("it says %q", said.String())
	}
	if err := filepath.WalkDir(f.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestALogIsReadWhereNobodyCanWrite(t *testing.T) {
	f := aLog(t)
	before := f.content()
	n, err := Open(Config{Dir: f.dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	audit(t, n.store, f.l.snapshot())
	if o := n.store.write(&request{stream: "s", expected: expectAny, events: []proposed{{id: newID(), kind: "t"}}}); !errors.Is(o.err, errReadOnly) {
		t.Errorf("a write says %v", o.err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, f.content()) {
		t.Error("the folder was changed")
	}
	f.cutLogEnd(100)
	if _, err := Open(Config{Dir: f.dir, ReadOnly: true}); !errors.Is(err, ErrLoss) {
		t.Errorf("a damaged one says %v", err)
	}
	if _, err := Open(Config{Dir: t.TempDir(), ReadOnly: true}); err == nil {
		t.Error("an empty folder is opened")
	}
}

// A copy that is taken while the node writes has everything that was acknowledged
// before, or is refused.
func TestACopyOfABusyFolderIsWholeOrRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	n, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{}
	grown := make(chan struct{}, 1)
	var looking sync.Mutex // held while a copy is looked at: the log need not grow then
	wg := load(n.store, l, 1, func(int) {
		select {
		case grown <- struct{}{}:
		default:
		}
		looking.Lock()
		defer looking.Unlock()
	})
	defer wg.Wait()
	defer n.Close()
	whole, refused := 0, 0
	look := func(copied string, before []acked) {
		looking.Lock()
		defer looking.Unlock()
		c, err := Open(Config{Dir: copied})
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrLoss) {
				t.Errorf("a copy says %v", err)
			}
			refused++
			return
		}
		whole++
		audit(t, c.store, before)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for range 10 {
		for range 20 {
			<-grown
		}
		before := l.snapshot()
		copied := filepath.Join(t.TempDir(), "log")
		_ = os.CopyFS(copied, os.DirFS(dir)) // files may go meanwhile
		look(copied, before)
	}
	t.Logf("%d copies are whole, %d refused", whole, refused)
}

// TestADamagedManifestIsNoLoss: the events are all there, so no loss is offered,
// and accepting one changes nothing.
func TestADamagedManifestIsNoLoss(t *testing.T) {
	whole := aLog(t)
	b, err := os.ReadFile(whole.last("MANIFEST-*"))
	if err != nil {
		t.Fatal(err)
	}
	for at := 4; at < len(b); at += len(b)/9 + 1 {
		f := whole.copied(t)
		f.edit(f.last("MANIFEST-*"), flip(at))
		before := f.content()
		for _, accept := range []bool{false, true} {
			n, err := Open(Config{Dir: f.dir, AcceptLoss: accept})
			if err == nil {
				t.Fatalf("a manifest that is damaged at byte %d was opened: %v", at, n.Close())
			}
			if !errors.Is(err, ErrDamaged) || errors.Is(err, ErrLoss) || !strings.Contains(err.Error(), "MANIFEST-") {
				t.Errorf("damaged at byte %d, accepting %v: %v", at, accept, err)
			}
			if !maps.Equal(before, f.content()) {
				t.Errorf("damaged at byte %d, accepting %v: the folder was changed", at, accept)
			}
		}
	}
}

// shutFS lets nobody make a file.
type shutFS struct{ vfs.FS }

func (shutFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestAFolderThatIsShutIsRefused(t *testing.T) {
	f := aLog(t)
	n, err := Open(Config{Dir: f.dir, FS: shutFS{vfs.Default}})
	if err == nil {
		t.Fatal("it was opened:", n.Close())
	}
	if !strings.Contains(err.Error(), "this user cannot") {
		t.Error(err)
	}
}

// deniedFS lets nobody read the write-ahead logs.
type deniedFS struct{ vfs.FS }

func (d deniedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if logPattern.MatchString(d.PathBase(name)) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.FS.Open(name, opts...)
}

func TestAFileThatIsDeniedIsNotDamaged(t *testing.T) {
	f := aLog(t)
	n, err := Open(Config{Dir: f.dir, FS: deniedFS{vfs.Default}})
	if err == nil {
		t.Fatal("it was opened:", n.Close())
	}
	if errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "this user cannot read") {
		t.Error(err)
	}
}
