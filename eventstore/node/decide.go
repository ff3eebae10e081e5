package node

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// head is what the committer knows of a stream, including unsynced events.
type head struct {
	number     uint64 // 0: it has no events
	last       int64  // -1: it has no events
	tombstoned bool
	deleted    bool // by $tb
}

// Limits on what is cached of streams.
const (
	headsKept   = 1 << 14
	namesKept   = 16 << 20 // bytes
	nameCounted = 256      // bytes; longer names are not cached for reads
)

// decide checks one request against its stream and adds its events to the batch. The
// error is one of the store; the caller's errors are in the outcome.
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

// ended reports whether a stream is tombstoned. A stream's metadata ends with it.
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

// check only compares the expected revision. Its first result is the caller's error, its
// second the store's.
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

// known reports whether a stream has events or at least metadata.
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
	err := s.add(c, r.stream, h, proposed{id: newID(), kind: typeTombstone, contentType: contentBinary})
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

// obey applies metadata that a client has written. Metadata for a deleted stream brings
// it back, empty.
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

// revive makes a deleted stream readable again from a revision on, keeping the rest of
// its metadata. Data that is not a JSON object is left unchanged.
func (s *store) revive(c *commitBatch, stream string, h *head, data []byte, first uint64) error {
	data, ok := withTruncateBefore(data, first)
	if !ok {
		return nil
	}
	h.deleted = false
	return s.setMeta(c, stream, data)
}

// repeated recognises a request whose events are already in the stream. Its rules are the
// real server's: with a revision (or no stream), the ids must directly follow it;
// otherwise, if the first id exists anywhere, all of them must.
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

// placeOf returns the place of an id in a stream.
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
		return place{}, false, s.readError(err, "in the ids of stream number %d", number)
	}
	at := place{revision: beUint64(value)}
	return at, true, closer.Close()
}

// standsAt is for ids that a stream has more than once: the index has the last.
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
		return 0, s.readError(err, "in the index of stream number %d", number)
	}
	pos := beUint64(value)
	return pos, closer.Close()
}

// add writes one event after the stream's last, created now.
func (s *store) add(c *commitBatch, stream string, h *head, p proposed) error {
	return s.addAt(c, stream, h, p, ticks(s.now()))
}

// addAt writes one event after the stream's last. Created is in ticks of 100 ns
// since the Unix epoch.
func (s *store) addAt(c *commitBatch, stream string, h *head, p proposed, created int64) error {
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
		created: created, custom: p.custom, data: p.data,
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

// metaData returns the stream's current metadata, including this batch.
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

// head returns what the committer knows of a stream. What this batch has written is in
// heads, as heads are never dropped in the middle of a batch.
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
