package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"latchkey/internal/heavy"
)

const (
	// MaxBody is the largest request body, in bytes.
	MaxBody = 1 << 20
	// MaxPublicBody is the limit for operations that need no session.
	MaxPublicBody = 4 << 10

	// A body has bodyGrace at the start, and must then arrive at an average of at least
	// bodyRate bytes per second.
	bodyGrace = 3 * time.Second
	bodyRate  = 64 << 10

	// bodiesInFlight is how many bytes of bodies the process holds at once, and
	// bodiesOfOne how many of one network or account.
	bodiesInFlight = 32 << 20
	bodiesOfOne    = 4 << 20

	// A body of more than largeBody bytes takes up to a second of a core and twenty times
	// its size in memory, even if valid. Half of the cores process such bodies, one each,
	// and those that would wait longer than turnWithin are refused.
	largeBody  = 64 << 10
	turnWithin = 5 * time.Second

	// firstPiece is reserved from the budget for a body of unknown length.
	firstPiece = 4 << 10
)

// budget limits how many of something, such as bytes of bodies, are held at once.
type budget struct {
	all, one int

	mu    sync.Mutex
	taken int
	by    map[string]int // by owner
}

func newBudget(all, one int) *budget { return &budget{all: all, one: one, by: make(map[string]int)} }

// take takes n for an owner; it returns false if there are not that many left.
func (b *budget) take(owner string, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken+n > b.all || b.by[owner]+n > b.one {
		return false
	}
	b.taken += n
	b.by[owner] += n
	return true
}

func (b *budget) give(owner string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken -= n
	if b.by[owner] -= n; b.by[owner] <= 0 {
		delete(b.by, owner)
	}
}

// bodyReader reads one request's body within the limits.
type bodyReader struct {
	budget *budget
	owner  string // an account, or a network
	most   int    // bytes
	began  time.Time
	until  func(time.Time) error // sets the deadline of the connection; may be nil
	held   int                   // bytes of the budget
}

// read returns the body. Its bytes are the request's until release.
func (r *bodyReader) read(from io.Reader, length int64) ([]byte, error) {
	if length > int64(r.most) {
		return nil, r.tooLarge()
	}
	size := firstPiece
	if length >= 0 {
		size = int(length)
	}
	if !r.hold(size) {
		return nil, busyWithBodies()
	}
	raw := make([]byte, 0, size+1) // one more, to see the end
	for {
		if len(raw) == cap(raw) {
			more := max(1, min(cap(raw), r.most+1-cap(raw)))
			if !r.hold(more) {
				return nil, busyWithBodies()
			}
			raw = append(make([]byte, 0, cap(raw)+more), raw...)
		}
		if r.until != nil {
			_ = r.until(r.began.Add(bodyGrace + time.Duration(len(raw))*time.Second/bodyRate))
		}
		n, err := from.Read(raw[len(raw):cap(raw)])
		raw = raw[:len(raw)+n]
		switch {
		case len(raw) > r.most:
			return nil, r.tooLarge()
		case errors.Is(err, io.EOF):
			return raw, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, tooSlow()
		case err != nil:
			return nil, malformed("The body could not be read to the end.", err)
		}
	}
}

func (r *bodyReader) hold(n int) bool {
	if !r.budget.take(r.owner, n) {
		return false
	}
	r.held += n
	return true
}

// release returns the bytes to the budget.
func (r *bodyReader) release() { r.budget.give(r.owner, r.held) }

func (r *bodyReader) tooLarge() *problem {
	return &problem{
		status: http.StatusRequestEntityTooLarge, code: "body_too_large",
		detail: "The body is larger than " + strconv.Itoa(r.most>>10) + " KiB.",
	}
}

func tooSlow() *problem {
	return &problem{status: http.StatusRequestTimeout, code: "body_too_slow", detail: "The body arrived too slowly."}
}

func busyWithBodies() *problem {
	return unavailable("busy", "Too many bodies are being read; try again later.", nil)
}

// readBody reads the request's body. release must be called at the end of the request,
// also after an error.
func (s *Server) readBody(c echo.Context, most int) (raw []byte, release func(), err error) {
	req := requestOf(c.Request().Context())
	connection := http.NewResponseController(c.Response().Writer)
	r := &bodyReader{budget: s.bodies, owner: req.owner(), most: most, began: time.Now(), until: connection.SetReadDeadline}
	raw, err = r.read(c.Request().Body, c.Request().ContentLength)
	if err != nil {
		return nil, r.release, err
	}
	req.read = true
	// The server watches the same connection for the client's disconnect.
	_ = connection.SetReadDeadline(time.Now().Add(readTimeout + writeTimeout))
	return raw, r.release, nil
}

// takeBodyTurn waits until a large body may be decoded; a small one need not wait. The
// turn is kept while the value is used, as that takes twenty times the memory of the
// body.
func (s *Server) takeBodyTurn(ctx context.Context, raw []byte) (giveBack func(), err error) {
	if len(raw) <= largeBody {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, turnWithin)
	defer cancel()
	owner := requestOf(ctx).owner()
	if !s.large.take(ctx, owner) {
		return nil, busyWithBodies()
	}
	return func() { s.large.give(owner) }, nil
}

// decodeOnCore is decodeBody, for large bodies when a core for heavy work is free. The
// core is released before the command waits for anything.
func decodeOnCore(ctx context.Context, raw []byte, schema *openapi3.Schema) (any, error) {
	if len(raw) > largeBody {
		ctx, cancel := context.WithTimeout(ctx, turnWithin)
		defer cancel()
		end, err := heavy.Begin(ctx)
		if err != nil {
			return nil, busyWithBodies()
		}
		defer end()
	}
	return decodeBody(raw, schema)
}

// validatedBody passes the validated value to the generated code, so that nothing is
// parsed twice and differently.
type validatedBody struct {
	*bytes.Reader
	value any
}

// ValidatedValue is called by the generated code.
func (b validatedBody) ValidatedValue() any { return b.value }

// Close does nothing.
func (b validatedBody) Close() error { return nil }
