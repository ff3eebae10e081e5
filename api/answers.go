package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/accept"
	"latchkey/internal/heavy"
)

// A response is built completely and stays in memory until its reader has taken it. Its
// memory is limited in four ways:
//
//   - a page holds about half a megabyte at most (projections.Page);
//   - few lists are built at the same time (internal/heavy), fewer per account;
//   - large responses waiting to be read share a budget, and 503 busy is returned
//     if it is used up;
//   - a large response must be read at a minimum rate.

const (
	// listWithin is how long a list waits for its turn.
	listWithin = 10 * time.Second

	// largeAnswer is the size above which responses are counted, in bytes.
	largeAnswer = 32 << 10
	// expectedList is the part of the budget, in bytes, that a list reserves before it is
	// built, so that none is built only to be refused.
	expectedList = 512 << 10
	// answersInFlight is the budget of large responses in bytes, and answersOfOne the
	// part that one account or network may use.
	answersInFlight = 64 << 20
	answersOfOne    = 8 << 20

	// After answerGrace a large response must be read at answerRate bytes per second.
	answerGrace = 5 * time.Second
	answerRate  = 64 << 10
)

// heavyTurns are the turns of lists and of large bodies: one for each core for heavy
// work, half of them for a single account.
func heavyTurns(cores int) *turns {
	return newTurns(heavy.Cores(cores), heavy.Cores(heavy.Cores(cores)))
}

// turns limits how much is done at the same time, in all and per owner. Waiting owners
// alternate, so an owner with many requests delays only their own.
type turns struct {
	all, one int

	// urgent counts more important requests; while there are any, only additional turns
	// are given. nil if there are no such requests.
	urgent  *atomic.Int64
	besides int

	mu      sync.Mutex
	taken   int
	by      map[string]int // taken, by owner
	waiting map[string][]chan struct{}
	order   []string // waiting owners, the next one first
}

func newTurns(all, one int) *turns {
	return &turns{all: all, one: one, by: map[string]int{}, waiting: map[string][]chan struct{}{}}
}

// take waits for a turn; it returns false if the context ended first.
func (t *turns) take(ctx context.Context, owner string) bool {
	come := make(chan struct{})
	t.mu.Lock()
	if len(t.waiting[owner]) == 0 {
		t.order = append(t.order, owner)
	}
	t.waiting[owner] = append(t.waiting[owner], come)
	t.pass()
	t.mu.Unlock()
	select {
	case <-come:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := slices.Index(t.waiting[owner], come); at >= 0 {
		t.waiting[owner] = slices.Delete(t.waiting[owner], at, at+1)
		t.forget(owner)
		return false
	}
	return true // it came at the last moment
}

func (t *turns) give(owner string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	if t.by[owner]--; t.by[owner] == 0 {
		delete(t.by, owner)
	}
	t.pass()
}

// most returns how many turns there are now. An increase takes effect when the next turn
// is released.
func (t *turns) most() int {
	if t.urgent != nil && t.urgent.Load() > 0 {
		return t.besides
	}
	return t.all
}

// pass hands out free turns. The caller holds mu.
func (t *turns) pass() {
	for t.taken < t.most() {
		next := slices.IndexFunc(t.order, func(owner string) bool { return t.by[owner] < t.one })
		if next < 0 {
			return
		}
		owner := t.order[next]
		close(t.waiting[owner][0])
		t.waiting[owner] = t.waiting[owner][1:]
		t.taken++
		t.by[owner]++
		t.order = append(slices.Delete(t.order, next, next+1), owner)
		t.forget(owner)
	}
}

// forget removes an owner without a waiting request. The caller holds mu.
func (t *turns) forget(owner string) {
	if len(t.waiting[owner]) == 0 {
		delete(t.waiting, owner)
		t.order = slices.DeleteFunc(t.order, func(other string) bool { return other == owner })
	}
}

// outgoing delays the header of a response until the budget has room for the body.
type outgoing struct {
	http.ResponseWriter
	server *Server
	req    *request
	status int
	sent   bool     // the header was sent
	held   int      // bytes of the budget
	made   func()   // returns the turn of a list; nil without one
	silent bool     // the response was replaced by a refusal
	uses   []*using // of cameras; they end with the response
	socket bool     // the connection was taken over by a WebSocket

	conn   *accept.Conn  // nil: in tests
	within time.Duration // for the client to take the response; 0: there is no body
}

// Unwrap is for http.ResponseController.
func (a *outgoing) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader keeps the status until the first Write.
func (a *outgoing) WriteHeader(status int) {
	if status < http.StatusOK {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.status = status
}

// Write is called once for each JSON response.
func (a *outgoing) Write(p []byte) (int, error) {
	if a.silent {
		return len(p), nil
	}
	a.giveTurn()
	if cut := a.cut(); cut != nil {
		return len(p), a.refuse(translate(a.server.takenBack(cut), a.server.cfg.Away))
	}
	if !a.sent && !a.hold(len(p)) {
		return len(p), a.refuse(tooManyAnswers())
	}
	if !a.sent && len(a.uses) > 0 && a.Header().Get("Content-Length") == "" { // as it is flushed
		a.Header().Set("Content-Length", strconv.Itoa(len(p)))
	}
	if !a.sent {
		a.pace(len(p))
	}
	a.send()
	return a.ResponseWriter.Write(p)
}

// pace gives the client time to take n bytes. What a use of a camera is for must not wait
// in the kernel, where it could not be held back.
func (a *outgoing) pace(n int) {
	if len(a.uses) > 0 {
		a.conn.KeepLittle()
		n += a.conn.Unsent() // of earlier answers
	}
	a.within = answerGrace + time.Duration(n)*time.Second/answerRate
	if n > largeAnswer {
		_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(a.within))
	}
}

// hold changes the reserved bytes to n, or to none if n is not large. A response larger
// than one account's part fits if the account holds nothing else.
func (a *outgoing) hold(n int) bool {
	if n = min(n, answersOfOne); n <= largeAnswer {
		n = 0
	}
	more := n - a.held
	if more > 0 && !a.server.answers.take(a.req.owner(), more) {
		return false
	}
	if more < 0 {
		a.server.answers.give(a.req.owner(), -more)
	}
	a.held = n
	return true
}

func (a *outgoing) send() {
	if !a.sent && a.status != 0 {
		a.sent = true
		a.ResponseWriter.WriteHeader(a.status)
	}
}

// cut returns the use of a camera that was cut before anything was sent; nil if there is
// none. A refusal is sent all the same: it has nothing of the camera.
func (a *outgoing) cut() *using {
	if a.sent {
		return nil
	}
	for _, u := range a.uses {
		switch {
		case a.status >= http.StatusBadRequest:
			u.end()
		case !u.send():
			return u
		}
	}
	return nil
}

// drop ends a response that is being sent.
func (a *outgoing) drop() {
	if a.conn != nil {
		a.conn.Reset()
		return
	}
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Unix(1, 0)) // what is being written fails
}

