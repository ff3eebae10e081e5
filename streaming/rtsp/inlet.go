package rtsp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"golang.org/x/time/rate"
)

// Bounds on what a player sends. The server has its own, and ends the connection at each
// of them; here a request that can be answered is answered.
const (
	inletBuffer    = 2048
	maxLine        = 8192
	maxHeaders     = 128
	maxHeaderBytes = 32 << 10
	maxHeaderValue = 2000 // longer ones are dropped
	maxURL         = 2000
	maxBody        = 128 << 10

	// A player may send this much. A receiver report of 100 bytes every 5 s for each track
	// is usual; beyond the budget it is read no faster, and its own kernel holds the rest.
	sentPerSecond, sentBurst = 32 << 10, 128 << 10
	leastCost                = 64 // of a frame or a request, in bytes of the budget
)

// refused is the method that the server gets for a request that it would end the connection
// for. It answers 501, which OnResponse replaces.
const refusedMethod base.Method = "REFUSED"

var (
	errNotRTSP  = errors.New("the player does not speak RTSP")
	errTooLarge = errors.New("the player's message is too large")
)

// inlet reads what a player sends, and hands each request to the server in the one form
// that it reads. What players say is heard here; their receiver reports over TCP are
// dropped, as nothing needs them.
//
// It hands on one message for each read of the server, which reads the next one only after
// it has answered: so fault belongs to the request that OnRequest gets.
type inlet struct {
	in     *bufio.Reader
	root   string // of URLs that are only a path
	frames func() bool
	heard  func(channel byte, size int) func([]byte) // what hears a frame, or nil
	spend  func(n int) error

	out   []byte // to be handed on
	rest  int    // bytes of a frame or a body that follow, handed on as they are
	fault *refusal
}

// newInlet returns the inlet of a connection. frames reports whether frames are handed on;
// spend waits until the player may send n more bytes.
func newInlet(r io.Reader, root string, frames func() bool, spend func(n int) error) *inlet {
	return &inlet{
		in: bufio.NewReaderSize(r, inletBuffer), root: root, frames: frames, spend: spend,
		heard: func(byte, int) func([]byte) { return nil },
	}
}

// Read implements io.Reader.
func (i *inlet) Read(b []byte) (int, error) {
	for len(i.out) == 0 && i.rest == 0 {
		if err := i.next(); err != nil {
			return 0, err
		}
	}
	if len(i.out) > 0 {
		n := copy(b, i.out)
		i.out = i.out[n:]
		return n, nil
	}
	n, err := i.in.Read(b[:min(len(b), i.rest)])
	i.rest -= n
	return n, err
}

// next reads one message.
func (i *inlet) next() error {
	for skipped := 1; ; skipped++ {
		c, err := i.in.ReadByte()
		switch {
		case err != nil:
			return err
		case c == base.InterleavedFrameMagicByte:
			return i.frame()
		case c > ' ':
			_ = i.in.UnreadByte()
			return i.message()
		case skipped%leastCost == 0:
			if err := i.spend(leastCost); err != nil {
				return err
			}
		}
	}
}

// frame reads an interleaved frame (RFC 2326, section 10.12).
func (i *inlet) frame() error {
	head := make([]byte, 4)
	head[0] = base.InterleavedFrameMagicByte
	if _, err := io.ReadFull(i.in, head[1:]); err != nil {
		return err
	}
	n := int(head[2])<<8 | int(head[3])
	if hear := i.heard(head[1], n); hear != nil {
		frame := make([]byte, n)
		if _, err := io.ReadFull(i.in, frame); err != nil {
			return err
		}
		hear(frame)
		return i.spend(leastCost + n)
	}
	if i.frames() {
		i.out, i.rest = head, n
		return nil
	}
	if _, err := i.in.Discard(n); err != nil {
		return err
	}
	return i.spend(leastCost + n)
}

// message reads a request, or a response, which is dropped: the door sends no requests.
func (i *inlet) message() error {
	first, err := i.line()
	if err != nil {
		return err
	}
	head, length, err := i.header()
	if err != nil {
		return err
	}
	if strings.HasPrefix(first, "RTSP/") {
		return i.drop(length)
	}
	method, rest, ok := strings.Cut(first, " ")
	address, version, ok2 := cutLast(strings.TrimSpace(rest), " ")
	if !ok || !ok2 || !strings.HasPrefix(version, "RTSP/") {
		return errNotRTSP
	}
	i.fault = nil
	if !strings.HasPrefix(version, "RTSP/1.") {
		i.fault = errVersion
	}
	if !isKnown(base.Method(method)) {
		method, i.fault = string(refusedMethod), errUnknownMethod
	}
	if head.Get("CSeq") == "" {
		head.add("CSeq", "0")
		i.fault = errNoCSeq
	}
	address, refused := i.address(strings.TrimSpace(address))
	if refused != nil {
		i.fault = refused
	}
	if method != string(base.Announce) { // the only body that says something
		i.out = head.request(method, address, 0)
		return i.drop(length)
	}
	i.out, i.rest = head.request(method, address, length), length
	return i.spend(leastCost + length)
}

