package node

import (
	"errors"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// stored is an event as it is sent.
type stored struct {
	position uint64
	record   []byte
}

// recentEvents keeps the latest small events, so that live subscribers need not read the
// disk.
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

// A block limits what one step of a read holds in memory.
const (
	blockCount  = 512
	blockBytes  = 1 << 20
	recordGuess = 512 // initial size of an event, in bytes
)

// limited returns how many of the events still wanted one step of a read takes.
func limited(want uint64) int { return int(min(want, blockCount)) }

// readAll appends to block the events from position from on, forwards, up to the last
// synced one, at most n. It holds no resources of the store when it returns.
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

// scan appends at most n events of [from, before), in either direction. If the log is
// damaged it returns what is readable before the damage, and an error if it starts there.
func (s *store) scan(block []stored, from, before uint64, n int, backwards bool) ([]stored, error) {
	if from >= before {
		return block, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: eventKey(nil, from), UpperBound: eventKey(nil, before)})
	if err != nil {
		return block, s.readError(err, "at position %d", from)
	}
	next, step, ok := from, it.Next, false
	if backwards {
		next, step, ok = before-1, it.Prev, it.Last()
	} else {
		ok = it.First()
	}
	buf := make([]byte, 0, n*recordGuess)
	for ; ok && len(block) < n && len(buf) < blockBytes; ok = step() {
		value, err := it.ValueAndErr()
		if err != nil {
			break // the iterator has it, too
		}
		start := len(buf)
		buf = append(buf, value...) // earlier slices keep the array they point to
		position := beUint64(it.Key()[1:])
		block = append(block, stored{position, buf[start:len(buf):len(buf)]})
		if next = position + 1; backwards {
			next = position - 1
		}
	}
	if err := it.Close(); err != nil && len(block) == 0 {
		return block, s.readError(err, "at position %d", next)
	}
	return block, nil
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
		return block, s.readError(err, "in the index of stream number %d", number)
	}
	defer it.Close()
	events, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixEvent}, UpperBound: []byte{prefixEvent + 1}})
	if err != nil {
		return block, s.readError(err, "in stream number %d", number)
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
		// Neighbors in a stream are often neighbors in the log.
		if !events.Valid() || !next(events, backwards) || string(events.Key()) != string(key) {
			if !events.SeekGE(key) || string(events.Key()) != string(key) {
				return block, s.readError(errors.Join(errRecord, events.Error()), "at position %d", pos)
			}
		}
		value, err := events.ValueAndErr()
		if err != nil {
			return block, s.readError(err, "at position %d", pos)
		}
		start := len(buf)
		buf = append(buf, value...)
		block = append(block, revisioned{revision, stored{pos, buf[start:len(buf):len(buf)]}})
	}
	if err := it.Error(); err != nil {
		return block, s.readError(err, "in the index of stream number %d", number)
	}
	return block, nil
}

func next(it *pebble.Iterator, backwards bool) bool {
	if backwards {
		return it.Prev()
	}
	return it.Next()
}
