package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// expectation is what an append expects the stream's revision to be.
type expectation int64

// Besides these, an expectation is a revision, from 0 on. The numbers are those
// of the real server's error trailers.
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

// request is one write; it is answered once.
type request struct {
	stream   string
	expected expectation
	action   action
	events   []proposed
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

// outcome is the answer to a request.
type outcome struct {
	err      error
	revision int64 // the stream's revision; -1: it has none
	position uint64
}

// wrongRevision: the stream is not at the revision that was expected.
type wrongRevision struct {
	stream   string
	expected expectation
	actual   int64
}

func (e *wrongRevision) Error() string {
	return fmt.Sprintf("stream %q is at revision %d, expected %d", e.stream, e.actual, e.expected)
}

// streamDeleted: the stream was tombstoned, or is deleted where it must exist.
type streamDeleted struct{ stream string }

func (e *streamDeleted) Error() string { return fmt.Sprintf("stream %q is deleted", e.stream) }

var (
	errClosed = errors.New("the node is closing")
	errFull   = errors.New("the disk of the log is nearly full")
	errFailed = errors.New("the node takes no writes after a failed one; what it acknowledged is safe; start it again")
)

// head is what the committer knows of a stream, what it has not synced yet
// included.
type head struct {
	number     uint64 // 0: it has no events
	last       int64  // -1: it has no events
	tombstoned bool
	deleted    bool // by $tb
}

// Bounds on what is remembered of streams.
const (
	headsKept   = 1 << 16
	namesKept   = 16 << 20 // bytes
	nameCounted = 256      // bytes; longer names are not remembered for reads
)

// commitBatch is the work of one sync.
type commitBatch struct {
	batch   *pebble.Batch
	pos     uint64
	ids     map[idRef]place // what this batch has written
	written []addition
	changed map[string]bool // the streams of what is written
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

// place is where an event stands; position 0 is for not known.
type place struct{ revision, position uint64 }

const (
	groupCount = 512     // requests in one sync
	groupBytes = 4 << 20 // bytes in one sync, about
)

// write decides and writes a request together with all that wait at the time.
// The first caller that finds nobody writing does it for the others, in its own
// goroutine, and then makes the next one in the queue do it.
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

// takeGroup takes what one sync shall cover, the leader's own request first.
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

// handOver lets the next request lead, or nobody.
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

// size is about what a request adds to a batch, in bytes.
func (r *request) size() int {
	n := 0
	for i := range r.events {
		n += 200 + len(r.events[i].data) + len(r.events[i].custom)
	}
	return n
}

// fail refuses every write from now on; reads go on.
func (s *store) fail(err error) error {
	err = fmt.Errorf("%w: %w", errFailed, err)
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	s.failed = err
	return err
}

// commitGroup decides the requests, writes them with one sync and answers them.
// After an error nobody knows what is on the disk: nothing of the group is
// acknowledged, and nothing is written any more.
func (s *store) commitGroup(group []*request) {
	err := s.room()
	var outcomes []outcome
	if err == nil {
		if outcomes, err = s.commit(group); err != nil {
			err = s.fail(err)
		}
	}
	if len(s.heads) > headsKept || s.headNames > namesKept {
		clear(s.heads)
		s.headNames = 0
	}
	for i, r := range group {
		if err != nil {
			r.done <- outcome{err: err}
			continue
		}
		r.done <- outcomes[i]
	}
}

func (s *store) commit(group []*request) (outcomes []outcome, err error) {
	c := &commitBatch{batch: s.db.NewBatch(), pos: s.committed.Load(), ids: map[idRef]place{}, changed: map[string]bool{}}
	defer func() {
		if p := recover(); p != nil { // Pebble's way to say that a commit failed
			err = fmt.Errorf("writing: %v", p)
		}
	}()
	for _, r := range group {
		o, err := s.decide(c, r)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, o)
	}
	if len(c.written) == 0 {
		return outcomes, c.batch.Close()
	}
	if err := c.batch.Commit(s.sync); err != nil {
		return nil, fmt.Errorf("writing %d events: %w", len(c.written), err)
	}
	for i := range c.written {
		s.recent.put(c.written[i].stored)
	}
	s.publish(c.pos, c.changed)
	s.wakeReaders()
	return outcomes, c.batch.Close()
}

// decide checks one request against its stream and adds its events to the
// batch. The error is one of the store; what is the caller's fault is in the
// outcome.
func (s *store) decide(c *commitBatch, r *request) (outcome, error) {
	h, err := s.head(r.stream)
	if err != nil {
		return outcome{}, err
	}
	ended, err := s.ended(r.stream, h)
	if err != nil {
		return outcome{}, err
	}
	if ended {
		return outcome{err: &streamDeleted{r.stream}}, nil
	}
	switch r.action {
	case actDelete:
		return s.decideDelete(c, r, h)
	case actTombstone:
		return s.decideTombstone(c, r, h)
	default:
		return s.decideAppend(c, r, h)
	}
}

// ended says whether a stream is tombstoned. A stream's metadata ends with it.
func (s *store) ended(name string, h *head) (bool, error) {
	if h.tombstoned || !isMetadata(name) {
		return h.tombstoned, nil
	}
	about, err := s.head(name[len(metadataPrefix):])
	if err != nil {
		return false, err
	}
	return about.tombstoned, nil
}

// check compares the expected revision only. Its first result is the caller's
// fault, its second the store's.
func (s *store) check(r *request, h *head) (refused, err error) {
	wrong := &wrongRevision{r.stream, r.expected, h.last}
	switch {
	case r.expected == expectAny:
		return nil, nil
	case r.expected == expectExists && h.deleted:
		return &streamDeleted{r.stream}, nil
	case r.expected == expectExists:
		if known, err := s.known(r.stream, h); err != nil || known {
			return nil, err
		}
		return wrong, nil
	case r.expected == expectNoStream && h.deleted:
		return nil, nil
	case int64(r.expected) != h.last:
		return wrong, nil
	}
	return nil, nil
}

// known says whether a stream has events or at least metadata.
func (s *store) known(name string, h *head) (bool, error) {
	if h.last >= 0 {
		return true, nil
	}
	m, err := s.head(metadataOf(name))
	if err != nil {
		return false, err
	}
	return m.last >= 0, nil
}

func (s *store) decideTombstone(c *commitBatch, r *request, h *head) (outcome, error) {
	if refused, err := s.check(r, h); refused != nil || err != nil {
		return outcome{err: refused}, err
	}
	last := h.last
	h.last = deletedStream - 1
	h.tombstoned = true
	err := s.add(c, r.stream, h, proposed{id: newID(), kind: typeTombstone, contentType: contentJSON})
	c.changed[metadataOf(r.stream)] = true
	return outcome{revision: last, position: c.pos}, err
}

func (s *store) decideDelete(c *commitBatch, r *request, h *head) (outcome, error) {
	if refused, err := s.check(r, h); refused != nil || err != nil {
		return outcome{err: refused}, err
	}
	known, err := s.known(r.stream, h)
	if err != nil {
		return outcome{}, err
	}
	if !known {
		return outcome{err: &wrongRevision{r.stream, r.expected, h.last}}, nil
	}
	err = s.setMeta(c, r.stream, []byte(`{"$tb":9223372036854775807}`))
	h.deleted = !isMetadata(r.stream) // metadata has no metadata that counts
	return outcome{revision: h.last, position: c.pos}, err
}

func (s *store) decideAppend(c *commitBatch, r *request, h *head) (outcome, error) {
	if r.expected == expectExists { // before it may be a repetition
		if refused, err := s.check(r, h); refused != nil || err != nil {
			return outcome{err: refused}, err
		}
	}
	repeat, err := s.repeated(c, r, h)
	if err != nil {
		return outcome{}, err
	}
	if repeat != nil {
		return *repeat, nil
	}
	if refused, err := s.check(r, h); refused != nil || err != nil {
		return outcome{err: refused}, err
	}
	first := uint64(h.last + 1)
	for i := range r.events {
		if err := s.add(c, r.stream, h, r.events[i]); err != nil {
			return outcome{}, err
		}
	}
	o := outcome{revision: h.last, position: c.pos}
	if h.deleted { // the stream comes back; what was in it stays gone
		data, err := s.metaData(c, r.stream)
		if err != nil {
			return outcome{}, err
		}
		if err := s.revive(c, r.stream, h, data, first); err != nil {
			return outcome{}, err
		}
	}
	if about, ok := strings.CutPrefix(r.stream, metadataPrefix); ok && len(r.events) > 0 && !isMetadata(about) {
		err = s.obey(c, about, &r.events[len(r.events)-1])
	}
	return o, err
}

// obey follows metadata that a client has written. Metadata for a deleted stream
// brings it back, empty.
func (s *store) obey(c *commitBatch, stream string, written *proposed) error {
	h, err := s.head(stream)
	if err != nil {
		return err
	}
	wasDeleted := h.deleted
	h.deleted = parseMeta(written.contentType, written.data).deleted()
	if !wasDeleted {
		return nil
	}
	return s.revive(c, stream, h, written.data, uint64(h.last+1))
}

// revive lets a deleted stream be read again from a revision on; all else in its
// metadata stays. Data that is no JSON object is left as it is.
func (s *store) revive(c *commitBatch, stream string, h *head, data []byte, first uint64) error {
	data, ok := withTruncateBefore(data, first)
	if !ok {
		return nil
	}
	h.deleted = false
	return s.setMeta(c, stream, data)
}

// repeated recognises a request whose events are in the stream already. Its
// rules are the real server's: with a revision (or no stream), the ids must
// stand right behind it; otherwise anywhere, but all of them, if the first does.
func (s *store) repeated(c *commitBatch, r *request, h *head) (*outcome, error) {
	if len(r.events) == 0 || h.last < 0 {
		return nil, nil
	}
	exact := r.expected >= expectNoStream
	if exact && int64(r.expected) >= h.last {
		return nil, nil
	}
	var last place
	for i := range r.events {
		at, found, err := s.placeOf(c, h.number, r.events[i].id)
		if err != nil {
			return nil, err
		}
		if want := uint64(int64(r.expected) + 1 + int64(i)); exact && (!found || at.revision != want) {
			if at, found, err = s.standsAt(c, h.number, want, r.events[i].id); err != nil {
				return nil, err
			}
		}
		if !found && i == 0 {
			return nil, nil
		}
		if !found {
			return &outcome{err: &wrongRevision{r.stream, r.expected, h.last}}, nil
		}
		last = at
	}
	if last.position == 0 {
		var err error
		if last.position, err = s.positionOf(c, h.number, last.revision); err != nil {
			return nil, err
		}
	}
	return &outcome{revision: int64(last.revision), position: last.position}, nil
}

// placeOf answers where in a stream an id stands.
func (s *store) placeOf(c *commitBatch, number uint64, id [16]byte) (place, bool, error) {
	if at, ok := c.ids[idRef{number, id}]; ok {
		return at, true, nil
	}
	c.key = idKey(c.key, number, id)
	value, closer, err := s.db.Get(c.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return place{}, false, nil
	}
	if err != nil {
		return place{}, false, fmt.Errorf("looking for an event's id: %w", err)
	}
	at := place{revision: beUint64(value)}
	return at, true, closer.Close()
}

// standsAt is for ids that a stream holds more than once: the index names the
// last.
func (s *store) standsAt(c *commitBatch, number, revision uint64, id [16]byte) (place, bool, error) {
	raw, err := s.recordAt(number, revision)
	if errors.Is(err, pebble.ErrNotFound) {
		for i := range c.written {
			if w := &c.written[i]; w.number == number && w.revision == revision {
				return place{revision, w.position}, w.id == id, nil
			}
		}
		return place{}, false, nil
	}
	if err != nil {
		return place{}, false, fmt.Errorf("looking for an event: %w", err)
	}
	e, err := parseRecord(raw.record)
	if err != nil {
		return place{}, false, fmt.Errorf("looking for an event: %w", err)
	}
	return place{revision, raw.position}, e.id == id, nil
}

func (s *store) positionOf(c *commitBatch, number, revision uint64) (uint64, error) {
	c.key = revisionKey(c.key, number, revision)
	value, closer, err := s.db.Get(c.key)
	if err != nil {
		return 0, fmt.Errorf("looking for the position of a repeated append: %w", err)
	}
	pos := beUint64(value)
	return pos, closer.Close()
}

// add writes one event behind the stream's last.
func (s *store) add(c *commitBatch, stream string, h *head, p proposed) error {
	c.pos++
	if h.number == 0 {
		h.number = c.pos
		c.key = nameKey(c.key, stream)
		if err := c.batch.Set(c.key, be(nil, h.number), nil); err != nil {
			return fmt.Errorf("naming stream %q: %w", stream, err)
		}
	}
	h.last++
	revision := uint64(h.last)
	record := appendRecord(make([]byte, 0, 128+len(stream)+len(p.kind)+len(p.custom)+len(p.data)), &event{
		id: p.id, stream: []byte(stream), revision: revision, position: c.pos, kind: []byte(p.kind), contentType: []byte(p.contentType),
		created: ticks(s.now()), custom: p.custom, data: p.data,
	})
	var pos, rev [8]byte
	putUint64(pos[:], c.pos)
	putUint64(rev[:], revision)
	c.key = eventKey(c.key, c.pos)
	err := c.batch.Set(c.key, record, nil)
	c.key = revisionKey(c.key, h.number, revision)
	err = errors.Join(err, c.batch.Set(c.key, pos[:], nil))
	c.key = idKey(c.key, h.number, p.id)
	err = errors.Join(err, c.batch.Set(c.key, rev[:], nil))
	if err != nil {
		return fmt.Errorf("writing to stream %q: %w", stream, err)
	}
	ref := idRef{h.number, p.id}
	c.ids[ref] = place{revision, c.pos}
	c.written = append(c.written, addition{stored{c.pos, record}, ref, revision})
	c.changed[stream] = true
	return nil
}

// setMeta writes a metadata event of ours.
func (s *store) setMeta(c *commitBatch, stream string, data []byte) error {
	name := metadataOf(stream)
	h, err := s.head(name)
	if err != nil {
		return err
	}
	return s.add(c, name, h, proposed{id: newID(), kind: typeMetadata, contentType: contentJSON, data: data})
}

// metaData is the stream's metadata as it stands, this batch included.
func (s *store) metaData(c *commitBatch, stream string) ([]byte, error) {
	m, err := s.head(metadataOf(stream))
	if err != nil || m.last < 0 {
		return nil, err
	}
	for i := len(c.written) - 1; i >= 0; i-- {
		if w := &c.written[i]; w.number == m.number && w.revision == uint64(m.last) {
			e, err := parseRecord(w.record)
			return e.data, err
		}
	}
	e, err := s.at(m.number, uint64(m.last))
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of stream %q: %w", stream, err)
	}
	return e.data, nil
}

// head answers what the committer knows of a stream. What this batch has written
// is in heads, as heads are never dropped in the middle of a batch.
func (s *store) head(name string) (*head, error) {
	if h, ok := s.heads[name]; ok {
		return h, nil
	}
	st, err := s.stream(name)
	if err != nil {
		return nil, err
	}
	h := &head{last: -1, deleted: st.meta.deleted()}
	if st.exists {
		h.number, h.last, h.tombstoned = st.number, int64(st.last), st.tombstoned
	}
	s.heads[name] = h
	s.headNames += len(name)
	return h, nil
}
