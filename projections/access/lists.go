package access

import (
	"hash/maphash"
	"sync"
)

// lists holds permits in lists by an id. It has many parts, each with its own lock, so
// that going through all permits never keeps others waiting for long.
type lists[ID ~string] struct {
	seed  maphash.Seed
	links func(*Permit) *links
	parts [256]part[ID]
}

type part[ID ~string] struct {
	mu    sync.Mutex
	first map[ID]*Permit
}

// links are a permit's neighbors in a list. The list's part guards them.
type links struct{ before, after *Permit }

func newLists[ID ~string](of func(*Permit) *links) *lists[ID] {
	l := &lists[ID]{seed: maphash.MakeSeed(), links: of}
	for i := range l.parts {
		l.parts[i].first = map[ID]*Permit{}
	}
	return l
}

func (l *lists[ID]) part(id ID) *part[ID] {
	return &l.parts[maphash.String(l.seed, string(id))%uint64(len(l.parts))]
}

// add puts a permit first in a list.
func (l *lists[ID]) add(id ID, p *Permit) {
	part := l.part(id)
	part.mu.Lock()
	defer part.mu.Unlock()
	if first := part.first[id]; first != nil {
		l.links(p).after, l.links(first).before = first, p
	}
	part.first[id] = p
}

// drop removes a permit from a list, if it is in it.
func (l *lists[ID]) drop(id ID, p *Permit) {
	part := l.part(id)
	part.mu.Lock()
	defer part.mu.Unlock()
	its := l.links(p)
	switch {
	case its.before != nil:
		l.links(its.before).after = its.after
	case part.first[id] != p:
		return
	case its.after == nil:
		delete(part.first, id)
	default:
		part.first[id] = its.after
	}
	if its.after != nil {
		l.links(its.after).before = its.before
	}
	*its = links{}
}

// of calls take for each permit of a list.
func (l *lists[ID]) of(id ID, take func(*Permit)) {
	part := l.part(id)
	part.mu.Lock()
	defer part.mu.Unlock()
	l.walk(part.first[id], take)
}

// all calls take for each permit. One that is added meanwhile may be left out.
func (l *lists[ID]) all(take func(*Permit)) {
	for i := range l.parts {
		l.allOf(&l.parts[i], take)
	}
}

func (l *lists[ID]) allOf(part *part[ID], take func(*Permit)) {
	part.mu.Lock()
	defer part.mu.Unlock()
	for _, first := range part.first {
		l.walk(first, take)
	}
}

func (l *lists[ID]) walk(p *Permit, take func(*Permit)) {
	for ; p != nil; p = l.links(p).after {
		take(p)
	}
}
