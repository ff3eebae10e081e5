package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"latchkey/internal/heavy"
)

// How the memory of answers is bounded. An answer is made whole, and then lies in
// memory until its reader has taken it. So
//
//   - a page holds no more than about half a megabyte (projections.Page);
//   - few lists are made at once (internal/heavy), and of one account fewer;
//   - large answers that wait to be read have a budget. One that finds no room is
//     503 busy;
//   - a large answer must be read at a rate.

const (
	// listWithin is how long a list waits for its turn before it is refused.
	listWithin = 10 * time.Second

	// largeAnswer is from which size on an answer is counted, in bytes.
	largeAnswer = 32 << 10
	// expectedList is how much is taken of the budget for a list before it is made, in
	// bytes: what finds no room when it is made was made for nothing.
	expectedList = 512 << 10
	// answersInFlight is how many bytes of large answers the process holds at once,
	// and answersOfOne how many of one account or network.
	answersInFlight = 64 << 20
	answersOfOne    = 8 << 20

	// A large answer has answerGrace to begin with, and must then be read at
	// answerRate bytes a second at least.
	answerGrace = 5 * time.Second
	answerRate  = 64 << 10
)

// listTurns lets as many lists be made at once as half of the cores make, and for one
// account half of these.
func listTurns(cores int) *turns {
	return newTurns(heavy.Cores(cores), heavy.Cores(heavy.Cores(cores)))
}

// turns gives so many at once their turn, and of one owner fewer. Owners alternate,
// so that whoever asks for many keeps nobody waiting but themselves.
type turns struct {
	all, one int

	mu      sync.Mutex
	taken   int
	by      map[string]int // taken, by owner
	waiting map[string][]chan struct{}
	order   []string // the owners who wait, the one who waits longest for a turn first
}

func newTurns(all, one int) *turns {
	return &turns{all: all, one: one, by: map[string]int{}, waiting: map[string][]chan struct{}{}}
}

// take waits for a turn; false: the context ended first.
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

// pass gives the turns that there are. It is for holders of the lock.
func (t *turns) pass() {
	for t.taken < t.all {
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

// forget forgets an owner who waits for nothing. It is for holders of the lock.
func (t *turns) forget(owner string) {
	if len(t.waiting[owner]) == 0 {
		delete(t.waiting, owner)
		t.order = slices.DeleteFunc(t.order, func(other string) bool { return other == owner })
	}
}

// outgoing holds an answer back until it is known whether there is room for it.
type outgoing struct {
	http.ResponseWriter
	server *Server
	req    *request
	status int
	sent   bool   // the header was
	held   int    // bytes of the budget
	made   func() // gives a list's turn back; nil where there is none
	silent bool   // in its place another was sent
}

// Unwrap is for http.ResponseController.
func (a *outgoing) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader waits for what is written.
func (a *outgoing) WriteHeader(status int) {
	if status < http.StatusOK {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.status = status
}

// Write is called once for each answer that is JSON.
func (a *outgoing) Write(p []byte) (int, error) {
	if a.silent {
		return len(p), nil
	}
	a.giveTurn()
	if !a.sent && !a.hold(len(p)) {
		return len(p), a.refuse()
	}
	if !a.sent && len(p) > largeAnswer {
		within := answerGrace + time.Duration(len(p))*time.Second/answerRate
		_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(within))
	}
	a.send()
	return a.ResponseWriter.Write(p)
}

// hold takes room for n bytes, none for few, instead of what it held. What is more
// than one account may have is given to who has nothing else.
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

// refuse says that there is no room.
func (a *outgoing) refuse() error {
	a.silent = true
	p := tooManyAnswers()
	h := a.Header()
	h.Del("Etag")
	h.Del("Content-Length")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Retry-After", "1")
	a.sent = true
	a.ResponseWriter.WriteHeader(p.status)
	return json.NewEncoder(a.ResponseWriter).Encode(p.document(a.req.id))
}

// takeTurn waits for a list's turn to be made.
func (a *outgoing) takeTurn(ctx context.Context) error {
	if a.made != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	if !a.hold(expectedList) {
		return tooManyAnswers()
	}
	if !a.server.lists.take(ctx, a.req.owner()) {
		return tooManyLists(ctx.Err())
	}
	a.made = func() { a.server.lists.give(a.req.owner()) }
	return nil
}

// render waits for a core to make an answer of what was read.
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

// unmade gives back what takeTurn took: nothing is made yet.
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
	return unavailable("busy", "Too many large answers wait to be read; read them, or ask for less with limit.", nil)
}

func tooManyLists(cause error) *problem {
	return unavailable("busy", "Too many lists are being made; try again later.", cause)
}

// end gives everything back when the request has been answered.
func (a *outgoing) end() {
	a.send()
	a.giveTurn()
	if a.held > 0 {
		a.server.answers.give(a.req.owner(), a.held)
	}
}
