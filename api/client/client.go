package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Service is a client of one service, for one session. It is safe for concurrent use.
//
// A read reflects every command that the same Service has sent before, also if another
// process of the service answers it, unless Options say otherwise.
type Service struct {
	*ClientWithResponses
	doer *doer
}

// Options configure a Service. The zero value is ready to use.
type Options struct {
	HTTP *http.Client // nil: http.DefaultClient
	// AnyPosition lets reads reflect whatever the answering process knows.
	AnyPosition bool
}

// New returns a client of the service at an address such as https://cameras.example.com,
// without a session.
func New(server string, o Options) (*Service, error) {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	d := &doer{server: strings.TrimSuffix(server, "/"), http: o.HTTP, any: o.AnyPosition, position: &position{}}
	calls, err := NewClientWithResponses(server, WithHTTPClient(d))
	if err != nil {
		return nil, fmt.Errorf("making a client of %s: %w", server, err)
	}
	return &Service{calls, d}, nil
}

// As returns a client of the same service that uses a session's token. It shares the
// known position.
func (s *Service) As(token string) *Service {
	d := *s.doer
	d.token = token
	c := *s.ClientInterface.(*Client)
	c.Client = &d
	return &Service{&ClientWithResponses{&c}, &d}
}

// Position returns the greatest position of the log that a response carried, 0 for none.
func (s *Service) Position() uint64 { return s.doer.position.get() }

// See makes every later read reflect a position, such as the id of an event.
func (s *Service) See(at uint64) { s.doer.position.add(at) }

// NewKey returns a new Idempotency-Key. A command that is sent again with the same key
// takes effect once.
func NewKey() string { return rand.Text() }

type position struct {
	mu sync.Mutex
	at uint64
}

func (p *position) get() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *position) add(at uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = max(p.at, at)
}

// Error is a refusal of the service: its problem document (RFC 9457), whose Code is
// stable, and whose Errors name the invalid fields.
type Error struct {
	Problem

	RetryAfter time.Duration // 0: not given
	// Position is set with the code not_confirmed: the command is in the log, and takes
	// effect.
	Position uint64
}

// Error returns the code, the detail and the status.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (status %d, request %s)", e.Code, e.Detail, e.Status, e.RequestID)
}

// HasCode reports whether an error is an Error with a code.
func HasCode(err error, code string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}

// doer sends requests: with the session and the known position, and returns refusals as
// errors.
type doer struct {
	server   string
	http     *http.Client
	any      bool
	token    string
	position *position
}

const (
	positionHeader = "Latchkey-Position"
	minimumHeader  = "Latchkey-Min-Position"

	// maxProblem is the maximum size of a problem document in bytes.
	maxProblem = 1 << 20
)

// Do implements HttpRequestDoer.
func (d *doer) Do(r *http.Request) (*http.Response, error) {
	withoutEmpty(r)
	if d.token != "" {
		r.Header.Set("Authorization", "Bearer "+d.token)
	}
	if at := d.position.get(); at > 0 && !d.any && r.Method == http.MethodGet && r.Header.Get(minimumHeader) == "" {
		r.Header.Set(minimumHeader, strconv.FormatUint(at, 10))
	}
	a, err := d.http.Do(r)
	if err != nil {
		return nil, err
	}
	at, err := strconv.ParseUint(a.Header.Get(positionHeader), 10, 64)
	if err == nil {
		d.position.add(at)
	}
	if a.StatusCode < http.StatusBadRequest {
		return a, nil
	}
	return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, problemOf(a, at))
}

// withoutEmpty removes parameters that were not given: for the service, an empty one is
// not an absent one.
func withoutEmpty(r *http.Request) {
	for name, values := range r.Header {
		if len(values) == 1 && values[0] == "" {
			delete(r.Header, name)
		}
	}
	if r.URL.RawQuery == "" {
		return
	}
	query := r.URL.Query()
	for name, values := range query {
		if len(values) == 1 && (values[0] == "" || name == "limit" && values[0] == "0") {
			delete(query, name)
		}
	}
	r.URL.RawQuery = query.Encode()
}

// Call makes a call that need not be among the generated ones: path begins after /api/v1.
// The body is sent as JSON, nil for none, and the response is read into out, unless that
// is nil.
func (s *Service) Call(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.doer.server+"/api/v1"+path, payload)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	a, err := s.doer.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, a.Body)
	} else {
		err = json.NewDecoder(a.Body).Decode(out)
	}
	if err != nil {
		return fmt.Errorf("%s %s: reading the response: %w", method, path, err)
	}
	return nil
}

// problemOf reads a refusal; a body that is not a problem document leaves the status.
func problemOf(a *http.Response, at uint64) error {
	defer a.Body.Close()
	p := &Error{}
	raw, err := io.ReadAll(io.LimitReader(a.Body, maxProblem))
	if err == nil && strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") {
		err = json.Unmarshal(raw, &p.Problem)
	}
	p.Status, p.Position = a.StatusCode, at
	if seconds, wrong := strconv.Atoi(a.Header.Get("Retry-After")); wrong == nil && seconds > 0 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return errors.Join(p, err)
}
