package eventstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Batch is the content of one Watermill message: events in the order of the log, or none
// if it only reports how far the log was read.
type Batch struct {
	Position Position // reached by this batch
	Events   []Recorded
}

// ErrBatch is returned for bytes that are not a batch.
var ErrBatch = errors.New("damaged batch of events")

const (
	batchVersion = 1
	// minEvent is the minimum size of an encoded event; it limits what a damaged count
	// can make us allocate.
	minEvent = 16 + 4*1 + 1 + 1 + 1 + 1
)

// EncodeBatch appends the bytes of b to dst.
func EncodeBatch(dst []byte, b Batch) []byte {
	dst = append(dst, batchVersion)
	dst = binary.AppendUvarint(dst, uint64(b.Position))
	dst = binary.AppendUvarint(dst, uint64(len(b.Events)))
	for i := range b.Events {
		e := &b.Events[i]
		dst = append(dst, e.ID[:]...)
		dst = binary.AppendUvarint(dst, e.Revision)
		dst = binary.AppendUvarint(dst, uint64(e.Position))
		dst = binary.AppendVarint(dst, e.Created.Unix())
		dst = binary.AppendUvarint(dst, uint64(e.Created.Nanosecond()))
		dst = appendSized(dst, e.Stream)
		dst = appendSized(dst, e.Type)
		dst = appendSized(dst, e.Data)
		dst = appendSized(dst, e.Metadata)
	}
	return dst
}

func appendSized[T string | []byte](dst []byte, v T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

// DecodeBatch reads a batch. Data and metadata of its events are parts of
// payload.
func DecodeBatch(payload []byte) (Batch, error) {
	d := decoder{rest: payload}
	if d.byte() != batchVersion {
		d.bad = true
	}
	b := Batch{Position: Position(d.uvarint())}
	n := d.uvarint()
	if d.bad || n > uint64(len(d.rest)/minEvent) {
		return Batch{}, fmt.Errorf("decoding: %w", ErrBatch)
	}
	if n > 0 {
		b.Events = make([]Recorded, n)
	}
	for i := range b.Events {
		e := &b.Events[i]
		copy(e.ID[:], d.take(16))
		e.Revision = d.uvarint()
		e.Position = Position(d.uvarint())
		seconds := d.varint()
		e.Created = time.Unix(seconds, int64(d.uvarint())).UTC()
		e.Stream = string(d.sized())
		e.Type = string(d.sized())
		e.Data = d.sized()
		e.Metadata = d.sized()
	}
	if d.bad || len(d.rest) > 0 {
		return Batch{}, fmt.Errorf("decoding: %w", ErrBatch)
	}
	return b, nil
}

// decoder reads from rest; after the first error it reads zeros.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) byte() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) sized() []byte { return d.take(d.uvarint()) }
