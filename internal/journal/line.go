package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/google/uuid"

	"latchkey/domain/event"
	"latchkey/eventstore"
)

// ErrDamaged is returned for a journal that lacks a line, or has one that ends with a
// newline and cannot be read: it is no longer a complete list of revocations.
var ErrDamaged = errors.New("the journal of revocations is damaged")

// The kinds of lines other than those of event.RevocationKind. They are stored.
const (
	kindBegan  = "began"  // the following lines are of another log or epoch
	kindMark   = "mark"   // the log was read up to here
	kindErased = "erased" // a person was erased
)

// Entry is an entry of the journal.
type Entry struct {
	N uint64 `json:"n"` // entries are counted from 1; a mark has the number of the entry after it

	Kind     string              `json:"kind"`
	Log      uuid.UUID           `json:"log"`
	Epoch    uint64              `json:"epoch"`
	Position eventstore.Position `json:"position"` // of the event
	Event    uuid.UUID           `json:"event"`    // that revoked it; for a mark or an erasure the last one read

	Share   string `json:"share,omitempty"`
	Device  string `json:"device,omitempty"`
	Account string `json:"account,omitempty"`
	Key     string `json:"key,omitempty"`
	Person  string `json:"person,omitempty"` // who was erased
}

// Erased returns the person whose erasure an entry records, "" for other entries.
func (e Entry) Erased() string {
	if e.Kind != kindErased {
		return ""
	}
	return e.Person
}

// Revocation returns what an entry revoked; ok is false for an entry of another kind.
func (e Entry) Revocation() (r event.Revocation, ok bool) {
	switch e.Kind {
	case kindBegan, kindMark, kindErased:
		return r, false
	}
	return event.Revocation{
		Kind: event.RevocationKind(e.Kind), Event: e.Event,
		Share: e.Share, Device: e.Device, Account: e.Account, Key: e.Key,
	}, true
}

func (e Entry) identity() eventstore.Identity {
	return eventstore.Identity{Log: e.Log, Epoch: e.Epoch}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// between separates the entries of one line; JSON escapes it.
const between = '\t'

// sumField separates the fields of an entry from their CRC-32C in eight hexadecimal
// digits; sumLength is the length of both.
const (
	sumField  = `,"sum":"`
	sumLength = len(sumField) + 8 + len(`"}`)
)

// encode appends an entry to dst.
func encode(dst []byte, e Entry) ([]byte, error) {
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding an entry of the journal: %w", err)
	}
	raw = raw[:len(raw)-1]
	dst = append(dst, raw...)
	return fmt.Appendf(dst, "%s%08x\"}", sumField, crc32.Checksum(raw, castagnoli)), nil
}

// decode reads an entry. Trailing spaces are ignored.
func decode(line []byte) (e Entry, ok bool) {
	line = bytes.TrimRight(line, " ")
	if len(line) < sumLength {
		return e, false
	}
	raw, sum := line[:len(line)-sumLength], line[len(line)-sumLength:]
	if string(sum) != fmt.Sprintf("%s%08x\"}", sumField, crc32.Checksum(raw, castagnoli)) {
		return e, false
	}
	err := json.Unmarshal(append(bytes.Clone(raw), '}'), &e)
	return e, err == nil && e.N > 0 && e.Kind != ""
}
