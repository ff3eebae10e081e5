package access

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/domain/ids"
)

// ErrFull is returned if every number that fits in a word was assigned to an account, or
// to a device.
var ErrFull = errors.New("no number is left for another account or device")

// Key is a stream key that is in force.
type Key struct {
	Name    ids.Key
	Account ids.Account
	Device  ids.Device // "" for every device that the account may see
	Expires time.Time  // zero: never
}

// Expired reports whether the key has expired at a time.
func (k Key) Expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

// names has what is looked up by name, under a lock; sessions look things up once.
type names struct {
	mu       sync.RWMutex
	accounts *interner
	devices  *interner
	keys     map[ids.Key]Key // one without an account was revoked
	domains  map[domainOf]ids.Device
	clashes  map[domainOf][]ids.Device // devices that have an ambiguous domain
	domainAt map[pair]string           // the account's domain for the device
}

func clone[T ~string](s T) T { return T(strings.Clone(string(s))) }

type domainOf struct {
	account uint32
	domain  string
}

func newNames(limit uint32) *names {
	return &names{
		accounts: newInterner(limit), devices: newInterner(limit), keys: map[ids.Key]Key{},
		domains: map[domainOf]ids.Device{}, clashes: map[domainOf][]ids.Device{}, domainAt: map[pair]string{},
	}
}

// look returns the numbers of an account and a device, 0 if unknown.
func (n *names) look(account ids.Account, device ids.Device) (a, d uint32) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.accounts.number(string(account)), n.devices.number(string(device))
}

// account returns the account's number, a new one if it has none.
func (n *names) account(id ids.Account) (uint32, error) { return n.give(n.accounts, string(id)) }

// device returns the device's number, a new one if it has none.
func (n *names) device(id ids.Device) (uint32, error) { return n.give(n.devices, string(id)) }

// give is for the writer only: nothing else assigns numbers.
func (n *names) give(of *interner, id string) (uint32, error) {
	if no := of.number(id); no != 0 {
		return no, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return of.add(id)
}

// load adopts what was loaded.
func (n *names) load(accounts, devices *interner) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.accounts, n.devices = accounts, devices
}

// setDomain replaces the account's domain of a device; "" removes it.
func (n *names) setDomain(p pair, account uint32, device ids.Device, domain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.domainAt[p]; ok {
		n.dropDomain(domainOf{account, old}, device)
		delete(n.domainAt, p)
	}
	if domain != "" {
		device, domain = clone(device), clone(domain) // they may be parts of larger texts
		n.putDomain(domainOf{account, domain}, device)
		n.domainAt[p] = domain
	}
}

// called lists the devices that have a domain. It requires the lock.
func (n *names) called(d domainOf) []ids.Device {
	if several := n.clashes[d]; len(several) > 0 {
		return several
	}
	if one, ok := n.domains[d]; ok {
		return []ids.Device{one}
	}
	return nil
}

// putDomain requires the lock. The commands let one device of an account have a domain;
// if several have it, all are kept.
func (n *names) putDomain(d domainOf, device ids.Device) {
	switch other, taken := n.domains[d]; {
	case !taken:
		n.domains[d] = device
	case other != device && n.clashes[d] == nil:
		n.clashes[d] = []ids.Device{other, device}
	case other != device && !slices.Contains(n.clashes[d], device):
		n.clashes[d] = append(n.clashes[d], device)
	}
}

func (n *names) dropDomain(d domainOf, device ids.Device) {
	left := slices.DeleteFunc(n.clashes[d], func(other ids.Device) bool { return other == device })
	if len(left) > 0 {
		n.domains[d] = left[0]
		n.clashes[d] = left
		if len(left) == 1 {
			delete(n.clashes, d)
		}
		return
	}
	if n.domains[d] == device {
		delete(n.domains, d)
	}
}

// addKey adds a key that was not known before; its name is never reused.
func (n *names) addKey(k Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.keys[k.Name]; !known {
		k.Name, k.Account, k.Device = clone(k.Name), clone(k.Account), clone(k.Device)
		n.keys[k.Name] = k
	}
}

// revokeKey reports whether it revoked the key: it may have been revoked before.
func (n *names) revokeKey(name ids.Key) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, known := n.keys[name]
	n.keys[clone(name)] = Key{}
	return !known || k.Account != ""
}

// few reports whether so few numbers are left that commands must not use more.
func (n *names) few() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.accounts.few() || n.devices.few()
}

// size returns how many devices and keys are remembered.
func (n *names) size() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.devices.used + len(n.keys)
}
