package node

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrLocked is returned by Open when another process has the folder.
var ErrLocked = errors.New("another process uses this log")

// store is the durable log: the events and their indexes.
type store struct {
	db   *pebble.DB
	fs   vfs.FS
	dir  string
	lock *pebble.Lock
	now  func() time.Time
	sync *pebble.WriteOptions

	committed atomic.Uint64 // the last position that is synced; 0: none
	recent    recentEvents
	heads     map[string]*head // of whoever writes
	headNames int              // bytes of the names in heads
	closing   chan struct{}    // closed when the store is to close

	queueMu sync.Mutex
	queue   []*request // wait to be written
	writing bool       // somebody leads
	closed  bool
	failed  error      // why it takes no more writes
	idle    *sync.Cond // of queueMu: nobody writes

	filesOnce sync.Once
	filesErr  error

	mu   sync.Mutex
	wake chan struct{} // closed at the next commit

	statesMu sync.RWMutex
	states   map[string]streamState // of streams that were read since they changed
}

func openStore(cfg Config) (*store, error) {
	fs := cfg.FS
	if err := fs.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the log: %w", err)
	}
	if err := refuseUnfinished(fs, cfg.Dir); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(cfg.Dir, fs)
	if err != nil {
		return nil, fmt.Errorf("opening the log in %s: %w (%w)", cfg.Dir, ErrLocked, err)
	}
	db, err := pebble.Open(cfg.Dir, pebbleOptions(writtenAhead{fs}, lock, cfg.Logger))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the log in %s: %w", cfg.Dir, err), lock.Close())
	}
	s := newStore(cfg, db, lock)
	last, err := s.lastPosition()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("looking for the end of the log in %s: %w", cfg.Dir, err), db.Close(), lock.Close())
	}
	s.committed.Store(last)
	return s, nil
}

func newStore(cfg Config, db *pebble.DB, lock *pebble.Lock) *store {
	s := &store{
		db: db, fs: cfg.FS, dir: cfg.Dir, lock: lock, now: cfg.Now, sync: pebble.Sync,
		heads: map[string]*head{}, closing: make(chan struct{}), wake: make(chan struct{}), states: map[string]streamState{},
	}
	s.idle = sync.NewCond(&s.queueMu)
	if cfg.NoSync {
		s.sync = pebble.NoSync
	}
	return s
}

// memTable is what Pebble holds in memory before it makes a file of it, in bytes.
// It reserves a little more than that on the disk for each of its write-ahead
// logs.
const memTable = 32 << 20

func pebbleOptions(fs vfs.FS, lock *pebble.Lock, logger *slog.Logger) *pebble.Options {
	o := &pebble.Options{
		FS: fs, Lock: lock, Logger: pebbleLogger{logger},
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       memTable,
		// Room for the writes during a flush.
		MemTableStopWritesThreshold: 4,
		// Events are written once and read in order.
		L0CompactionThreshold: 4,
		MaxOpenFiles:          512,
		Cache:                 nil,
		CacheSize:             64 << 20,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most ids and names that are asked for are new
	}
	return o
}

// minFree is what a write must leave free on the disk, in bytes, or a small part
// of a small disk. Where it is full to the last byte, Pebble ends the process.
const minFree = 64 << 20

// room refuses writes while the disk is nearly full.
func (s *store) room() error {
	usage, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return nil // it cannot be known, as with a file system in memory
	}
	if least := min(minFree, usage.TotalBytes/20); usage.AvailBytes < least {
		return fmt.Errorf("%w: %d MiB are free, %d MiB must stay so", errFull, usage.AvailBytes>>20, least>>20)
	}
	return nil
}

// lastPosition is that of the last event, 0 for an empty log.
func (s *store) lastPosition() (uint64, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixEvent}, UpperBound: []byte{prefixEvent + 1}})
	if err != nil {
		return 0, err
	}
	var pos uint64
	if it.Last() {
		pos = beUint64(it.Key()[1:])
	}
	return pos, it.Close()
}

// beginClose refuses new writes and ends subscriptions.
func (s *store) beginClose() {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
}

// close waits for the writes that were taken and closes the files, once.
func (s *store) close() error {
	s.beginClose()
	s.queueMu.Lock()
	for s.writing {
		s.idle.Wait()
	}
	s.queueMu.Unlock()
	s.filesOnce.Do(func() { s.filesErr = errors.Join(s.db.Close(), s.lock.Close()) })
	return s.filesErr
}

// changed answers a channel that is closed when the log grows beyond what it
// was at the time of the call, or when the store is closed.
func (s *store) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wake
}

func (s *store) wakeReaders() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.wake)
	s.wake = make(chan struct{})
}

// pebbleLogger passes Pebble's messages on; it ends the process only where
// Pebble cannot go on.
type pebbleLogger struct{ log *slog.Logger }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
	panic("pebble: " + fmt.Sprintf(format, args...))
}
