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

// reserve is room on the disk that is kept for appends which take something
// away: files without a content, in a folder of their own, which are removed one
// by one when the disk is full to the last byte, and made again when there is
// room.
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

// Bounds in bytes.
const (
	// minFree is what an ordinary write must leave free, or a small part of a
	// small disk.
	minFree = 64 << 20
	// minFull is what every write must leave free, the reserve included: Pebble's
	// own files need it.
	minFull = 2 << 20
	// maxReserve is the size of the reserve, or a small part of a small disk.
	maxReserve  = 64 << 20
	leastPart   = 1 << 20
	reserveRest = 2 * time.Second // between two looks at the disk
)

// openReserve looks for what an earlier process has kept. It makes nothing.
func openReserve(fs vfs.FS, dir string) (*reserve, error) {
	r := &reserve{fs: fs, dir: dir}
	usage, err := fs.GetDiskUsage(dir)
	if err != nil {
		return r, nil // it cannot be known, as with a file system in memory
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

// free returns how much is free on the disk, without the reserve, and how much
// an ordinary write must leave free, in bytes. known is false where neither can
// be found out.
func (r *reserve) free() (free, least uint64, known bool) {
	usage, err := r.fs.GetDiskUsage(r.dir)
	if err != nil {
		return 0, 0, false
	}
	return usage.AvailBytes, min(minFree, usage.TotalBytes/20), true
}

// bytes is the size of what is held.
func (r *reserve) bytes() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(r.held) * r.part
}

// release gives up one part. It reports whether there was one.
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

// tend fills the reserve whenever there is room, until closing.
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

// grow makes one part if there is room for more than it. It reports whether it
// made one.
func (r *reserve) grow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	free, least, known := r.free()
	if !known || r.held >= r.want || free < least+2*r.part {
		return false
	}
	if err := r.allocate(r.name(r.held)); err != nil {
		_ = r.fs.Remove(r.name(r.held)) // what there is of it; there may be nothing
		return false
	}
	r.held++
	return true
}

// allocate makes one part that has its blocks.
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
	// The file system cannot allocate: bytes that nobody can compress do it.
	buf := make([]byte, leastPart)
	for left := r.part; left > 0; left -= min(left, leastPart) {
		_, _ = rand.Read(buf) // never fails
		if _, err := f.Write(buf[:min(left, leastPart)]); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}
