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

// store is the durable log: the events and their indexes.
type store struct {
	db      *pebble.DB
	disk    *disk // nil: read-only
	dir     string
	lock    *pebble.Lock
	marker  *marker       // nil: nothing is guaranteed
	tended  chan struct{} // closed when the reserve is no longer maintained; nil: it never was
	logger  *slog.Logger
	damaged onceAWhile // limits messages about it
	full    onceAWhile
	now     func() time.Time
	sync    *pebble.WriteOptions

	committed atomic.Uint64 // the last position that is synced; 0: none
	recent    recentEvents
	heads     map[string]*head // used by the writer only
	headNames int              // bytes of the names in heads
	closing   chan struct{}    // closed when the store is to close

	queueMu sync.Mutex
	queue   []*request // waiting writes
	writing bool       // there is a leader
	closed  bool
	failed  error      // why it accepts no more writes
	idle    *sync.Cond // of queueMu: no writer

	filesOnce sync.Once
	filesErr  error

	mu   sync.Mutex
	wake chan struct{} // closed at the next commit

	statesMu sync.RWMutex
	states   map[string]streamState // of streams that were read since they last changed
}

func newStore(cfg Config, db *pebble.DB, lock *pebble.Lock) *store {
	s := &store{
		db: db, dir: cfg.Dir, lock: lock, logger: cfg.Logger, now: cfg.Now, sync: pebble.Sync,
		heads: map[string]*head{}, closing: make(chan struct{}), wake: make(chan struct{}), states: map[string]streamState{},
	}
	s.idle = sync.NewCond(&s.queueMu)
	if cfg.NoSync {
		s.sync = pebble.NoSync
	}
	return s
}

// memTable is the size of Pebble's memtable in bytes. Pebble reserves a little more than
// that on the disk for each of its write-ahead logs.
const memTable = 8 << 20

func pebbleOptions(fs vfs.FS, lock *pebble.Lock, logger *slog.Logger) *pebble.Options {
	log := pebbleLogger{logger, &onceAWhile{}}
	o := &pebble.Options{
		FS: fs, Lock: lock, Logger: log,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       memTable,
		// Room for the writes during a flush.
		MemTableStopWritesThreshold: 4,
		// Events are written once and read in order.
		L0CompactionThreshold: 4,
		MaxOpenFiles:          512,
		Cache:                 nil,
		CacheSize:             16 << 20,
	}
	// Without it Pebble ends the process. The reader gets the error.
	o.EventListener = &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
		log.Errorf("a file of the log is damaged: %s", info.Path) // its text is a stack trace
	}}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most requested ids and names are new
	}
	return o
}

// room refuses writes while the disk is nearly full: ordinary ones earlier than those
// that may use the reserve.
func (s *store) room() (ordinary, reserved error) {
	if s.disk.waiting.Load() > 0 {
		err := fmt.Errorf("%w: no space is free, and the reserve is used up", errFull)
		return err, err
	}
	free, least, known := s.disk.reserve.free()
	if !known || free >= least {
		return nil, nil
	}
	ordinary = fmt.Errorf("%w: %d MiB are free, %d MiB must stay free", errFull, free>>20, least>>20)
	if free+s.disk.reserve.bytes() < min(minFull, least/2) {
		return ordinary, fmt.Errorf("%w: the reserve is used up", ordinary)
	}
	return ordinary, nil
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

// close waits for accepted writes and closes the files, once.
func (s *store) close() error {
	s.beginClose()
	s.filesOnce.Do(func() {
		done := make(chan error, 1)
		go func() { done <- s.closeFiles() }()
		s.filesErr = s.await(done)
	})
	return s.filesErr
}

func (s *store) closeFiles() error {
	s.queueMu.Lock()
	for s.writing {
		s.idle.Wait()
	}
	s.queueMu.Unlock()
	if s.tended != nil {
		<-s.tended
	}
	var err error
	if s.marker != nil {
		err = s.marker.close(s.committed.Load())
	}
	return errors.Join(err, s.db.Close(), s.lock.Close())
}

// await returns the result of closing the files. A write that can neither succeed nor be
// given up, because the disk is full, is abandoned: the write-ahead log has it.
func (s *store) await(done <-chan error) error {
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(closeWithin):
			if s.disk != nil && s.disk.waiting.Load() > 0 {
				return fmt.Errorf("closing the log in %s: %w; acknowledged events are safe", s.dir, errFull)
			}
		}
	}
}

// changed returns a channel that is closed when the log grows beyond its length at the
// time of the call, or when the store is closed.
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

// pebbleLogger forwards Pebble's messages; it ends the process only if Pebble cannot
// continue.
type pebbleLogger struct {
	log  *slog.Logger
	once *onceAWhile
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	if l.once.due(format) {
		l.log.Error("pebble: " + oneLine(fmt.Sprintf(format, args...)))
	}
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
	panic("pebble: " + fmt.Sprintf(format, args...))
}

// onceAWhile lets one message of a kind through per minute.
type onceAWhile struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// Limits on what onceAWhile lets through and remembers.
const (
	sameMessage   = time.Minute
	kindsOfErrors = 100
)

func (o *onceAWhile) due(kind string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if last, ok := o.last[kind]; ok && now.Sub(last) < sameMessage {
		return false
	}
	if o.last == nil || len(o.last) >= kindsOfErrors {
		o.last = map[string]time.Time{}
	}
	o.last[kind] = now
	return true
}

// any reports whether there was any message.
func (o *onceAWhile) any() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.last) > 0
}
