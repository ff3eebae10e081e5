package webrtc

import (
	"net/netip"
	"sync"

	"latchkey/domain/ids"
)

// registry has every viewer, and bounds their number.
type registry struct {
	mu     sync.Mutex
	all    map[string]*viewer
	of     map[ids.Account]int
	from   map[string]int // by source
	talk   map[ids.Account]int
	closed bool
}

func newRegistry() *registry {
	return &registry{all: map[string]*viewer{}, of: map[ids.Account]int{}, from: map[string]int{}, talk: map[ids.Account]int{}}
}

// add admits a viewer within the limits.
func (r *registry) add(v *viewer, c *Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed || len(r.all) >= c.MaxViewers:
		return ErrFull
	case r.of[v.use.Account] >= c.MaxPerAccount, v.source != "" && r.from[v.source] >= c.MaxPerAddress,
		v.use.talk && r.talk[v.use.Account] >= c.MaxTalkers:
		return ErrTooMany
	}
	r.all[v.id] = v
	r.of[v.use.Account]++
	r.from[v.source]++
	if v.use.talk {
		r.talk[v.use.Account]++
	}
	return nil
}

func (r *registry) remove(v *viewer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[v.id] != v {
		return
	}
	delete(r.all, v.id)
	if r.of[v.use.Account]--; r.of[v.use.Account] == 0 {
		delete(r.of, v.use.Account)
	}
	if r.from[v.source]--; r.from[v.source] == 0 {
		delete(r.from, v.source)
	}
	if !v.use.talk {
		return
	}
	if r.talk[v.use.Account]--; r.talk[v.use.Account] == 0 {
		delete(r.talk, v.use.Account)
	}
}

func (r *registry) get(id string) *viewer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[id]
}

func (r *registry) list() []*viewer {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*viewer, 0, len(r.all))
	for _, v := range r.all {
		list = append(list, v)
	}
	return list
}

// close admits no more.
func (r *registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// sourceOf names an address for limits: one host has a /64 of IPv6. "": it is unknown.
func sourceOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.String()
}
