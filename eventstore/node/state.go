package node

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// streamState is what a read of a stream needs to know.
type streamState struct {
	exists     bool
	tombstoned bool
	number     uint64
	last       uint64 // the last synced revision
	meta       streamMeta
}

// statesKept limits the cached states.
const statesKept = 1 << 14

// stream returns the synced state of a stream.
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
	if len(name) <= nameCounted && s.committed.Load() == before { // else it may have changed in the meantime
		if len(s.states) >= statesKept {
			clear(s.states)
		}
		s.states[name] = st
	}
	return st, nil
}

// publish makes synced events readable: no older state is returned from now on.
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
		return st, s.readError(err, "in the metadata of stream %q", name)
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
		return st, s.readError(err, "at the end of stream %q", name)
	}
	end := s.committed.Load()
	for ok := it.Last(); ok; ok = it.Prev() { // past unsynced events
		value, err := it.ValueAndErr()
		if err != nil {
			return st, errors.Join(s.readError(err, "at the end of stream %q", name), it.Close())
		}
		if beUint64(value) <= end {
			st = streamState{exists: true, number: number, last: beUint64(it.Key()[9:])}
			break
		}
	}
	st.tombstoned = st.exists && st.last == deletedStream
	if err := it.Close(); err != nil {
		return streamState{}, s.readError(err, "at the end of stream %q", name)
	}
	return st, nil
}

// number returns a stream's number.
func (s *store) number(name string) (uint64, bool, error) {
	value, closer, err := s.db.Get(nameKey(nil, name))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, s.readError(err, "in the name of stream %q", name)
	}
	number := beUint64(value)
	return number, true, closer.Close()
}

// at returns one event of a stream. Pebble's ErrNotFound if there is none.
func (s *store) at(number, revision uint64) (event, error) {
	raw, err := s.recordAt(number, revision)
	if err != nil {
		return event{}, err
	}
	return parseRecord(raw.record)
}

func (s *store) recordAt(number, revision uint64) (stored, error) {
	value, closer, err := s.db.Get(revisionKey(nil, number, revision))
	if errors.Is(err, pebble.ErrNotFound) {
		return stored{}, err
	}
	if err != nil {
		return stored{}, s.readError(err, "in the index of stream number %d", number)
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
		return stored{}, s.readError(err, "at position %d", pos)
	}
	return stored{pos, append([]byte(nil), value...)}, closer.Close()
}
