package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"latchkey/eventstore"
)

// An archive is magic, then frames: a byte for the kind of the content, its length in
// four bytes, big endian, the content, and 32 bytes of SHA-256 over the previous sum, the
// kind, the length and the content. So the last sum covers the whole archive, in order,
// and a frame that is missing, moved or changed is noticed where it is. Frames of events
// and rows have one JSON object per line, compressed with zstd.
const magic = "latchkey-backup\n"

// format is the version of the frames' content.
const format = 1

// The frames, in this order; any number of those with events and rows.
const (
	frameHeader  = 'h' // Header
	frameEvents  = 'e' // Event, many
	frameRows    = 'v' // vault.Row, many
	frameKey     = 'k' // the vault's key; optional
	frameTrailer = 't' // Trailer
)

const (
	frameGoal = 1 << 20  // bytes of lines in a frame, about
	frameMost = 64 << 20 // maximum bytes of lines in a frame, for reading
)

// ErrDamaged is returned for an archive that is truncated or changed.
var ErrDamaged = errors.New("the backup is damaged or incomplete")

// Header is the start of an archive.
type Header struct {
	Format  int                 `json:"format"`
	Tool    string              `json:"tool"` // the latchkey version that wrote it
	Created time.Time           `json:"created"`
	Log     eventstore.Identity `json:"log"`
	Head    eventstore.Position `json:"head"` // position of the last event in it
}

// Event is an event of the log in an archive.
type Event struct {
	Stream      string              `json:"stream"`
	Revision    uint64              `json:"revision"`
	Position    eventstore.Position `json:"position"` // in the log that was backed up
	ID          uuid.UUID           `json:"id"`
	Type        string              `json:"type"`
	ContentType string              `json:"content_type"`
	Created     time.Time           `json:"created"`
	Data        []byte              `json:"data,omitempty"`
	Metadata    []byte              `json:"metadata,omitempty"`
}

// Trailer is the end of an archive.
type Trailer struct {
	Events uint64 `json:"events"`
	Rows   uint64 `json:"rows"`
	Key    bool   `json:"key"` // the vault's key is in it
}

type sum [sha256.Size]byte

// next returns the sum of a frame that follows the one with sum s.
func (s sum) next(kind byte, payload []byte) sum {
	h := sha256.New()
	h.Write(s[:])
	h.Write(frameHead(kind, payload))
	h.Write(payload)
	return sum(h.Sum(nil))
}

func frameHead(kind byte, payload []byte) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
}

func writeFrame(w io.Writer, s sum, kind byte, payload []byte) (sum, error) {
	if len(payload) > frameMost {
		return s, fmt.Errorf("writing the backup: %d bytes exceed the maximum size of a frame", len(payload))
	}
	s = s.next(kind, payload)
	for _, part := range [][]byte{frameHead(kind, payload), payload, s[:]} {
		if _, err := w.Write(part); err != nil {
			return s, fmt.Errorf("writing the backup: %w", err)
		}
	}
	return s, nil
}

// readFrame reads a frame into buf and checks it.
func readFrame(r io.Reader, s sum, buf []byte) (next sum, kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return s, 0, nil, damaged(err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > frameMost {
		return s, 0, nil, damaged(fmt.Errorf("a frame of %d bytes", n))
	}
	if payload, err = readGrowing(r, buf, int(n)); err != nil {
		return s, 0, nil, damaged(err)
	}
	var got sum
	if _, err := io.ReadFull(r, got[:]); err != nil {
		return s, 0, nil, damaged(err)
	}
	if got != s.next(head[0], payload) {
		return s, 0, nil, damaged(errors.New("a checksum does not match"))
	}
	return got, head[0], payload, nil
}

// readGrowing reads n bytes, allocating only as data arrives: the length may be damaged.
func readGrowing(r io.Reader, buf []byte, n int) ([]byte, error) {
	buf = buf[:0]
	for len(buf) < n {
		step := min(n-len(buf), frameGoal)
		at := len(buf)
		buf = append(buf, make([]byte, step)...)
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

func damaged(cause error) error {
	if errors.Is(cause, io.EOF) || errors.Is(cause, io.ErrUnexpectedEOF) {
		cause = errors.New("it ends prematurely")
	}
	return fmt.Errorf("%w: %w", ErrDamaged, cause)
}
