package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"latchkey/eventstore"
)

// digest covers everything that must be the same in a log and in a copy of it: all but
// positions.
type digest struct {
	hash  hash.Hash
	count uint64
	buf   []byte
}

func newDigest() *digest { return &digest{hash: sha256.New()} }

func (d *digest) add(e Event) {
	d.count++
	d.buf = append(d.buf[:0], e.ID[:]...)
	d.buf = binary.BigEndian.AppendUint64(d.buf, e.Revision)
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(e.Created.UnixNano()))
	for _, part := range [][]byte{[]byte(e.Stream), []byte(e.Type), []byte(e.ContentType), e.Data, e.Metadata} {
		d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(len(part)))
		d.buf = append(d.buf, part...)
	}
	d.hash.Write(d.buf)
}

// check reads a log and compares it with the digest.
func (d *digest) check(ctx context.Context, log *eventstore.Client) error {
	there := newDigest()
	err := log.ReadAll(ctx, 0, "", func(r eventstore.Recorded) error { there.add(eventOf(r)); return nil })
	if err != nil {
		return fmt.Errorf("checking the restored log: %w", err)
	}
	if there.count != d.count || !bytes.Equal(there.hash.Sum(nil), d.hash.Sum(nil)) {
		return fmt.Errorf("checking the restored log: it has %d events, but %d were written, or they differ", there.count, d.count)
	}
	return nil
}

func eventOf(r eventstore.Recorded) Event {
	return Event{
		Stream: r.Stream, Revision: r.Revision, Position: r.Position, ID: r.ID, Type: r.Type,
		ContentType: r.ContentType, Created: r.Created, Data: r.Data, Metadata: r.Metadata,
	}
}
