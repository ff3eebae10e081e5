package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"latchkey/internal/vault"
)

// Writer writes an archive: NewWriter, then Event, Row, Key and Close, in this
// order.
type Writer struct {
	w       io.Writer
	sum     sum
	pack    *zstd.Encoder
	lines   bytes.Buffer
	kind    byte // of the lines
	trailer Trailer
}

// NewWriter begins an archive.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	h.Format = format
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("writing the backup: %w", err)
	}
	if _, err := io.WriteString(w, magic); err != nil {
		return nil, fmt.Errorf("writing the backup: %w", err)
	}
	a := &Writer{w: w, sum: sha256.Sum256([]byte(magic)), pack: pack}
	return a, a.object(frameHeader, h)
}

// Event adds an event.
func (a *Writer) Event(e Event) error {
	a.trailer.Events++
	return a.line(frameEvents, e)
}

// Row adds a row of the vault.
func (a *Writer) Row(r vault.Row) error {
	a.trailer.Rows++
	return a.line(frameRows, r)
}

// Key adds the key of the vault.
func (a *Writer) Key(k vault.MasterKey) error {
	if err := a.flush(); err != nil {
		return err
	}
	a.trailer.Key = true
	return a.frame(frameKey, []byte(k.Text()))
}

// Close ends the archive. It does not close what it is written to.
func (a *Writer) Close() (Trailer, error) {
	if err := a.flush(); err != nil {
		return a.trailer, err
	}
	return a.trailer, a.object(frameTrailer, a.trailer)
}

func (a *Writer) line(kind byte, v any) error {
	if a.kind != kind {
		if err := a.flush(); err != nil {
			return err
		}
		a.kind = kind
	}
	if err := json.NewEncoder(&a.lines).Encode(v); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	if a.lines.Len() < frameGoal {
		return nil
	}
	return a.flush()
}

// flush writes the buffered lines.
func (a *Writer) flush() error {
	if a.lines.Len() == 0 {
		return nil
	}
	packed := a.pack.EncodeAll(a.lines.Bytes(), nil)
	a.lines.Reset()
	return a.frame(a.kind, packed)
}

func (a *Writer) object(kind byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return a.frame(kind, raw)
}

func (a *Writer) frame(kind byte, payload []byte) (err error) {
	a.sum, err = writeFrame(a.w, a.sum, kind, payload)
	return err
}
