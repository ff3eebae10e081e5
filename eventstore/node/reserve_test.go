package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc/metadata"
)

// aDisk is a small disk that a test fills.
type aDisk struct {
	fs    vfs.FS
	dir   string             // for the log
	leave func(bytes uint64) // fills it up to this
	clear func()             // makes room again
	avail func() (free uint64)
}

const diskBytes = 64 << 20

// fakeDisk is one in memory.
type fakeDisk struct {
	vfs.FS
	filler atomic.Uint64
}

func (d *fakeDisk) used(dir string) (sum uint64) {
	names, err := d.FS.List(dir)
	if err != nil {
		return 0 // it is not there yet
	}
	for _, name := range names {
		info, err := d.Stat(d.PathJoin(dir, name))
		switch {
		case err != nil: // it was removed meanwhile
		case info.IsDir():
			sum += d.used(d.PathJoin(dir, name))
		default:
			sum += uint64(info.Size())
		}
	}
	return sum
}

func (d *fakeDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	used := d.used("log") + d.filler.Load()
	return vfs.DiskUsage{TotalBytes: diskBytes, AvailBytes: diskBytes - min(used, diskBytes), UsedBytes: used}, nil
}

func (d *fakeDisk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &fakeFile{f, d}, nil
}

func (d *fakeDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(d.FS.Create(name, c))
}

func (d *fakeDisk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(d.FS.ReuseForWrite(from, to, c))
}

type fakeFile struct {
	vfs.File
	disk *fakeDisk
}

func (f *fakeFile) Write(p []byte) (int, error) {
	if usage, err := f.disk.GetDiskUsage(""); err != nil || uint64(len(p)) > usage.AvailBytes {
		return 0, errors.Join(&os.PathError{Op: "write", Path: "a file", Err: syscall.ENOSPC}, err)
	}
	return f.File.Write(p)
}

func inMemory(*testing.T) aDisk {
	d := &fakeDisk{FS: vfs.NewMem()}
	avail := func() uint64 {
		usage, _ := d.GetDiskUsage("") // never fails
		return usage.AvailBytes
	}
	return aDisk{d, "log", func(leave uint64) { d.filler.Add(avail() - min(leave, avail())) }, func() { d.filler.Store(0) }, avail}
}

// onTmpfs is a real one; it takes root to make it.
func onTmpfs(t *testing.T) aDisk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
		t.Logf("no tmpfs can be mounted here (%v): the disk in memory has to do", err)
		return inMemory(t)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	avail := func() uint64 {
		usage, err := vfs.Default.GetDiskUsage(dir)
		if err != nil {
			t.Fatal(err)
		}
		return usage.AvailBytes
	}
	filler := filepath.Join(dir, "filler")
	return aDisk{vfs.Default, filepath.Join(dir, "log"), func(leave uint64) {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		for left := avail() - min(leave, avail()); left > 0; {
			n, err := f.Write(zeros[:min(left, aheadBytes)])
			if left -= uint64(n); err != nil {
				break
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}, avail}
}

// take appends an event that takes something away.
func (f *fixture) take(stream, name string, size int) error {
	e := event1(name)
	e.Data, e.ContentType = make([]byte, size), esdb.ContentTypeBinary
	ctx := metadata.AppendToOutgoingContext(f.ctx, ReserveHeader, "1")
	_, err := f.client.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, e)
	return err
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain awaited: %s", what)
		}
	}
}

func (f *fixture) reserveIsFull() bool {
	r := f.node.store.disk.reserve
	return r.want > 0 && r.bytes() == uint64(r.want)*r.part
}

func TestOnAFullDiskOnlyWhatTakesAwayIsWritten(t *testing.T) {
	for name, make := range map[string]func(*testing.T) aDisk{"in memory": inMemory, "tmpfs": onTmpfs} {
		t.Run(name, func(t *testing.T) {
			d := make(t)
			var said bytes.Buffer
			cfg := Config{Dir: d.dir, FS: d.fs, Logger: slog.New(slog.NewTextHandler(&said, nil))}
			f := start(t, cfg)
			f.append("s", esdb.NoStream{}, "a")
			await(t, "the reserve is made", f.reserveIsFull)

			taken := 0
			for _, leave := range []uint64{200 << 10, 0} {
				d.leave(leave)
				begun := time.Now()
				if _, err := f.try("s", esdb.Any{}, "refused"); err == nil || !strings.Contains(err.Error(), "ResourceExhausted") || !strings.Contains(err.Error(), "nearly full") {
					t.Errorf("with %d bytes left an append says %v", leave, err)
				}
				if took := time.Since(begun); took > 2*time.Second {
					t.Errorf("that took %v", took)
				}
				for range 300 {
					if err := f.take("away", fmt.Sprint("away", taken), 1000); err != nil {
						t.Fatalf("with %d bytes left and %d in reserve, number %d: %v", d.avail(), f.node.store.disk.reserve.bytes(), taken, err)
					}
					taken++
				}
				st, err := ReadStatus(f.ctx, f.conn)
				if err != nil || st.Writable || !st.Reserved || !strings.Contains(st.Reason, "nearly full") || st.DiskFree >= st.DiskLeast || st.Position != uint64(1+taken) {
					t.Errorf("the status is %+v, %v", st, err)
				}
			}
			if err := f.node.store.db.Flush(); err != nil { // what fills a memtable makes a table
				t.Fatal(err)
			}
			f.stop()
			if text := said.String(); !strings.Contains(text, "nearly full") || len(text) > 1000 {
				t.Errorf("it says %q", text)
			}
			d.leave(0)
			f.serve(cfg) // started on a full disk
			f.connect()
			if err := f.take("away", "after a start", 1000); err != nil {
				t.Fatal(err)
			}
			if n := len(f.readAll(esdb.ReadAllOptions{From: esdb.Start{}}, many)); n != 2+taken {
				t.Errorf("$all has %d events of %d", n, 2+taken)
			}
			d.clear()
			await(t, "an append is taken again", func() bool { _, err := f.try("s", esdb.Any{}, "room"); return err == nil })
			await(t, "the reserve is made again", f.reserveIsFull)
			if st := f.node.Status(); !st.Writable || st.Reason != "" {
				t.Errorf("with room again the status is %+v", st)
			}
			audit(t, f.node.store, nil)
		})
	}
}

