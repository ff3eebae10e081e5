package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// expectation is the revision that an append expects of the stream.
type expectation int64

// Other expectations are revisions, from 0 on. The numbers are those of the real server's
// error trailers.
const (
	expectNoStream expectation = -1
	expectAny      expectation = -2
	expectExists   expectation = -4
)

// action is what a request does to its stream.
type action uint8

const (
	actAppend action = iota
	actDelete
	actTombstone
)

// request is one write; it gets one outcome.
type request struct {
	stream   string
	expected expectation
	action   action
	events   []proposed
	reserved bool          // it revokes something: it may use the disk's reserve
	done     chan outcome  // of capacity 1
	lead     chan struct{} // of capacity 1: write the next group
}

// proposed is an event to write.
type proposed struct {
	id          [16]byte
	kind        string
	contentType string
	custom      []byte
	data        []byte
}

// outcome is the result of a request.
type outcome struct {
	err      error
	revision int64 // the stream's revision; -1: it has none
	position uint64
}

// wrongRevision: the stream is not at the expected revision.
type wrongRevision struct {
	stream   string
	expected expectation
	actual   int64
}

func (e *wrongRevision) Error() string {
	return fmt.Sprintf("stream %q is at revision %d, expected %d", e.stream, e.actual, e.expected)
}

// streamDeleted: the stream was tombstoned, or is deleted but must exist.
type streamDeleted struct{ stream string }

func (e *streamDeleted) Error() string { return fmt.Sprintf("stream %q is deleted", e.stream) }

var (
	errClosed   = errors.New("the node is closing")
	errFull     = errors.New("the disk of the log is nearly full")
	errReadOnly = errors.New("this log was opened read-only")
	errFailed   = errors.New("the node accepts no writes after a failed one; acknowledged events are safe; restart it")
)

// commitBatch is the work of one sync.
type commitBatch struct {
	batch   *pebble.Batch
	pos     uint64
	ids     map[idRef]place // written by this batch
	written []addition
	changed map[string]bool // the streams written to
	key     []byte
}

// addition is an event that a batch writes.
type addition struct {
	stored
	idRef
	revision uint64
}

type idRef struct {
	number uint64
	id     [16]byte
}

// place is where an event is stored; position 0 means unknown.
type place struct{ revision, position uint64 }

const (
	groupCount = 512     // requests in one sync
	groupBytes = 4 << 20 // approximate bytes in one sync
)

// write decides and writes a request together with all that are waiting. The first caller
// that finds no writer does it for the others, in its own goroutine, and then makes the
// next one in the queue do it.
func (s *store) write(r *request) outcome {
	r.done, r.lead = make(chan outcome, 1), make(chan struct{}, 1)
	if err := s.enqueue(r); err != nil {
		return outcome{err: err}
	}
	select {
	case o := <-r.done:
		return o
	case <-r.lead:
	}
	s.commitGroup(s.takeGroup())
	s.handOver()
	return <-r.done
}

func (s *store) enqueue(r *request) error {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.failed != nil {
		return s.failed
	}
	s.queue = append(s.queue, r)
	if !s.writing {
		s.writing = true
		r.lead <- struct{}{}
	}
	return nil
}

// takeGroup takes the requests of one sync, the leader's own first.
func (s *store) takeGroup() []*request {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	n, size := 0, 0
	for n < len(s.queue) && n < groupCount && size < groupBytes {
		size += s.queue[n].size()
		n++
	}
	group := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return group
}

// handOver makes the next request, if any, the leader.
func (s *store) handOver() {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	if s.failed != nil {
		for _, r := range s.queue {
			r.done <- outcome{err: s.failed}
		}
		s.queue = nil
	}
	if len(s.queue) > 0 {
		s.queue[0].lead <- struct{}{}
		return
	}
	s.writing = false
	s.idle.Broadcast()
}

// size returns roughly the bytes that a request adds to a batch.
func (r *request) size() int {
	n := 0
	for i := range r.events {
		n += 200 + len(r.events[i].data) + len(r.events[i].custom)
	}
	return n
}

// fail makes every further write fail; reads still work.
func (s *store) fail(err error) error {
	err = fmt.Errorf("%w: %w", errFailed, err)
	s.logger.Error("a write failed", "folder", s.dir, "error", oneLine(err.Error()))
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	s.failed = err
	return err
}

// commitGroup decides the requests, writes them with one sync and sends their outcomes.
// After a failed write, the content of the disk is unknown: nothing of the group is
// acknowledged, and nothing more is written.
func (s *store) commitGroup(group []*request) {
	group = s.withRoom(group)
	if len(group) == 0 {
		return
	}
	outcomes, err := s.commit(group)
	var undecided *undecidedError
	if errors.As(err, &undecided) && len(group) > 1 { // one request must not make the others fail
		for _, r := range group {
			s.commitGroup([]*request{r})
		}
		return
	}
	if err != nil && undecided == nil {
		err = s.fail(err)
	}
	s.boundHeads()
	for i, r := range group {
		if err != nil {
			r.done <- outcome{err: err}
			continue
		}
		r.done <- outcomes[i]
	}
}

// withRoom refuses the requests for which the disk has no room, and returns the others.
func (s *store) withRoom(group []*request) []*request {
	ordinary, reserved := s.room()
	if ordinary == nil {
		return group
	}
	if s.full.due("") {
		s.logger.Error("the disk is nearly full: only revocations are written", "folder", s.dir, "error", ordinary)
	}
	return slices.DeleteFunc(group, func(r *request) bool {
		err := ordinary
		if r.reserved {
			err = reserved
		}
		if err != nil {
			r.done <- outcome{err: err}
		}
		return err != nil
	})
}

// undecidedError is the error of a group of which nothing was written, because data that
// it depends on cannot be read.
type undecidedError struct{ cause error }

func (e *undecidedError) Error() string { return e.cause.Error() }
func (e *undecidedError) Unwrap() error { return e.cause }

// boundHeads drops the heads when there are too many of them.
func (s *store) boundHeads() {
	if len(s.heads) > headsKept || s.headNames > namesKept {
		clear(s.heads)
		s.headNames = 0
	}
}

func (s *store) newCommit() *commitBatch {
	return &commitBatch{batch: s.db.NewBatch(), pos: s.committed.Load(), ids: map[idRef]place{}, changed: map[string]bool{}}
}

func (s *store) commit(group []*request) (outcomes []outcome, err error) {
	c := s.newCommit()
	defer func() {
		if p := recover(); p != nil { // Pebble reports a failed commit this way
			err = fmt.Errorf("writing: %v", p)
		}
	}()
	for _, r := range group {
		o, err := s.decide(c, r)
		if err != nil {
			clear(s.heads) // they include events that are not written
			s.headNames = 0
			return nil, &undecidedError{errors.Join(err, c.batch.Close())}
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, s.commitBatch(c)
}

// commitBatch writes the decided requests, syncs them and makes them readable.
func (s *store) commitBatch(c *commitBatch) error {
	if len(c.written) == 0 {
		return c.batch.Close()
	}
	if err := c.batch.Commit(s.sync); err != nil {
		return fmt.Errorf("writing %d events: %w", len(c.written), err)
	}
	for i := range c.written {
		s.recent.put(c.written[i].stored)
	}
	s.publish(c.pos, c.changed)
	if s.marker != nil {
		s.marker.grown()
	}
	s.wakeReaders()
	return c.batch.Close()
}
