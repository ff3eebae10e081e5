package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"latchkey/internal/vault"
)

// Reader reads an archive: Event until io.EOF, then Row until io.EOF, then Finish. Its
// results must not be trusted before Finish has returned.
type Reader struct {
	Header Header

	r      io.Reader
	sum    sum
	unpack *zstd.Decoder
	buf    []byte

	kind    byte // of the frame read last
	payload []byte
	lines   []byte // its lines, not yet returned
	got     Trailer
}

// NewReader reads the start of an archive.
func NewReader(r io.Reader) (*Reader, error) {
	a := &Reader{r: bufio.NewReaderSize(r, 256<<10), sum: sha256.Sum256([]byte(magic))}
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(a.r, begin); errors.Is(err, ErrDamaged) {
		return nil, err
	} else if err != nil || string(begin) != magic {
		return nil, errors.New("this is not a latchkey backup (or it is encrypted: see --identity and --passphrase-file)")
	}
	var err error
	if a.unpack, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(frameMost)); err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	if err := a.next(); err != nil {
		return nil, err
	}
	if a.kind != frameHeader || json.Unmarshal(a.payload, &a.Header) != nil {
		return nil, damaged(errors.New("it has no header"))
	}
	if a.Header.Format != format {
		return nil, fmt.Errorf("the backup has format %d, but this version of latchkey reads format %d", a.Header.Format, format)
	}
	if a.Header.Log.Log == uuid.Nil || a.Header.Log.Epoch == 0 {
		return nil, damaged(errors.New("it does not name its log"))
	}
	return a, a.next()
}

// Close frees the resources of the reader.
func (a *Reader) Close() { a.unpack.Close() }

// Event returns the next event of the log, io.EOF after the last.
func (a *Reader) Event() (e Event, err error) {
	if err := a.line(frameEvents, &e); err != nil {
		return Event{}, err
	}
	a.got.Events++
	return e, nil
}

// Row returns the next row of the vault, io.EOF after the last.
func (a *Reader) Row() (r vault.Row, err error) {
	if err := a.line(frameRows, &r); err != nil {
		return vault.Row{}, err
	}
	a.got.Rows++
	return r, nil
}

// Finish reads the rest and returns the vault's key, if it is in the archive. If it
// returns no error, the archive was complete and undamaged.
func (a *Reader) Finish() (key *vault.MasterKey, t Trailer, err error) {
	if a.kind == frameKey {
		k, err := vault.ParseMasterKey(a.payload)
		if err != nil {
			return nil, t, damaged(err)
		}
		key, a.got.Key = &k, true
		if err := a.next(); err != nil {
			return nil, t, err
		}
	}
	if a.kind != frameTrailer || len(a.lines) > 0 || json.Unmarshal(a.payload, &t) != nil {
		return nil, t, damaged(errors.New("its trailer is missing"))
	}
	if t != a.got {
		return nil, t, damaged(fmt.Errorf("it holds %+v, but its trailer says %+v", a.got, t))
	}
	if n, err := a.r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil, t, damaged(errors.New("unexpected data after its end"))
	}
	return key, t, nil
}

// line reads the next line of frames of a kind.
func (a *Reader) line(kind byte, into any) error {
	for len(a.lines) == 0 {
		if a.kind != kind {
			return io.EOF
		}
		var err error
		if a.payload != nil {
			if a.lines, err = a.unpack.DecodeAll(a.payload, a.lines[:0]); err != nil {
				return damaged(err)
			}
			a.payload = nil
			continue
		}
		if err := a.next(); err != nil {
			return err
		}
	}
	line, rest, _ := bytes.Cut(a.lines, []byte("\n"))
	if err := json.Unmarshal(line, into); err != nil {
		return damaged(err)
	}
	a.lines = rest
	return nil
}

func (a *Reader) next() (err error) {
	a.sum, a.kind, a.payload, err = readFrame(a.r, a.sum, a.buf)
	if err == nil {
		a.buf = a.payload
	}
	return err
}
