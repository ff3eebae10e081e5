package node

import (
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// A stored event is the RecordedEvent message of the protocol, byte for byte as sent, so
// that a read copies it without encoding. Its fields are always written in the order of
// their numbers.
const (
	fieldID             = 1
	fieldStream         = 2
	fieldRevision       = 3
	fieldPrepare        = 4
	fieldCommit         = 5
	fieldMetadata       = 6
	fieldCustomMetadata = 7
	fieldData           = 8
)

// event is a decoded stored event. Its slices are those of the record.
type event struct {
	id          [16]byte
	stream      []byte
	revision    uint64
	position    uint64
	kind        []byte // the event's type
	contentType []byte
	created     int64 // 100 ns ticks since the Unix epoch
	custom      []byte
	data        []byte
}

var errRecord = errors.New("the stored event is damaged")

// appendRecord encodes e.
func appendRecord(dst []byte, e *event) []byte {
	var id [40]byte
	u := protowire.AppendTag(id[:0], 1, protowire.BytesType) // UUID.structured
	var pair [24]byte
	p := protowire.AppendTag(pair[:0], 1, protowire.VarintType)
	p = protowire.AppendVarint(p, beUint64(e.id[:8]))
	p = protowire.AppendTag(p, 2, protowire.VarintType)
	p = protowire.AppendVarint(p, beUint64(e.id[8:]))
	u = protowire.AppendBytes(u, p)
	dst = appendBytesField(dst, fieldID, u)

	dst = protowire.AppendTag(dst, fieldStream, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(1+protowire.SizeBytes(len(e.stream))))
	dst = appendBytesField(dst, 3, e.stream) // StreamIdentifier.stream_name

	dst = appendUintField(dst, fieldRevision, e.revision)
	dst = appendUintField(dst, fieldPrepare, e.position)
	dst = appendUintField(dst, fieldCommit, e.position)
	var created [20]byte
	dst = appendMetadata(dst, "content-type", e.contentType)
	dst = appendMetadata(dst, "created", strconv.AppendInt(created[:0], e.created, 10))
	dst = appendMetadata(dst, "type", e.kind)
	dst = appendBytesField(dst, fieldCustomMetadata, e.custom)
	return appendBytesField(dst, fieldData, e.data)
}

func appendBytesField(dst []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), value)
}

func appendUintField(dst []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), value)
}

// appendMetadata writes one entry of the map metadata.
func appendMetadata(dst []byte, key string, value []byte) []byte {
	dst = protowire.AppendTag(dst, fieldMetadata, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(2+protowire.SizeBytes(len(key))+protowire.SizeBytes(len(value))))
	dst = protowire.AppendString(protowire.AppendTag(dst, 1, protowire.BytesType), key)
	return appendBytesField(dst, 2, value)
}

// parseRecord decodes a stored event without copying.
func parseRecord(b []byte) (event, error) {
	var e event
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return e, errRecord
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return e, errRecord
			}
			b = b[n:]
			switch field {
			case fieldRevision:
				e.revision = v
			case fieldCommit:
				e.position = v
			}
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return e, errRecord
			}
			b = b[n:]
			if err := e.setBytes(field, v); err != nil {
				return e, err
			}
		default:
			return e, errRecord
		}
	}
	return e, nil
}

func (e *event) setBytes(field protowire.Number, v []byte) (err error) {
	switch field {
	case fieldID:
		e.id, err = parseID(v)
	case fieldStream:
		e.stream, err = inner(v, 3)
	case fieldMetadata:
		err = e.setMetadata(v)
	case fieldCustomMetadata:
		e.custom = v
	case fieldData:
		e.data = v
	}
	return err
}

func (e *event) setMetadata(v []byte) error {
	key, err := inner(v, 1)
	if err != nil {
		return err
	}
	n := 1 + protowire.SizeBytes(len(key))
	if n > len(v) {
		return errRecord
	}
	value, err := inner(v[n:], 2)
	if err != nil {
		return err
	}
	switch string(key) {
	case "type":
		e.kind = value
	case "content-type":
		e.contentType = value
	case "created":
		if e.created, err = strconv.ParseInt(string(value), 10, 64); err != nil {
			return fmt.Errorf("%w: created: %w", errRecord, err)
		}
	}
	return nil
}

// inner returns the bytes field at the start of a message.
func inner(b []byte, want protowire.Number) ([]byte, error) {
	field, kind, n := protowire.ConsumeTag(b)
	if n < 0 || field != want || kind != protowire.BytesType {
		return nil, errRecord
	}
	v, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return nil, errRecord
	}
	return v, nil
}

func parseID(b []byte) (id [16]byte, err error) {
	pair, err := inner(b, 1)
	if err != nil {
		return id, err
	}
	for len(pair) > 0 {
		field, kind, n := protowire.ConsumeTag(pair)
		if n < 0 || kind != protowire.VarintType || field < 1 || field > 2 {
			return id, errRecord
		}
		v, m := protowire.ConsumeVarint(pair[n:])
		if m < 0 {
			return id, errRecord
		}
		putUint64(id[(field-1)*8:], v)
		pair = pair[n+m:]
	}
	return id, nil
}
