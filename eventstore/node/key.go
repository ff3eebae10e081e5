package node

import "encoding/binary"

// The keys of the store. A stream is identified by its number, the position of its first
// event, so that names of any length cost nothing in the indexes.
//
//	e position          -> the stored event
//	n name              -> stream number
//	s number revision   -> position
//	i number event id   -> revision
//
// Numbers are 8 bytes, big endian.
const (
	prefixEvent    = 'e'
	prefixName     = 'n'
	prefixRevision = 's'
	prefixID       = 'i'
)

func beUint64(b []byte) uint64             { return binary.BigEndian.Uint64(b) }
func putUint64(b []byte, v uint64)         { binary.BigEndian.PutUint64(b, v) }
func be(b []byte, v uint64) []byte         { return binary.BigEndian.AppendUint64(b, v) }
func eventKey(b []byte, pos uint64) []byte { return be(append(b[:0], prefixEvent), pos) }
func nameKey(b []byte, name string) []byte { return append(append(b[:0], prefixName), name...) }

func revisionKey(b []byte, number, revision uint64) []byte {
	return be(be(append(b[:0], prefixRevision), number), revision)
}

func idKey(b []byte, number uint64, id [16]byte) []byte {
	return append(be(append(b[:0], prefixID), number), id[:]...)
}
