package access

import (
	"math"
	"time"

	"latchkey/eventstore"
)

// Health is the state of the index.
type Health struct {
	State    string // loading, live, full, stale, diverged or broken
	Position eventstore.Position
	// Behind is the time since the index was known to be up to date; the maximum if that
	// is unknown.
	Behind time.Duration
	Reason string // why it is not live, or what is missing; "" otherwise
	Err    error  // the underlying error, if any
}

// unknownFor is Behind of an index that does not know how far it lags.
const unknownFor = time.Duration(math.MaxInt64)

// Health returns the current state.
func (x *Index) Health() Health {
	x.mu.Lock()
	h := Health{Position: x.Position(), Err: x.denies, Behind: unknownFor}
	x.mu.Unlock()
	switch x.pulse.state.Load() {
	case stateLoading:
		h.State, h.Reason = "loading", "The privileges are being loaded. Access is denied until then."
		return h
	case stateBroken:
		h.State, h.Reason = "broken", "It met an event that this version cannot read. Start a version that can; access is denied until then."
		return h
	case stateDiverged:
		h.State, h.Reason = "diverged", "The log is not the one that the privileges were read from, or events that they have seen are missing from it. "+
			"Put the newer log back, or run latchkey recover. Access is denied until then."
		return h
	}
	if x.pulse.fresh.Load() == never {
		h.State, h.Reason = "loading", "It is not known yet whether the privileges are up to date. Access is denied until then."
		return h
	}
	h.State = "live"
	switch {
	case x.Full():
		h.State, h.Reason = "full", "No numbers are left for more accounts or devices. Existing ones keep working; new devices, accepted invitations and stream keys are refused until devices are removed."
	case x.holds.Load().lacks.Load():
		h.Reason = "Some devices or invitations arrived when no number was left, and grant nothing. Remove these devices and add them again, or share them again."
	}
	if h.Behind = x.behind(); h.Behind > x.cfg.MaxStaleness {
		h.State, h.Reason = "stale", "It was last known to be up to date "+h.Behind.Round(time.Second).String()+" ago: the log does not respond, or lags. Access is denied until then."
	}
	return h
}

// Ready reports whether the index decides. A full one does, for known accounts and
// devices.
func (h Health) Ready() bool { return h.State == "live" || h.State == "full" }

// behind returns how long ago the index was known to be up to date.
func (x *Index) behind() time.Duration {
	now := x.cfg.Now()
	return x.pulse.behindAt(x.pulse.since(now), now.UnixNano())
}
