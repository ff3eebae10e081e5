package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"latchkey/internal/app"
)

// answering is a Server that only bounds answers.
func answering() *Server {
	return &Server{answers: newBudget(answersInFlight, answersOfOne), lists: newTurns(2, 1)}
}

// answer begins an answer of so many bytes to an account, which is read when it ends.
func (s *Server) answer(account string, size int) (*outgoing, *httptest.ResponseRecorder) {
	w := httptest.NewRecorder()
	a := &outgoing{ResponseWriter: w, server: s, req: &request{id: "1", account: account}}
	a.Header().Set("Etag", `"1"`)
	a.WriteHeader(http.StatusOK)
	_, _ = a.Write(bytes.Repeat([]byte{'x'}, size))
	return a, w
}

func TestUnreadAnswersAreBounded(t *testing.T) {
	s := answering()
	var unread []*outgoing
	statuses := map[int]int{}
	for range 40 {
		a, w := s.answer("mallory", 512<<10)
		unread = append(unread, a)
		statuses[w.Code]++
		if w.Code == http.StatusOK {
			continue
		}
		var doc problemDocument
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.Code != "busy" || w.Header().Get("Retry-After") == "" || w.Header().Get("Etag") != "" {
			t.Fatalf("refused by %s, %v, header %v", w.Body, err, w.Header())
		}
	}
	if statuses[http.StatusOK] != 16 || statuses[http.StatusServiceUnavailable] != 24 {
		t.Errorf("40 answers of half a megabyte: %v, want 16 of one account and 24 refused", statuses)
	}
	if _, w := s.answer("olga", 512<<10); w.Code != http.StatusOK {
		t.Errorf("another account is answered %d", w.Code)
	}
	if _, w := s.answer("mallory", 1000); w.Code != http.StatusOK || w.Body.Len() != 1000 {
		t.Errorf("a small answer: %d, %d bytes", w.Code, w.Body.Len())
	}
	for _, a := range unread {
		a.end()
	}
	if _, w := s.answer("mallory", 3*answersOfOne); w.Code != http.StatusOK {
		t.Errorf("a large answer to who has nothing else: %d", w.Code)
	}
	if _, w := s.answer("mallory", 512<<10); w.Code != http.StatusServiceUnavailable {
		t.Errorf("another one beside it: %d", w.Code)
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	s := answering()
	w := httptest.NewRecorder()
	a := &outgoing{ResponseWriter: w, server: s, req: &request{}}
	a.WriteHeader(http.StatusNoContent)
	a.end()
	if w.Code != http.StatusNoContent {
		t.Errorf("status %d, want 204", w.Code)
	}
}

func TestListsTakeTurns(t *testing.T) {
	const listsOfOne = 1
	s := answering()
	ctx := t.Context()
	of := func(account string) *outgoing {
		return &outgoing{ResponseWriter: httptest.NewRecorder(), server: s, req: &request{account: account}}
	}
	var making []*outgoing
	for range listsOfOne {
		a := of("mallory")
		if err := a.takeTurn(ctx); err != nil {
			t.Fatal(err)
		}
		making = append(making, a)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := of("mallory").takeTurn(over); err == nil {
		t.Errorf("a list more than %d is made for one account", listsOfOne)
	}
	if err := of("olga").takeTurn(ctx); err != nil {
		t.Errorf("another account: %v", err)
	}
	got := make(chan error, 1)
	go func() { got <- of("mallory").takeTurn(ctx) }()
	_, _ = making[0].Write([]byte("{}")) // it is made, though nobody may have read it
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the turn was not given on")
	}
	making[0].end()
	if n := s.lists.by["mallory"]; n != listsOfOne {
		t.Errorf("%d turns are taken, want %d", n, listsOfOne)
	}
}

// TestOwnersAlternate: who has many waiting does not keep another one waiting.
func TestOwnersAlternate(t *testing.T) {
	s := newTurns(1, 1)
	if !s.take(t.Context(), "mallory") {
		t.Fatal("the first gets no turn")
	}
	order := make(chan string, 11)
	var all sync.WaitGroup
	waits := func(owner string) {
		all.Go(func() {
			if s.take(t.Context(), owner) {
				order <- owner
				s.give(owner)
			}
		})
		for n := 0; n == 0; {
			s.mu.Lock()
			n = len(s.waiting[owner])
			s.mu.Unlock()
		}
	}
	for range 10 {
		waits("mallory")
	}
	waits("olga")
	s.give("mallory")
	first, second := <-order, <-order
	if first != "olga" && second != "olga" {
		t.Errorf("the first turns went to %s and %s, want one of them to be olga's", first, second)
	}
	all.Wait()
	if len(s.by)+len(s.waiting)+len(s.order) != 0 {
		t.Errorf("left: %v, %v, %v", s.by, s.waiting, s.order)
	}
}

// TestTakingAwayComesFirst: while somebody takes something away, fewer commands give.
func TestTakingAwayComesFirst(t *testing.T) {
	const cores = 2
	c := newCommands(cores)
	ctx := t.Context()
	running := func(kind app.RequestKind, account string) func() {
		give, come := c.take(ctx, kind, account)
		if !come {
			t.Fatal("no turn")
		}
		return give
	}
	tried := func(kind app.RequestKind, account string) bool {
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		give, come := c.take(short, kind, account)
		if come {
			give()
		}
		return come
	}
	for _, urgent := range []app.RequestKind{app.TakesAway, app.Changes} {
		away := running(urgent, "olga")
		var gives []func()
		for i := range cores {
			gives = append(gives, running(app.Gives, fmt.Sprint("mike", i)))
		}
		if tried(app.Gives, "mallory") {
			t.Errorf("more than %d commands give while one takes away", cores)
		}
		if !tried(app.TakesAway, "rita") {
			t.Error("taking away waits for those who give")
		}
		away()
		waited := make(chan bool)
		go func() {
			give, come := c.take(ctx, app.Gives, "mallory")
			if come {
				defer give()
			}
			waited <- come
		}()
		for range 2*cores - 1 { // and the one that waits, or will
			gives = append(gives, running(app.Gives, fmt.Sprint("rita", len(gives))))
		}
		for _, give := range gives {
			give()
		}
		if !<-waited {
			t.Error("who waited got no turn after all")
		}
	}
	c.urgent.Add(1)
	if tried(app.TakesAway, "olga"); c.urgent.Load() != 1 {
		t.Errorf("%d are counted, want 1", c.urgent.Load())
	}
}