// refuse sends a refusal instead of the response.
func (a *outgoing) refuse(p *problem) error {
	a.silent = true
	for _, u := range a.uses {
		u.end() // nobody waits until the refusal is read
	}
	h := a.Header()
	h.Del("Etag")
	h.Del("Content-Length")
	h.Set("Content-Type", "application/problem+json")
	maps.Copy(h, p.header)
	a.sent = true
	a.ResponseWriter.WriteHeader(p.status)
	return json.NewEncoder(a.ResponseWriter).Encode(p.document(a.req.id))
}

// takeTurn waits until the list may be built.
func (a *outgoing) takeTurn(ctx context.Context) error {
	if a.made != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	if !a.server.lists.take(ctx, a.req.owner()) {
		return tooManyLists(ctx.Err())
	}
	a.made = func() { a.server.lists.give(a.req.owner()) }
	if !a.hold(expectedList) {
		a.giveTurn()
		return tooManyAnswers()
	}
	return nil
}

// render waits for a core to encode the rows that were read.
func (a *outgoing) render(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	end, err := heavy.Begin(ctx)
	if err != nil {
		return tooManyLists(err)
	}
	give := a.made
	a.made = func() { end(); give() }
	return nil
}

// unmade undoes takeTurn for a list that has to wait for its rows.
func (a *outgoing) unmade() {
	a.giveTurn()
	a.hold(0)
}

func (a *outgoing) giveTurn() {
	if a.made != nil {
		a.made()
		a.made = nil
	}
}

func tooManyAnswers() *problem {
	return unavailable("busy", "Too many large responses are waiting to be read; read them, or request less with limit.", nil)
}

func tooManyLists(cause error) *problem {
	return unavailable("busy", "Too many lists are being built; try again later.", cause)
}

// end releases everything at the end of the request.
func (a *outgoing) end() {
	if a.socket {
		for _, u := range a.uses {
			u.end()
		}
		return
	}
	if cut := a.cut(); cut != nil && a.status != 0 {
		_ = a.refuse(translate(a.server.takenBack(cut), a.server.cfg.Away)) // the connection is gone
	}
	a.send()
	a.giveTurn()
	if len(a.uses) > 0 { // what is kept back would be sent after its use
		_ = http.NewResponseController(a.ResponseWriter).Flush()
		if a.within > 0 && !a.silent && a.status < http.StatusBadRequest {
			a.conn.AwaitSent(a.within)
		}
	}
	for _, u := range a.uses {
		u.end()
	}
	if a.held > 0 {
		a.server.answers.give(a.req.owner(), a.held)
	}
}
