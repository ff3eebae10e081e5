// Package descriptors determines how many files and connections this process may have
// open, and how many it has: the log ends the process if it cannot open its next file, so
// the other users must leave it some.
package descriptors

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// kept is the number reserved for the log, the databases and the process itself: the
	// log has at most 512 files.
	kept = 640
	// most is the maximum of useful connections of one kind, regardless of the limit on
	// files.
	most = 8192
	// least is the minimum number of connections of one kind.
	least = 64
	// usual is the assumed limit of a process that cannot read its own.
	usual = 1024
	// few is the number left at which writes are refused.
	few = 64
)

// Limit returns how many descriptors the process may have open.
func Limit() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("reading the limit on open files: %w", err)
	}
	return int(min(l.Cur, 1<<30)), nil
}

// Each returns how many connections this process may have of each of three kinds: HTTP,
// RTSP and cameras.
func Each() int {
	limit, err := Limit()
	if err != nil {
		limit = usual
	}
	return each(limit)
}

func each(limit int) int { return min(max((limit-kept)/3, least), most) }

// Open counts the descriptors that are open. It needs /proc.
func Open() (int, error) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, fmt.Errorf("counting open files: %w", err)
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return 0, fmt.Errorf("counting open files: %w", err)
	}
	return len(names) - 1, nil // not this one
}

// Watch reports whether few descriptors are left, and counts again periodically.
type Watch struct {
	limit int // 0: unknown
	next  atomic.Int64
	few   atomic.Bool
}

// NewWatch watches the descriptors of this process.
func NewWatch() *Watch {
	limit, err := Limit()
	if err != nil {
		limit = 0
	}
	return &Watch{limit: limit}
}

// lookEvery is how long a count is valid.
const lookEvery = 200 * time.Millisecond

// Few reports whether so few descriptors are left that only revocations should be
// written. It returns false if that cannot be determined, unless no descriptor is left to
// count with.
func (w *Watch) Few() bool {
	now := time.Now().UnixNano()
	next := w.next.Load()
	if now < next || w.limit == 0 || !w.next.CompareAndSwap(next, now+int64(lookEvery)) {
		return w.few.Load()
	}
	open, err := Open()
	switch {
	case err == nil:
		w.few.Store(open > w.limit-few)
	case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE):
		w.few.Store(true)
	}
	return w.few.Load()
}
