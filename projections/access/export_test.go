package access

import (
	"context"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// Ref is what Pair looks up.
type Ref = ref

// Intern and CheckRef are what Pair does.
func (x *Index) Intern(account ids.Account, device ids.Device) Ref { return x.lookUp(account, device) }

func (x *Index) CheckRef(r Ref, channel int, p privilege.Set, now time.Time) Verdict {
	return x.checkRef(r, channel, p, now).Verdict
}

// LoadAside is what the index does by itself when much of it is gone.
func (x *Index) LoadAside(ctx context.Context) error { return x.loadAside(ctx) }

// Counts are how many accounts, devices and keys are remembered, those that are
// gone too.
func (x *Index) Counts() (accounts, devices, keys int) {
	n := x.holds.Load().names
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.accounts.used, n.devices.used, len(n.keys)
}

// RenewEvery is the least between two loads.
const RenewEvery = renewEvery

// Held returns how many permits are held.
func (x *Index) Held() int { return len(x.permits.concerned(Change{})) }

// Held returns how many permits are held.
func (s *Permits) Held() int { return len(s.concerned(Change{})) }

// PutInForce puts an effect in force in an empty index.
func PutInForce(e event.Effect) error { return newContents(10).effect(&e) }

// Beat makes a pulse beat, or stop, from now on.
func (p *Pulse) Beat(on bool) {
	p.measured(time.Now())
	if !on {
		p.fresh.Store(never)
	}
	p.state.Store(stateLive)
}

// Change is what rules do after a change.
func (p *Pulse) Change() { p.version.Add(1) }

// NewPulse returns a pulse that beats.
func NewPulse() *Pulse {
	p := newPulse(time.Now(), time.Hour)
	p.Beat(true)
	return p
}
