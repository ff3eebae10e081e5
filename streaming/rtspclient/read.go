package rtspclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

const (
	bufferSize = 64 << 10 // of what is read of a connection
	maxLine    = 8 << 10
	maxHead    = 64 << 10 // a message without its body
	maxHeaders = 255
	maxBody    = 64 << 10 // descriptions are as large
	// maxNoise is how much may lie between two packets or messages that can be read.
	maxNoise = 256 << 10
)

// incoming is what a camera sends: a message or a packet.
type incoming struct {
	response *base.Response
	request  *request
	channel  int
	frame    []byte // of that interleaved channel
}

// request is one of the camera. Its body is read and dropped.
type request struct {
	method base.Method
	cseq   string
}

// reader reads what a camera sends over the RTSP connection. Between messages and
// packets, junk is skipped.
type reader struct {
	br    *bufio.Reader
	from  *arrivals
	known func(channel int) bool // used for packets

	spoke bool // a message or a packet was read
	lost  bool // the last bytes were junk
	noise int  // bytes of junk since the last message or packet
}

func newReader(r io.Reader, known func(int) bool) *reader {
	from := &arrivals{Reader: r}
	return &reader{br: bufio.NewReaderSize(from, bufferSize), from: from, known: known}
}

// arrivals notes when something was read last: many packets arrive at once.
type arrivals struct {
	io.Reader
	last time.Time
}

func (a *arrivals) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	a.last = time.Now()
	return n, err
}

// next returns what comes next. Empty frames are skipped.
func (r *reader) next() (incoming, error) {
	for {
		head, err := r.br.Peek(1)
		if err != nil {
			return incoming{}, err
		}
		switch c := head[0]; {
		case c == base.InterleavedFrameMagicByte:
			in, ok, err := r.frame()
			if err != nil || ok {
				return in, err
			}
		case c >= 'A' && c <= 'Z':
			in, ok, err := r.message()
			if err != nil || ok {
				return in, err
			}
		case c == '\r' || c == '\n' || c == 0:
			if err := r.skip(1, false); err != nil {
				return incoming{}, err
			}
		default:
			if err := r.skip(1, true); err != nil {
				return incoming{}, err
			}
		}
	}
}

// skip drops n bytes.
func (r *reader) skip(n int, junk bool) error {
	r.noise += n
	r.lost = r.lost || junk
	if junk && !r.spoke {
		return ErrNotRTSP
	}
	if r.noise > maxNoise {
		return ErrNoise
	}
	_, err := r.br.Discard(n)
	return err
}

// frame reads an interleaved frame; not ok if there is none after all.
func (r *reader) frame() (incoming, bool, error) {
	head, err := r.br.Peek(4)
	if err != nil {
		return incoming{}, false, err
	}
	channel, size := int(head[1]), int(head[2])<<8|int(head[3])
	if size == 0 && !r.lost {
		return incoming{}, false, r.skip(4, false)
	}
	if r.lost || !r.known(channel) {
		// It may only look like a frame: believe it if it has the header of a packet.
		head, err = r.br.Peek(5)
		if err != nil {
			return incoming{}, false, err
		}
		if size < 8 || head[4]>>6 != 2 || r.lost && !r.known(channel) {
			return incoming{}, false, r.skip(1, true)
		}
	}
	// Each packet has memory of its own: one that is kept must not keep what was read with it.
	data := make([]byte, 4+size)
	if _, err := io.ReadFull(r.br, data); err != nil {
		return incoming{}, false, err
	}
	r.spoke, r.lost, r.noise = true, false, 0
	return incoming{channel: channel, frame: data[4:]}, true, nil
}

// methods are those that a camera may send requests of.
var methods = []base.Method{
	base.Announce, base.Describe, base.GetParameter, base.Options, base.Pause, base.Play, base.Record, base.Setup,
	base.SetParameter, base.Teardown, "REDIRECT", "PLAY_NOTIFY", "EVENT_NOTIFY",
}

const versionStart = "RTSP/"

// message reads a response or a request; not ok if there is none after all.
func (r *reader) message() (incoming, bool, error) {
	head, err := r.br.Peek(len(versionStart))
	if err != nil {
		return incoming{}, false, err
	}
	switch {
	case string(head) == versionStart:
		res, err := r.response()
		return incoming{response: res}, err == nil, err
	case string(head) == "HTTP/" && !r.spoke:
		return incoming{}, false, ErrNotRTSP
	}
	for _, m := range methods {
		start := string(m) + " "
		if head, err := r.br.Peek(len(start)); err == nil && string(head) == start {
			return r.theirs(m)
		}
	}
	return incoming{}, false, r.skip(1, true)
}

func (r *reader) theirs(m base.Method) (incoming, bool, error) {
	if _, err := r.line(); err != nil {
		return incoming{}, false, err
	}
	header, err := r.headers()
	if err != nil {
		return incoming{}, false, err
	}
	if _, err := r.body(header); err != nil {
		return incoming{}, false, err
	}
	r.spoke, r.lost, r.noise = true, false, 0
	return incoming{request: &request{method: m, cseq: first(header["CSeq"])}}, true, nil
}

// response reads a response, of which only the status must be right.
func (r *reader) response() (*base.Response, error) {
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return nil, ErrNotRTSP
	}
	code, err := strconv.Atoi(fields[1])
	if err != nil || code < 100 || code > 999 {
		return nil, ErrNotRTSP
	}
	res := &base.Response{StatusCode: base.StatusCode(code)}
	if res.Header, err = r.headers(); err != nil {
		return nil, err
	}
	if res.Body, err = r.body(res.Header); err != nil {
		return nil, err
	}
	r.spoke, r.lost, r.noise = true, false, 0
	return res, nil
}

// line reads a line, which ends with a line feed, and most often CR and LF.
func (r *reader) line() (string, error) {
	var text []byte
	for {
		part, err := r.br.ReadSlice('\n')
		if len(text)+len(part) > maxLine {
			return "", ErrTooLarge
		}
		text = append(text, part...)
		if err == nil {
			return string(bytes.TrimRight(text, "\r\n\x00")), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}

// headers reads up to the empty line. Lines that are not headers are skipped.
func (r *reader) headers() (base.Header, error) {
	header := base.Header{}
	last, size := "", 0
	for count := 0; ; count++ {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		if line == "" {
			return header, nil
		}
		if size += len(line); count >= maxHeaders || size > maxHead {
			return nil, ErrTooLarge
		}
		if line[0] == ' ' || line[0] == '\t' { // the last one continues
			if list := header[last]; len(list) > 0 {
				list[len(list)-1] += " " + strings.TrimSpace(line)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		last = canonical(strings.TrimSpace(name))
		header[last] = append(header[last], strings.TrimSpace(value))
	}
}

func canonical(name string) string {
	switch strings.ToLower(name) {
	case "rtp-info":
		return "RTP-Info"
	case "www-authenticate":
		return "WWW-Authenticate"
	case "cseq":
		return "CSeq"
	default:
		return http.CanonicalHeaderKey(name)
	}
}

// body reads the body of a message. Of several lengths, the first that is a number
// counts; without one there is no body.
func (r *reader) body(header base.Header) ([]byte, error) {
	for _, v := range header["Content-Length"] {
		size, err := strconv.ParseUint(strings.TrimSpace(v), 10, 63)
		if err != nil {
			continue
		}
		if size > maxBody {
			return nil, ErrTooLarge
		}
		body := make([]byte, size)
		_, err = io.ReadFull(r.br, body)
		return body, err
	}
	return nil, nil
}

// first returns the first value of a header.
func first(values base.HeaderValue) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
