package device

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxWrong is how many wrong passwords a device is sent in wrongFor, by all accounts
	// together. Devices lock after 5 to 7, most for half an hour.
	maxWrong = 3
	wrongFor = 30 * time.Minute
	// maxGuarded is how many addresses are remembered. Beyond it, the one with the oldest
	// last refusal is dropped.
	maxGuarded = 65536
)

// guard counts the wrong passwords sent to an address, so that repeated attempts do not
// lock a device. It counts per address, not per port: services of a device count
// together.
type guard struct {
	mu sync.Mutex
	at map[netip.Addr]*attempts
}

// attempts are those at one address.
type attempts struct {
	wrong   []time.Time // refused, oldest first
	pending int         // sent, without a response yet
	changed chan struct{}
}

// attempt is permission to send credentials once. It must be settled.
type attempt struct {
	guard  *guard
	of     *attempts
	before bool // the credentials were accepted before: they are not pending
	once   sync.Once

	judged func(accepted bool) // may be nil
}

// try waits for the result of others' credentials at the address, and gets permission to
// send some; wait is how long none is available.
func (g *guard) try(ctx context.Context, addr netip.Addr, now func() time.Time) (a *attempt, wait time.Duration, err error) {
	for {
		a, wait, changed := g.tryNow(addr, now())
		if a != nil || wait > 0 {
			return a, wait, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

func (g *guard) tryNow(addr netip.Addr, now time.Time) (*attempt, time.Duration, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.entry(addr, now)
	of.forget(now)
	switch {
	case len(of.wrong) >= maxWrong:
		return nil, of.wrong[len(of.wrong)-maxWrong].Add(wrongFor).Sub(now), nil
	case len(of.wrong)+of.pending >= maxWrong:
		return nil, 0, of.changed
	}
	of.pending++
	return &attempt{guard: g, of: of}, 0, nil
}

// entry returns the attempts at an address, creating them if needed. The caller holds mu.
func (g *guard) entry(addr netip.Addr, now time.Time) *attempts {
	of := g.at[addr]
	if of == nil {
		if g.at == nil {
			g.at = map[netip.Addr]*attempts{}
		}
		g.forget(now)
		of = &attempts{changed: make(chan struct{})}
		g.at[addr] = of
	}
	return of
}

// trusted returns permission to send credentials that the address accepted before.
func (g *guard) trusted(addr netip.Addr, now time.Time) *attempt {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &attempt{guard: g, of: g.entry(addr, now), before: true}
}

// accepted settles an attempt that the device accepted. Nothing else clears refusals:
// whether the device clears its own count is unknown.
func (a *attempt) accepted() {
	if a.judged != nil {
		a.judged(true)
	}
	a.settle(time.Time{})
}

// refused settles an attempt that the device refused.
func (a *attempt) refused(now time.Time) {
	if a.judged != nil {
		a.judged(false)
	}
	a.settle(now)
}

// unanswered settles an attempt that has no response, if it was not settled. The device may
// have counted it, unless it accepted the same credentials before.
func (a *attempt) unanswered(now time.Time) {
	if a.before {
		now = time.Time{}
	}
	a.settle(now)
}

// note counts a refusal, for something else, of credentials that were accepted before.
func (g *guard) note(addr netip.Addr, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if of := g.at[addr]; of != nil {
		of.wrong = append(of.wrong, now)
	}
}

func (a *attempt) settle(refused time.Time) {
	a.once.Do(func() {
		a.guard.mu.Lock()
		defer a.guard.mu.Unlock()
		if !a.before {
			a.of.pending--
		}
		if !refused.IsZero() {
			a.of.wrong = append(a.of.wrong, refused)
		}
		close(a.of.changed)
		a.of.changed = make(chan struct{})
	})
}

// forget drops refusals that are too old to count.
func (a *attempts) forget(now time.Time) {
	for len(a.wrong) > 0 && now.Sub(a.wrong[0]) >= wrongFor {
		a.wrong = a.wrong[1:]
	}
}

// forget makes room for one more address.
func (g *guard) forget(now time.Time) {
	if len(g.at) < maxGuarded {
		return
	}
	var oldest netip.Addr
	var last time.Time
	for addr, of := range g.at {
		of.forget(now)
		switch {
		case of.pending > 0:
		case len(of.wrong) == 0:
			delete(g.at, addr)
		case last.IsZero() || of.wrong[len(of.wrong)-1].Before(last):
			oldest, last = addr, of.wrong[len(of.wrong)-1]
		}
	}
	if len(g.at) >= maxGuarded {
		delete(g.at, oldest)
	}
}