// drop discards a body.
func (i *inlet) drop(length int) error {
	if _, err := i.in.Discard(length); err != nil {
		return err
	}
	return i.spend(leastCost + length)
}

// line returns a line without its end, which may be LF alone.
func (i *inlet) line() (string, error) {
	var line []byte
	for {
		part, err := i.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return "", errTooLarge
		case err == nil:
			return strings.TrimRight(string(line), "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

// header reads the header, without Content-Length, and the length of the body. Lines that
// are not headers are skipped.
func (i *inlet) header() (head fields, length int, err error) {
	for total := 0; ; {
		line, err := i.line()
		if err != nil || line == "" {
			return head.usable(), length, err
		}
		if total += len(line); total > maxHeaderBytes || len(head) > maxHeaders {
			return nil, 0, errTooLarge
		}
		if line[0] == ' ' || line[0] == '\t' {
			head.extend(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		switch {
		case !ok || !isToken(name):
		case strings.EqualFold(name, "Content-Length"):
			length, err = strconv.Atoi(strings.TrimSpace(value))
			if err != nil || length < 0 || length > maxBody {
				return nil, 0, errTooLarge
			}
		default:
			head.add(name, value)
		}
	}
}

// address returns a URL that the server can read.
func (i *inlet) address(s string) (string, *refusal) {
	s, _, _ = strings.Cut(strings.ReplaceAll(s, " ", "%20"), "#")
	if s == "*" {
		return s, nil
	}
	if strings.HasPrefix(s, "/") {
		s = i.root + s
	}
	if len(s) > maxURL {
		return "*", errLongURL
	}
	if u, err := base.ParseURL(s); err != nil || u.Host == "" {
		return "*", errBadURL
	}
	return s, nil
}

// fields are headers, in their order.
type fields []struct{ name, value string }

func (f *fields) add(name, value string) {
	*f = append(*f, struct{ name, value string }{name, strings.TrimSpace(value)})
}

// extend appends a continuation line (RFC 2068, section 4.2).
func (f *fields) extend(line string) {
	if n := len(*f); n > 0 {
		(*f)[n-1].value += " " + strings.TrimSpace(line)
	}
}

// Get returns the first value, or "".
func (f fields) Get(name string) string {
	for _, h := range f {
		if strings.EqualFold(h.name, name) {
			return h.value
		}
	}
	return ""
}

// usable returns the fields that the server reads. It takes CSeq and Session once.
func (f fields) usable() fields {
	var list fields
	for _, h := range f {
		once := strings.EqualFold(h.name, "CSeq") || strings.EqualFold(h.name, "Session")
		if len(h.value) <= maxHeaderValue && (!once || list.Get(h.name) == "") {
			list = append(list, h)
		}
	}
	return list
}

// request returns the head of a request as the server reads it.
func (f fields) request(method, address string, length int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s RTSP/1.0\r\n", method, address)
	for _, h := range f {
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, printable(h.value))
	}
	if length > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// printable replaces control characters, such as a CR in the middle of a line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, ok bool) {
	n := strings.LastIndex(s, sep)
	if n < 0 {
		return s, "", false
	}
	return s[:n], s[n+len(sep):], true
}

// Read reads what the player sends, as the server understands it.
func (w *wire) Read(b []byte) (int, error) { return w.inlet.Read(b) }

// newWireInlet returns the inlet of a connection. Only frames of a publisher are handed on.
func newWireInlet(w *wire) *inlet {
	budget := rate.NewLimiter(sentPerSecond, sentBurst)
	var in io.Reader = w.TCPConn
	root := url.URL{Scheme: "rtsp", Host: w.LocalAddr().String()}
	if w.tls != nil {
		in, root.Scheme = w.tls, "rtsps"
	}
	i := newInlet(in, root.String(), w.recording.Load, func(n int) error {
		return w.spend(budget, n)
	})
	i.heard = w.heard
	return i
}

// spend waits until the player may send n more bytes, or its connection ends.
func (w *wire) spend(budget *rate.Limiter, n int) error {
	left := budget.ReserveN(time.Now(), min(n, sentBurst)).Delay()
	if left == 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.ctx.Done():
		return io.ErrClosedPipe
	}
}
