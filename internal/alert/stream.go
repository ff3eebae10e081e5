package alert

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	maxLine  = 4 << 10 // bytes of a line of a header
	maxLines = 64      // of a header
	// maxSkipped is how many bytes a part has at most that is skipped, such as a picture,
	// in a stream that does not end.
	maxSkipped = 8 << 20
	// A part without a length ends where its document does. It is looked for so often.
	maxTries = 16
)

var errStream = errors.New("the parts of the stream cannot be told apart")

// Reader reads the parts of a stream that does not end. A part is returned as soon as it
// is complete, before the next one begins: package mime/multipart would wait for that.
type Reader struct {
	from      *bufio.Reader
	boundary  string
	maxBinary int  // bytes of a part that is skipped
	begun     bool // the boundary before the next part was read
}

// NewReader reads parts with a boundary between them.
func NewReader(from io.Reader, boundary string) *Reader {
	return &Reader{from: bufio.NewReaderSize(from, maxLine), boundary: strings.TrimLeft(boundary, "-"), maxBinary: maxSkipped}
}

// Next returns the next part that may be a message; others are skipped. The error is
// io.EOF where the stream ends.
func (r *Reader) Next() ([]byte, error) {
	for {
		if err := r.begin(); err != nil {
			return nil, err
		}
		media, length, err := r.header()
		if err != nil {
			return nil, err
		}
		text := strings.Contains(media, "xml") || strings.Contains(media, "json") || media == "" || strings.HasPrefix(media, "text/")
		switch {
		case !text && length >= 0:
			err = r.skip(length)
		case !text:
			err = r.pass()
		case length < 0:
			return r.document()
		case length > MaxPart:
			return nil, fmt.Errorf("%w: a part has %d bytes", errStream, length)
		default:
			part := make([]byte, length)
			if _, err := io.ReadFull(r.from, part); err != nil {
				return nil, eof(err)
			}
			return part, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// begin reads up to the line after the next boundary.
func (r *Reader) begin() error {
	for skipped := 0; !r.begun; {
		line, err := r.line()
		if err != nil {
			return err
		}
		if skipped += len(line) + 2; skipped > MaxPart {
			return fmt.Errorf("%w: no boundary comes", errStream)
		}
		r.begun = r.isBoundary(line)
	}
	r.begun = false
	return nil
}

// isBoundary is lenient about the dashes: devices say one boundary and write another
// number of them.
func (r *Reader) isBoundary(line []byte) bool {
	text := strings.TrimSpace(string(line))
	return strings.HasPrefix(text, "-") && strings.TrimLeft(text, "-") == r.boundary
}

// header reads the header of a part; length is -1 if it is missing.
func (r *Reader) header() (media string, length int, err error) {
	length = -1
	for range maxLines {
		line, err := r.line()
		if err != nil {
			return "", 0, err
		}
		if len(line) == 0 {
			return media, length, nil
		}
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "content-type":
			media, _, _ = strings.Cut(strings.ToLower(value), ";")
			media = strings.TrimSpace(media)
		case "content-length":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return "", 0, fmt.Errorf("%w: a part of the length %q", errStream, cut(value))
			}
			if n > r.maxBinary {
				return "", 0, fmt.Errorf("%w: a part of %d bytes", ErrTooLarge, n)
			}
			length = n
		}
	}
	return "", 0, fmt.Errorf("%w: a header is too long", errStream)
}

func cut(s string) string { return s[:min(len(s), 16)] }

func (r *Reader) skip(n int) error {
	_, err := io.CopyN(io.Discard, r.from, int64(n))
	return eof(err)
}

// pass skips a part up to the boundary after it.
func (r *Reader) pass() error {
	for skipped := 0; skipped < r.maxBinary; {
		piece, err := r.from.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return eof(err)
		}
		skipped += len(piece)
		if r.isBoundary(piece) {
			r.begun = true
			return nil
		}
	}
	return fmt.Errorf("%w: no boundary comes", errStream)
}

// document reads a part without a length: to the end of its document, or the boundary
// after it.
func (r *Reader) document() ([]byte, error) {
	var text []byte
	open, tries := 0, 0
	for len(text) <= MaxPart {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		if r.isBoundary(line) {
			r.begun = true
			return text, nil
		}
		text = append(append(text, line...), '\n')
		if bytes.Contains(line, []byte("</"+root)) || bytes.Contains(line, []byte(":"+root+">")) && bytes.Contains(line, []byte("</")) {
			return text, nil
		}
		open += bytes.Count(line, []byte("{")) - bytes.Count(line, []byte("}"))
		if open == 0 && bytes.IndexByte(line, '}') >= 0 && tries < maxTries {
			if tries++; json.Valid(text) {
				return text, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: a part does not end", errStream)
}

// line returns the next line without its end; it is valid until the next call.
func (r *Reader) line() ([]byte, error) {
	line, err := r.from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line is too long", errStream)
	}
	if err != nil {
		return nil, eof(err)
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// eof is io.EOF also for a stream that ends within a part.
func eof(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}
