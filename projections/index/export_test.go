package index

import "context"

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
