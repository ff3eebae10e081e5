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
	if fs == nil {
		fs = vfs.Default
	}
	if err := fs.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the log: %w", err)
	}
	lock, err := pebble.LockDirectory(cfg.Dir, fs)
	if err != nil {
		return nil, fmt.Errorf("opening the log in %s: %w (%w)", cfg.Dir, ErrLocked, err)
	}
	db, err := pebble.Open(cfg.Dir, pebbleOptions(writtenAhead{fs}, lock, cfg.Logger))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the log in %s: %w", cfg.Dir, err), lock.Close())
	}
	s := &store{
		db: db, fs: fs, dir: cfg.Dir, lock: lock, now: cfg.Now, sync: pebble.Sync,
		heads: map[string]*head{}, closing: make(chan struct{}), wake: make(chan struct{}), states: map[string]streamState{},
	}
	s.idle = sync.NewCond(&s.queueMu)
	if cfg.NoSync {
		s.sync = pebble.NoSync
	}
	last, err := s.lastPosition()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("looking for the end of the log in %s: %w", cfg.Dir, err), db.Close(), lock.Close())
	}
	s.committed.Store(last)
	return s, nil
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

// stored is an event as it is sent.
type stored struct {
	position uint64
	record   []byte
}

// recentEvents keeps the last small events, so that live subscribers need not
// ask the disk.
type recentEvents struct {
	ring [recentCount]atomic.Pointer[stored]
}

const (
	recentCount   = 8192
	recentMaxSize = 4 << 10 // bounds the ring to 32 MiB
)

func (r *recentEvents) put(e stored) {
	if len(e.record) > recentMaxSize {
		return
	}
	r.ring[e.position%recentCount].Store(&e)
}

func (r *recentEvents) get(position uint64) (stored, bool) {
	e := r.ring[position%recentCount].Load()
	if e == nil || e.position != position {
		return stored{}, false
	}
	return *e, true
}

// A block bounds what one step of a read holds in memory.
const (
	blockCount  = 512
	blockBytes  = 1 << 20
	recordGuess = 512 // bytes of an event, to begin with
)

// limited is how many events one step of a read takes of those still wanted.
func limited(want uint64) int { return int(min(want, blockCount)) }

// readAll appends to block the events from position from on, forwards, up to
// what is synced, at most n. It holds nothing of the store when it returns.
func (s *store) readAll(block []stored, from uint64, n int) ([]stored, error) {
	end := s.committed.Load()
	from = max(from, 1)
	for from <= end && len(block) < n {
		e, ok := s.recent.get(from)
		if !ok {
			break
		}
		block = append(block, e)
		from++
	}
	if len(block) > 0 || from > end {
		return block, nil
	}
	return s.scan(block, from, end+1, n, false)
}

// readAllBackwards appends at most n events below position before, newest first.
func (s *store) readAllBackwards(block []stored, before uint64, n int) ([]stored, error) {
	return s.scan(block, 1, min(before, s.committed.Load()+1), n, true)
}

// scan appends at most n events of [from, before), in either direction.
func (s *store) scan(block []stored, from, before uint64, n int, backwards bool) ([]stored, error) {
	if from >= before {
		return block, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: eventKey(nil, from), UpperBound: eventKey(nil, before)})
	if err != nil {
		return block, fmt.Errorf("reading the log: %w", err)
	}
	step := it.Next
	ok := false
	if backwards {
		step, ok = it.Prev, it.Last()
	} else {
		ok = it.First()
	}
	buf := make([]byte, 0, n*recordGuess)
	for ; ok && len(block) < n && len(buf) < blockBytes; ok = step() {
		value, err := it.ValueAndErr()
		if err != nil {
			return block, errors.Join(fmt.Errorf("reading the log: %w", err), it.Close())
		}
		start := len(buf)
		buf = append(buf, value...) // earlier slices keep the array they point to
		block = append(block, stored{beUint64(it.Key()[1:]), buf[start:len(buf):len(buf)]})
	}
	if err := it.Close(); err != nil {
		return block, fmt.Errorf("reading the log: %w", err)
	}
	return block, nil
}

// streamState is what a read of a stream has to know.
type streamState struct {
	exists     bool
	tombstoned bool
	number     uint64
	last       uint64 // the last synced revision
	meta       streamMeta
}

// statesKept bounds the states in memory.
const statesKept = 1 << 16

// stream answers the state of a stream as it is synced.
func (s *store) stream(name string) (streamState, error) {
	s.statesMu.RLock()
	st, ok := s.states[name]
	s.statesMu.RUnlock()
	if ok {
		return st, nil
	}
	before := s.committed.Load()
	st, err := s.readState(name)
	if err != nil {
		return st, err
	}
	s.statesMu.Lock()
	defer s.statesMu.Unlock()
	if len(name) <= nameCounted && s.committed.Load() == before { // else it may have changed meanwhile
		if len(s.states) >= statesKept {
			clear(s.states)
		}
		s.states[name] = st
	}
	return st, nil
}

// publish makes synced events readable: from now on no older state is answered.
func (s *store) publish(position uint64, changed map[string]bool) {
	s.statesMu.Lock()
	defer s.statesMu.Unlock()
	for name := range changed {
		delete(s.states, name)
		if isMetadata(name) {
			delete(s.states, name[len(metadataPrefix):])
		}
	}
	s.committed.Store(position)
}

