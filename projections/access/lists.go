package access

import (
	"hash/maphash"
	"sync"
)

// lists holds permits in lists by name. It has many parts, each with its own lock, so
// that going through all permits never keeps others waiting for long.
type lists struct {
	seed  maphash.Seed
	links func(*Permit) *links
	parts [256]part
}

type part struct {
	mu    sync.Mutex
	first map[string]*Permit
}

// links are a permit's neighbors in a list. The list's part guards them.
type links struct{ before, after *Permit }

func newLists(of func(*Permit) *links) *lists {
	l := &lists{seed: maphash.MakeSeed(), links: of}
	for i := range l.parts {
		l.parts[i].first = map[string]*Permit{}
	}
	return l
}

func (l *lists) part(name string) *part {
	return &l.parts[maphash.String(l.seed, name)%uint64(len(l.parts))]
}

// add puts a permit first in a list.
func (l *lists) add(name string, p *Permit) {
	part := l.part(name)
	part.mu.Lock()
	defer part.mu.Unlock()
	if first := part.first[name]; first != nil {
		l.links(p).after, l.links(first).before = first, p
	}
	part.first[name] = p
}

// drop removes a permit from a list, if it is in it.
func (l *lists) drop(name string, p *Permit) {
	part := l.part(name)
	part.mu.Lock()
	defer part.mu.Unlock()
	its := l.links(p)
	switch {
	case its.before != nil:
		l.links(its.before).after = its.after
	case part.first[name] != p:
		return
	case its.after == nil:
		delete(part.first, name)
	default:
		part.first[name] = its.after
	}
	if its.after != nil {
		l.links(its.after).before = its.before
	}
	*its = links{}
}

// of calls take for each permit of a list.
func (l *lists) of(name string, take func(*Permit)) {
	part := l.part(name)
	part.mu.Lock()
	defer part.mu.Unlock()
	l.walk(part.first[name], take)
}

// all calls take for each permit. One that is added meanwhile may be left out.
func (l *lists) all(take func(*Permit)) {
	for i := range l.parts {
		l.allOf(&l.parts[i], take)
	}
}

func (l *lists) allOf(part *part, take func(*Permit)) {
	part.mu.Lock()
	defer part.mu.Unlock()
	for _, first := range part.first {
		l.walk(first, take)
	}
}

func (l *lists) walk(p *Permit, take func(*Permit)) {
	for ; p != nil; p = l.links(p).after {
		take(p)
	}
}
