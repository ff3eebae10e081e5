package device

import (
	"context"
	"sync"
)

const (
	// maxFetches limits what is fetched at once from devices, and maxFetchesOfOne what
	// from the devices of one owner.
	maxFetches      = 16
	maxFetchesOfOne = 4
)

// fetchTurns limits what is fetched at once, in all and by owner.
type fetchTurns struct {
	all chan struct{}

	mu sync.Mutex
	by map[string]*ownerTurns
}

type ownerTurns struct {
	places chan struct{}
	users  int // that hold a turn or wait for one
}

func newFetchTurns() fetchTurns {
	return fetchTurns{all: make(chan struct{}, maxFetches), by: map[string]*ownerTurns{}}
}

// take waits for a turn; false if the context ended first.
func (t *fetchTurns) take(ctx context.Context, owner string) bool {
	t.mu.Lock()
	of := t.by[owner]
	if of == nil {
		of = &ownerTurns{places: make(chan struct{}, maxFetchesOfOne)}
		t.by[owner] = of
	}
	of.users++
	t.mu.Unlock()
	select {
	case of.places <- struct{}{}:
	case <-ctx.Done():
		t.left(owner, of)
		return false
	}
	select {
	case t.all <- struct{}{}:
		return true
	case <-ctx.Done():
		<-of.places
		t.left(owner, of)
		return false
	}
}

func (t *fetchTurns) give(owner string) {
	<-t.all
	t.mu.Lock()
	of := t.by[owner]
	t.mu.Unlock()
	<-of.places
	t.left(owner, of)
}

func (t *fetchTurns) left(owner string, of *ownerTurns) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of.users--; of.users == 0 {
		delete(t.by, owner)
	}
}
