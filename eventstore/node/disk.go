package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is the file system that Pebble writes to. It keeps three promises.
//
// Preallocation: a write-ahead log gets its blocks before it needs them. Syncing a write
// into existing blocks takes a quarter less time than one that extends the file, as the
// file's own metadata does not change. Pebble takes zeros for the end of a log; recycled
// logs have their blocks anyway.
//
// Space: Pebble ends the process when a manifest or a new write-ahead log cannot be
// written. A write that fails for lack of space is therefore retried, with space from the
// reserve, and when that is used up, once there is space again.
//
// Privacy: only the user of the process may read the files.
type disk struct {
	vfs.FS
	dir     string
	reserve *reserve
	closing <-chan struct{}

	waits   atomic.Bool  // a write may wait for space; not while the log is being opened
	waiting atomic.Int32 // waiting writes
	compact atomic.Int64 // no compaction writes before this time, in ns since the Unix epoch
}

// Unwrap is for Pebble, which looks for the underlying file system.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// Compactions can be repeated at any time, so they cannot use the reserve.
func compaction(category vfs.DiskWriteCategory) bool {
	return category == "pebble-compaction" || category == "pebble-blob-file-rewrite"
}

// Limits on the pace of retries for lack of space.
const (
	roomPoll       = 100 * time.Millisecond
	compactionRest = 10 * time.Second
)

func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if compaction(category) {
		d.awaitCompaction()
	}
	return d.opened(name, category, func() (vfs.File, error) { return d.FS.Create(name, category) })
}

func (d *disk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	var f vfs.File
	err := d.withRoom(essential(newname), func() (err error) {
		f, err = d.FS.ReuseForWrite(oldname, newname, category)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &roomyFile{File: f, disk: d, essential: essential(newname)}, private(f)
}

func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.opened(name, category, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, category, opts...) })
}

// opened opens a file for writing.
func (d *disk) opened(name string, category vfs.DiskWriteCategory, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := d.withRoom(essential(name), func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := private(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	switch {
	case compaction(category):
		return &compactionFile{File: f, disk: d}, nil
	case filepath.Ext(name) == ".log" && f.Fd() != vfs.InvalidFd:
		return &logFile{roomyFile: roomyFile{File: f, disk: d, essential: true}}, nil
	}
	return &roomyFile{File: f, disk: d, essential: essential(name)}, nil
}

// essential reports whether Pebble ends the process if it cannot create a file. Such a
// file must not be given up even when the store is closing.
func essential(name string) bool {
	base := filepath.Base(name)
	return strings.HasPrefix(base, "MANIFEST") || strings.HasPrefix(base, "marker.") || filepath.Ext(base) == ".log"
}

// private makes a file readable for this user only.
func private(f vfs.File) error {
	if f.Fd() == vfs.InvalidFd {
		return nil
	}
	return syscall.Fchmod(int(f.Fd()), 0o600)
}

// withRoom retries what fails for lack of space.
func (d *disk) withRoom(essential bool, op func() error) error {
	for {
		err := op()
		if !noRoom(err) || !d.makeRoom(essential) {
			return err
		}
	}
}

func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// makeRoom releases a part of the reserve or waits briefly. It reports whether to try
// again.
func (d *disk) makeRoom(essential bool) bool {
	if d.reserve.release() {
		return true
	}
	if !d.waits.Load() {
		return false
	}
	d.waiting.Add(1)
	defer d.waiting.Add(-1)
	if essential {
		time.Sleep(roomPoll)
		return true
	}
	return d.pause()
}

// pause returns false if the store is closing.
func (d *disk) pause() bool {
	select {
	case <-time.After(roomPoll):
		return true
	case <-d.closing:
		return false
	}
}

// awaitCompaction returns when a compaction may write.
func (d *disk) awaitCompaction() {
	for d.waits.Load() {
		free, least, known := d.reserve.free()
		if time.Now().UnixNano() >= d.compact.Load() && (!known || free >= least) {
			return
		}
		if !d.pause() {
			return
		}
	}
}

// roomyFile is a file whose writes wait for space.
type roomyFile struct {
	vfs.File
	disk      *disk
	essential bool
}

func (f *roomyFile) Write(p []byte) (written int, err error) {
	err = f.disk.withRoom(f.essential, func() error {
		n, err := f.File.Write(p[written:])
		written += n
		return err
	})
	return written, err
}

func (f *roomyFile) WriteAt(p []byte, offset int64) (written int, err error) {
	err = f.disk.withRoom(f.essential, func() error {
		n, err := f.File.WriteAt(p[written:], offset+int64(written))
		written += n
		return err
	})
	return written, err
}

func (f *roomyFile) Sync() error     { return f.disk.withRoomUnlessSynced(f.File.Sync()) }
func (f *roomyFile) SyncData() error { return f.disk.withRoomUnlessSynced(f.File.SyncData()) }

// withRoomUnlessSynced returns the error of a sync unchanged: after a failed sync, the
// content of the disk is unknown, and a second one that succeeds proves nothing. It only
// makes room for later writes.
func (d *disk) withRoomUnlessSynced(err error) error {
	if noRoom(err) {
		d.reserve.release()
	}
	return err
}

// compactionFile is the output of a compaction, which fails for lack of space and is then
// not retried for a while.
type compactionFile struct {
	vfs.File
	disk *disk
}

func (f *compactionFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if noRoom(err) {
		f.disk.compact.Store(time.Now().Add(compactionRest).UnixNano())
	}
	return n, err
}

// logFile is a new write-ahead log. It is written sequentially, by one goroutine.
type logFile struct {
	roomyFile
	written, zeroed int64
}

// How far a write-ahead log is filled with zeros at a time, in bytes: less if space is
// short.
const (
	aheadBytes = 1 << 20
	aheadShort = 64 << 10
)

var zeros [aheadBytes]byte

func (d *disk) ahead() int {
	if free, least, known := d.reserve.free(); known && free < least {
		return aheadShort
	}
	return aheadBytes
}

// Preallocate does nothing: Write does.
func (*logFile) Preallocate(int64, int64) error { return nil }

func (f *logFile) Write(p []byte) (int, error) {
	for f.written+int64(len(p)) > f.zeroed {
		n, err := syscall.Pwrite(int(f.Fd()), zeros[:f.disk.ahead()], f.zeroed)
		if noRoom(err) && f.disk.reserve.release() {
			continue
		}
		if noRoom(err) { // the data may still fit
			f.zeroed = f.written + int64(len(p))
			break
		}
		if err != nil {
			return 0, &os.PathError{Op: "making room in a write-ahead log", Path: f.disk.dir, Err: err}
		}
		f.zeroed += int64(n)
	}
	n, err := f.roomyFile.Write(p)
	f.written += int64(n)
	return n, err
}
