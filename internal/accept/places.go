// Package accept limits the connections of a server, in all and per network, so that
// nobody can take all of them. When all places are taken, the network with the most gives
// one to a network with fewer.
package accept

import (
	"net/netip"
	"sync"
	"time"
)

// Rank is how dispensable a connection is.
type Rank int

// The ranks, the most dispensable first. A connection in use never loses its place.
const (
	Idle            Rank = iota // without a session, no request in progress
	Asking                      // without a session
	IdleWithSession             // with a session, no request in progress
	InUse
)

// Places are the places of a server's connections. They are safe for concurrent use.
type Places struct {
	most, mostOfNetwork int
	trusted             []netip.Prefix

	mu       sync.Mutex
	all      int
	networks map[netip.Prefix]map[*Place]struct{}
}

// NewPlaces returns places for that many connections, in all and per network (see
// Network). Trusted reverse proxies carry everybody's connections: only most applies to
// them.
func NewPlaces(most, mostOfNetwork int, trusted []netip.Prefix) *Places {
	return &Places{most: most, mostOfNetwork: mostOfNetwork, trusted: trusted, networks: make(map[netip.Prefix]map[*Place]struct{})}
}

// Place is the place of one connection.
type Place struct {
	network netip.Prefix
	taken   time.Time
	rank    func() Rank
	close   func()
}

// NewPlace returns the place of a connection from a network. rank returns how dispensable
// it is now; close closes the connection, and is called when it loses its place. Both may
// be called from any goroutine.
func NewPlace(network netip.Prefix, rank func() Rank, close func()) *Place {
	return &Place{network: network, taken: time.Now(), rank: rank, close: close}
}

// Take gives a connection its place, if necessary that of another connection, which is
// closed. It returns false if no place is available.
func (p *Places) Take(place *Place) (ok, displaced bool) {
	ok, lost := p.take(place)
	if lost != nil {
		lost.close()
	}
	return ok, lost != nil
}

func (p *Places) take(place *Place) (ok bool, lost *Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := len(p.networks[place.network])
	if have >= p.mostOfNetwork && !p.trusts(place.network) {
		return false, nil
	}
	if p.all >= p.most {
		if lost = p.dispensable(have); lost == nil {
			return false, nil
		}
		p.remove(lost)
	}
	if p.networks[place.network] == nil {
		p.networks[place.network] = make(map[*Place]struct{})
	}
	p.networks[place.network][place] = struct{}{}
	p.all++
	return true, lost
}

// Give releases a place. It may be called several times.
func (p *Places) Give(place *Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(place)
}

// Taken returns how many places are taken.
func (p *Places) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

func (p *Places) remove(place *Place) {
	if _, ok := p.networks[place.network][place]; !ok {
		return
	}
	p.all--
	if delete(p.networks[place.network], place); len(p.networks[place.network]) == 0 {
		delete(p.networks, place.network)
	}
}

func (p *Places) trusts(network netip.Prefix) bool {
	for _, t := range p.trusted {
		if t.Contains(network.Addr()) {
			return true
		}
	}
	return false
}

// dispensable returns the place to give to a network with fewer: one of the network with
// the most, or nil.
func (p *Places) dispensable(fewer int) (worst *Place) {
	var most map[*Place]struct{}
	for network, list := range p.networks {
		if len(list) > max(len(most), fewer+1) && !p.trusts(network) {
			most = list
		}
	}
	least := InUse
	for place := range most {
		rank := place.rank()
		if rank < least || rank == least && worst != nil && place.taken.Before(worst.taken) {
			worst, least = place, rank
		}
	}
	return worst
}

// Network is the network of an address: an IPv4 address, or the first 64 bits of an
// IPv6 address, which are one customer's.
func Network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits)
	return p
}