// With the reserve used up too, writes are refused, reads go on, and it goes on
// by itself with room again.
func TestAUsedUpReserveEndsNothing(t *testing.T) {
	for name, make := range map[string]func(*testing.T) aDisk{"in memory": inMemory, "tmpfs": onTmpfs} {
		t.Run(name, func(t *testing.T) {
			d := make(t)
			f := start(t, Config{Dir: d.dir, FS: d.fs})
			f.append("s", esdb.NoStream{}, "a")
			await(t, "the reserve is made", f.reserveIsFull)
			d.leave(0)
			n := 0
			var err error
			for ; err == nil && n < 1000; n++ {
				err = f.take("away", fmt.Sprint(n), 100<<10)
			}
			if err == nil || !strings.Contains(err.Error(), "used up") || n < 5 {
				t.Fatalf("after %d appends: %v", n, err)
			}
			if got := f.revisions("s"); got != "0" {
				t.Errorf("the stream has %s", got)
			}
			if st := f.node.Status(); st.Writable || st.Reserved {
				t.Errorf("the status is %+v", st)
			}
			d.clear()
			await(t, "an append is taken again", func() bool { _, err := f.try("s", esdb.Any{}, "room"); return err == nil })
			audit(t, f.node.store, nil)
		})
	}
}

// Pebble's manifest and write-ahead logs wait for room rather than fail.
func TestWhatPebbleMustWriteWaitsForRoom(t *testing.T) {
	d := inMemory(t)
	f := start(t, Config{Dir: d.dir, FS: d.fs})
	f.append("s", esdb.NoStream{}, "a")
	await(t, "the reserve is made", f.reserveIsFull)
	await(t, "neither room nor a reserve is left", func() bool { // which may be made again before the room is gone
		made := false
		for f.node.store.disk.reserve.release() {
			made = true
		}
		d.leave(0)
		return !made
	})
	flushed := make(chan error, 1)
	go func() { flushed <- f.node.store.db.Flush() }()
	await(t, "the flush waits", func() bool { return f.node.store.disk.waiting.Load() > 0 })
	if _, err := f.try("s", esdb.Any{}, "refused"); err == nil || !strings.Contains(err.Error(), "no space is free") {
		t.Errorf("an append says %v", err)
	}
	if got := f.revisions("s"); got != "0" {
		t.Errorf("the stream has %s", got)
	}
	d.clear()
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	f.append("s", esdb.Any{}, "b")
}

// A compaction gets nothing of the reserve.
func TestACompactionLeavesTheReserveAlone(t *testing.T) {
	d := inMemory(t)
	f := start(t, Config{Dir: d.dir, FS: d.fs})
	for i := range 3 {
		f.append("s", esdb.Any{}, fmt.Sprint(i))
		if err := f.node.store.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the reserve is made", f.reserveIsFull)
	held := f.node.store.disk.reserve.bytes()
	d.leave(0)
	compacted := make(chan error, 1)
	go func() { compacted <- f.node.store.db.Compact(f.ctx, []byte("a"), []byte("z"), false) }()
	for range 20 {
		if err := f.take("away", "the same", 10); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.node.store.disk.reserve.bytes(); got+1<<20 < held {
		t.Errorf("of %d bytes in reserve %d are left", held, got)
	}
	d.clear()
	if err := <-compacted; err != nil {
		t.Fatal(err)
	}
	audit(t, f.node.store, nil)
}

func TestTheNodeClosesOnAFullDisk(t *testing.T) {
	d := inMemory(t)
	f := start(t, Config{Dir: d.dir, FS: d.fs})
	f.broken = true
	f.append("s", esdb.NoStream{}, "a")
	await(t, "the reserve is made", f.reserveIsFull)
	for f.node.store.disk.reserve.release() {
	}
	d.leave(0)
	go func() { _ = f.node.store.db.Flush() }() // it ends with the store, somehow
	await(t, "the flush waits", func() bool { return f.node.store.disk.waiting.Load() > 0 })
	f.stop() // the test's time is up if this hangs
}
