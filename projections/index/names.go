package index

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// ErrFull: there are more accounts or devices than a word has numbers for.
var ErrFull = errors.New("more than 16 million accounts or devices")

// name is the hash of an identifier: fixed in size, and too long for two to be
// the same.
type name [16]byte

func nameOf(id string) name {
	h := sha256.Sum256([]byte(id))
	return name(h[:16])
}

// Key is a stream key that is in force.
type Key struct {
	Name    string
	Account string
	Device  string    // "" for every device that the account may see
	Expires time.Time // zero: never
}

// names holds what is found by name. Its maps are under a lock; sessions look
// things up once.
type names struct {
	mu       sync.RWMutex
	accounts numbers
	devices  numbers
	keys     map[string]Key
	domains  map[domainOf]string // to the device's id
	domainAt map[pair]string     // the account's domain for the device
}

type domainOf struct {
	account uint32
	domain  string
}

type pair struct{ account, device uint32 }

func newNames() *names {
	return &names{
		accounts: numbers{of: map[name]uint32{}}, devices: numbers{of: map[name]uint32{}}, keys: map[string]Key{},
		domains: map[domainOf]string{}, domainAt: map[pair]string{},
	}
}

// numbers gives numbers to identifiers, from 1 on; a number never returns.
type numbers struct {
	of   map[name]uint32
	last uint32
}

// number answers the number of an identifier, a new one where create says so,
// else 0 for one that is not known.
func (n *names) number(of *numbers, id string, create bool) (uint32, error) {
	key := nameOf(id)
	n.mu.RLock()
	no := of.of[key]
	n.mu.RUnlock()
	if no != 0 || !create {
		return no, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if of.last >= maxNumber {
		return 0, ErrFull
	}
	of.last++
	of.of[key] = of.last
	return of.last, nil
}

// forgetDevice lets the next device of this id be another.
func (n *names) forgetDevice(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.devices.of, nameOf(id))
}

// setDomain replaces the account's domain for a device; "" takes it away.
func (n *names) setDomain(p pair, device, domain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.domainAt[p]; ok {
		if n.domains[domainOf{p.account, old}] == device {
			delete(n.domains, domainOf{p.account, old})
		}
		delete(n.domainAt, p)
	}
	if domain != "" {
		n.domains[domainOf{p.account, domain}] = device
		n.domainAt[p] = domain
	}
}

func (n *names) setKey(k Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys[k.Name] = k
}

func (n *names) dropKey(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.keys, name)
}
