package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/app"
	"latchkey/internal/position"
	"latchkey/projections"
)

func init() {
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.RegisteredBodyDecoder("text/plain"))
	openapi3filter.RegisterBodyDecoder(sdpType, openapi3filter.RegisteredBodyDecoder("text/plain"))
}

// world is a server over the real use cases; only what lies behind their ports
// and the server's own is in memory.
type world struct {
	t        testing.TB
	server   *Server
	vault    *memoryVault
	log      *memoryLog
	fence    *gate
	progress *gate
	logged   *lockedBuffer
	clock    *clock
	registry *prometheus.Registry
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{
		t: t, vault: newMemoryVault(), fence: &gate{}, progress: &gate{}, logged: &lockedBuffer{},
		clock: &clock{now: noon}, registry: prometheus.NewRegistry(),
	}
	w.log = newMemoryLog()
	cfg := w.config()
	for _, f := range change {
		f(&cfg)
	}
	server, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	return w
}

func (w *world) config() Config {
	w.t.Helper()
	read := readModel{w.log}
	useCases, err := app.New(app.Config{
		Log: w.log, Sealer: w.vault, Passwords: w.vault, Cameras: w.vault, StreamSecrets: w.vault, Domains: read, Now: w.clock.Now,
		Registration: app.Open, Codes: w.vault, Messenger: w.vault, ShareCodes: &memoryCodes{now: w.clock.Now},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return Config{
		Accounts: useCases.Accounts, Devices: useCases.Devices, Shares: useCases.Shares, StreamKeys: useCases.StreamKeys,
		Queries: read, Access: index{read}, Uses: index{read},
		Sessions: w.vault, Opener: w.vault,
		Fence: fence{w.fence}, Progress: progress{w.progress, &atomic.Uint64{}},
		Logger: slog.New(slog.NewTextHandler(w.logged, nil)), Metrics: w.registry, Now: w.clock.Now,
	}
}

// answer is a response, read to its end.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) decode(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%s: %v: %s", a.Status, err, a.body)
	}
}

func (a answer) problem(t testing.TB) problemDocument {
	t.Helper()
	var p problemDocument
	a.decode(t, &p)
	return p
}

// do sends a request and holds the answer against the specification. The body
// is JSON text, or a value to make it of; headers are pairs.
func (w *world) do(method, path, token string, body any, headers ...string) answer {
	w.t.Helper()
	return w.send(w.request(method, path, token, body, headers...))
}

func (w *world) request(method, path, token string, body any, headers ...string) *http.Request {
	w.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	r := httptest.NewRequest(method, path, reader)
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (w *world) send(r *http.Request) answer {
	w.t.Helper()
	recorder := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(recorder, r)
	response := recorder.Result()
	a := answer{Response: response, body: recorder.Body.Bytes()}
	w.holdAgainstSpecification(r, a)
	return a
}

// asOperator asks on the address that is for operators.
func (w *world) asOperator(path string) answer {
	w.t.Helper()
	recorder := httptest.NewRecorder()
	w.server.OperatorHandler().ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
	return answer{Response: recorder.Result(), body: recorder.Body.Bytes()}
}

// onThisMachine makes a request one of a program of the same machine, to a server
// that listens on loopback.
func onThisMachine(r *http.Request) *http.Request {
	r = r.WithContext(context.WithValue(r.Context(), onLoopback{}, true))
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "127.0.0.1:8080"
	return r
}

func (w *world) holdAgainstSpecification(r *http.Request, a answer) {
	w.t.Helper()
	c := w.server.echo.NewContext(r, nil)
	w.server.echo.Router().Find(r.Method, r.URL.EscapedPath(), c)
	op := whole(w.t, r.Method+" "+c.Path())
	if op == nil {
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: op.route},
		Status:                 a.StatusCode, Header: a.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	input.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		reason, _, _ := strings.Cut(err.Error(), "\n")
		w.t.Errorf("%s %s answered %d, which the specification does not allow: %s", r.Method, c.Path(), a.StatusCode, reason)
	}
	if a.StatusCode == http.StatusNoContent && len(a.body) > 0 {
		w.t.Errorf("%s %s answered 204 with a body", r.Method, c.Path())
	}
}

// wantProblem checks an error answer whole.
func (w *world) wantProblem(a answer, status int, code string) problemDocument {
	w.t.Helper()
	if a.StatusCode != status || a.Header.Get("Content-Type") != "application/problem+json" {
		w.t.Fatalf("answered %d %s %s; want %d %s", a.StatusCode, a.Header.Get("Content-Type"), a.body, status, code)
	}
	p := a.problem(w.t)
	if p.Code != code || p.Status != status || p.Title != http.StatusText(status) || p.RequestID == "" || p.RequestID != a.Header.Get("X-Request-Id") {
		w.t.Fatalf("problem %+v; want code %s, status %d and the request's id", p, code, status)
	}
	return p
}

func (w *world) wantStatus(a answer, status int) answer {
	w.t.Helper()
	if a.StatusCode != status {
		w.t.Fatalf("%d: %s; want %d", a.StatusCode, a.body, status)
	}
	return a
}

// gate is a place where commands and queries wait: open unless it is shut.
type gate struct {
	mu     sync.Mutex
	shut   bool
	waited []string
}

func (g *gate) wait(ctx context.Context, what string) error {
	g.mu.Lock()
	g.waited = append(g.waited, what)
	shut := g.shut
	g.mu.Unlock()
	if !shut {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
}

func (g *gate) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.waited...)
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fence and progress make the two ports of gates.
type fence struct{ *gate }

func (f fence) WaitFor(ctx context.Context, position position.Position) error {
	return f.wait(ctx, position.String())
}

type progress struct {
	*gate
	acked *atomic.Uint64
}

func (p progress) Acknowledged(position position.Position) {
	p.acked.Store(max(uint64(position), p.acked.Load()))
}

// Unchanged is never known, as the rows are not of a read model.
func (p progress) Unchanged(context.Context, projections.Seen, string, position.Position) (bool, error) {
	return false, nil
}

func (p progress) Read(ctx context.Context, atLeast position.Position, query func(position.Position) error) error {
	atLeast = max(atLeast, position.Position(p.acked.Load()))
	if err := p.wait(ctx, atLeast.String()); err != nil {
		return fmt.Errorf("%w: %w", projections.ErrBehind, err)
	}
	return query(atLeast)
}