func (s *store) readState(name string) (streamState, error) {
	st, err := s.bareStream(name)
	if err != nil {
		return st, err
	}
	if isMetadata(name) {
		about, err := s.bareStream(name[len(metadataPrefix):])
		st.tombstoned = st.tombstoned || about.tombstoned
		st.meta.maxCount = 1
		return st, err
	}
	m, err := s.bareStream(metadataOf(name))
	if err != nil || !m.exists || m.tombstoned {
		return st, err
	}
	e, err := s.at(m.number, m.last)
	if err != nil {
		return st, fmt.Errorf("reading the metadata of stream %q: %w", name, err)
	}
	st.meta = parseMeta(string(e.contentType), e.data)
	return st, nil
}

func (s *store) bareStream(name string) (streamState, error) {
	var st streamState
	number, ok, err := s.number(name)
	if err != nil || !ok {
		return st, err
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: revisionKey(nil, number, 0), UpperBound: be([]byte{prefixRevision}, number+1)})
	if err != nil {
		return st, fmt.Errorf("reading the end of stream %q: %w", name, err)
	}
	end := s.committed.Load()
	for ok := it.Last(); ok; ok = it.Prev() { // past what is not synced yet
		value, err := it.ValueAndErr()
		if err != nil {
			return st, errors.Join(fmt.Errorf("reading the end of stream %q: %w", name, err), it.Close())
		}
		if beUint64(value) <= end {
			st = streamState{exists: true, number: number, last: beUint64(it.Key()[9:])}
			break
		}
	}
	st.tombstoned = st.exists && st.last == deletedStream
	return st, it.Close()
}

// number answers a stream's number.
func (s *store) number(name string) (uint64, bool, error) {
	value, closer, err := s.db.Get(nameKey(nil, name))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("looking for stream %q: %w", name, err)
	}
	number := beUint64(value)
	return number, true, closer.Close()
}

// at answers one event of a stream. ErrNotFound of Pebble where there is none.
func (s *store) at(number, revision uint64) (event, error) {
	raw, err := s.recordAt(number, revision)
	if err != nil {
		return event{}, err
	}
	return parseRecord(raw.record)
}

func (s *store) recordAt(number, revision uint64) (stored, error) {
	value, closer, err := s.db.Get(revisionKey(nil, number, revision))
	if err != nil {
		return stored{}, err
	}
	pos := beUint64(value)
	if err := closer.Close(); err != nil {
		return stored{}, err
	}
	if e, ok := s.recent.get(pos); ok {
		return e, nil
	}
	value, closer, err = s.db.Get(eventKey(nil, pos))
	if err != nil {
		return stored{}, err
	}
	return stored{pos, append([]byte(nil), value...)}, closer.Close()
}

// revisioned is an event of a stream.
type revisioned struct {
	revision uint64
	stored
}

// readStream appends at most n events of revisions [from, before) of a stream,
// in either direction.
func (s *store) readStream(block []revisioned, number, from, before uint64, n int, backwards bool) ([]revisioned, error) {
	if from >= before {
		return block, nil
	}
	bounds := &pebble.IterOptions{LowerBound: revisionKey(nil, number, from), UpperBound: revisionKey(nil, number, before)}
	it, err := s.db.NewIter(bounds)
	if err != nil {
		return block, fmt.Errorf("reading a stream: %w", err)
	}
	defer it.Close()
	events, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixEvent}, UpperBound: []byte{prefixEvent + 1}})
	if err != nil {
		return block, fmt.Errorf("reading a stream: %w", err)
	}
	defer events.Close()
	step, ok := it.Next, false
	if backwards {
		step, ok = it.Prev, it.Last()
	} else {
		ok = it.First()
	}
	end := s.committed.Load()
	buf, key := make([]byte, 0, n*recordGuess), []byte(nil)
	for ; ok && len(block) < n && len(buf) < blockBytes; ok = step() {
		pos := beUint64(it.Value())
		if pos > end {
			if backwards {
				continue
			}
			break
		}
		revision := beUint64(it.Key()[9:])
		if e, ok := s.recent.get(pos); ok {
			block = append(block, revisioned{revision, e})
			continue
		}
		key = eventKey(key, pos)
		// Neighbours in a stream are often neighbours in the log.
		if !events.Valid() || !next(events, backwards) || string(events.Key()) != string(key) {
			if !events.SeekGE(key) || string(events.Key()) != string(key) {
				return block, fmt.Errorf("reading a stream: its index names position %d, where nothing is: %w", pos, errors.Join(errRecord, events.Error()))
			}
		}
		value, err := events.ValueAndErr()
		if err != nil {
			return block, fmt.Errorf("reading a stream: %w", err)
		}
		start := len(buf)
		buf = append(buf, value...)
		block = append(block, revisioned{revision, stored{pos, buf[start:len(buf):len(buf)]}})
	}
	if err := it.Error(); err != nil {
		return block, fmt.Errorf("reading a stream: %w", err)
	}
	return block, nil
}

func next(it *pebble.Iterator, backwards bool) bool {
	if backwards {
		return it.Prev()
	}
	return it.Next()
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
