package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// reserve is disk space that is reserved for appends which revoke something: files
// without content, in their own folder, which are removed one by one when the disk is
// completely full, and recreated when there is space.
type reserve struct {
	fs   vfs.FS
	dir  string // of the log
	part uint64 // bytes of each file

	mu   sync.Mutex
	held int // files
	want int
}

// reserveName is the folder of the reserve, in that of the log.
const reserveName = "latchkey.reserve"

// Limits in bytes.
const (
	// minFree is the space that an ordinary write must leave free, or a small part of a
	// small disk.
	minFree = 64 << 20
	// minFull is the space that every write must leave free, including the reserve:
	// Pebble's own files need it.
	minFull = 2 << 20
	// maxReserve is the size of the reserve, or a small part of a small disk.
	maxReserve  = 64 << 20
	leastPart   = 1 << 20
	reserveRest = 2 * time.Second // between two checks of the disk
)

// openReserve finds what an earlier process has reserved. It creates nothing.
func openReserve(fs vfs.FS, dir string) (*reserve, error) {
	r := &reserve{fs: fs, dir: dir}
	usage, err := fs.GetDiskUsage(dir)
	if err != nil {
		return r, nil // unknown, as with an in-memory file system
	}
	size := min(maxReserve, usage.TotalBytes/16)
	r.part = max(leastPart, size/16)
	r.want = int(size / r.part)
	for r.held < r.want && r.allocated(r.name(r.held)) {
		r.held++
	}
	return r, nil
}

func (r *reserve) name(i int) string {
	return r.fs.PathJoin(r.dir, reserveName, fmt.Sprintf("%02d", i))
}

// allocated reports whether a file has its blocks. A copy of one has none.
func (r *reserve) allocated(name string) bool {
	info, err := r.fs.Stat(name)
	if err != nil {
		return false
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Blocks)*512 >= r.part
	}
	return uint64(info.Size()) >= r.part
}

// free returns how much is free on the disk, without the reserve, and how much an
// ordinary write must leave free, in bytes. known is false if they cannot be determined.
func (r *reserve) free() (free, least uint64, known bool) {
	usage, err := r.fs.GetDiskUsage(r.dir)
	if err != nil {
		return 0, 0, false
	}
	return usage.AvailBytes, min(minFree, usage.TotalBytes/20), true
}

// bytes returns the size of the reserve.
func (r *reserve) bytes() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(r.held) * r.part
}

// release releases one part. It reports whether there was one.
func (r *reserve) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.held > 0 {
		r.held--
		if r.fs.Remove(r.name(r.held)) == nil {
			return true
		}
	}
	return false
}

// tend fills the reserve whenever there is space, until closing.
func (r *reserve) tend(closing <-chan struct{}) {
	for {
		for r.grow() {
			select {
			case <-closing:
				return
			default:
			}
		}
		select {
		case <-time.After(reserveRest):
		case <-closing:
			return
		}
	}
}

// grow creates one part if there is enough space. It reports whether it did.
func (r *reserve) grow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	free, least, known := r.free()
	if !known || r.held >= r.want || free < least+2*r.part {
		return false
	}
	if err := r.allocate(r.name(r.held)); err != nil {
		_ = r.fs.Remove(r.name(r.held)) // whatever exists of it
		return false
	}
	r.held++
	return true
}

// allocate creates one part with allocated blocks.
func (r *reserve) allocate(name string) error {
	if err := r.fs.MkdirAll(r.fs.PathJoin(r.dir, reserveName), 0o700); err != nil {
		return err
	}
	f, err := r.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = errors.Join(private(f), f.Preallocate(0, int64(r.part)))
	if err == nil && r.allocated(name) {
		return f.Close()
	}
	// The file system cannot allocate: write incompressible bytes instead.
	buf := make([]byte, leastPart)
	for left := r.part; left > 0; left -= min(left, leastPart) {
		_, _ = rand.Read(buf) // never fails
		if _, err := f.Write(buf[:min(left, leastPart)]); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}
