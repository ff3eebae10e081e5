package event

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"latchkey/domain/privilege"
)

// Kind is what an event does to what accounts may do.
type Kind uint8

// The kinds. Granted, Cleared and Named never change what an owner may do on their own
// device.
const (
	// Nothing: the event concerns no privilege.
	Nothing Kind = iota
	// Added: the device lives, belongs to Account, and its grants are the owner's. An
	// event about a device that was known before, alive or not, changes nothing: device
	// ids do not return.
	Added
	// Removed: no account may do anything on the device, ever again.
	Removed
	// Granted: the grants replace what Account had on the device. If the device does
	// not live or does not belong to Owner, nothing changes. Account's name for the
	// device stays.
	Granted
	// Cleared: Account loses the device, whichever share it came from.
	Cleared
	// Named: Domain is Account's name for the device, if Account has it, and for no
	// other.
	Named
	// KeyAdded: the stream key opens. A key that was known before, live or not, stays
	// as it is.
	KeyAdded
	// KeyRevoked: the stream key opens nothing, ever again.
	KeyRevoked
)

// Effect is what an event does to what accounts may do.
type Effect struct {
	Kind    Kind
	Account string
	Owner   string
	Device  string
	Share   string
	Domain  string
	Grants  []privilege.Grant
	Key     StreamKey // of KeyAdded and KeyRevoked

	// Unaccepted says of Granted and Cleared that the device of the share has not been
	// accepted: there is no Account, and nothing changes.
	Unaccepted bool
}

// NoEffect is the effect of an event that concerns no privilege.
var NoEffect = Effect{}

// StreamKey is a stream key as an effect names it.
type StreamKey struct {
	Name    string
	Account string
	Device  string    // the only device that it opens; "" for every device
	Expires time.Time // zero: never
}

// ErrImpossible is returned for an event whose content cannot be. A reader that decides
// about permissions must then deny, and never skip the event.
var ErrImpossible = errors.New("impossible event")

// maxID bounds ids of accounts and devices, in bytes.
const maxID = 200

// EffectOf returns the effect of an event, its grants in the order of their channels.
// Error: ErrImpossible, if it cannot be put in force.
func EffectOf(e Event) (Effect, error) {
	f := e.Effect()
	switch f.Kind {
	case Nothing, KeyAdded, KeyRevoked:
		return f, nil
	}
	if f.Unaccepted {
		return NoEffect, nil
	}
	return f.checked()
}

// checked puts the grants in order and refuses what cannot be stored.
func (e Effect) checked() (Effect, error) {
	for _, id := range []string{e.Account, e.Owner, e.Device} {
		if id == "" || len(id) > maxID {
			return Effect{}, fmt.Errorf("%w: an id of %d bytes", ErrImpossible, len(id))
		}
	}
	for _, g := range e.Grants {
		if g.Channel < 1 || g.Channel > privilege.MaxChannel || !g.Privileges.Valid() {
			return Effect{}, fmt.Errorf("%w: channel %d, privileges %#x", ErrImpossible, g.Channel, uint8(g.Privileges))
		}
	}
	byChannel := func(a, b privilege.Grant) int { return cmp.Compare(a.Channel, b.Channel) }
	if len(e.Grants) > 1 && !slices.IsSortedFunc(e.Grants, func(a, b privilege.Grant) int {
		return cmp.Or(byChannel(a, b), 1) // equal channels are not in order either
	}) {
		e.Grants = slices.Clone(e.Grants)
		slices.SortStableFunc(e.Grants, byChannel)
		e.Grants = merged(e.Grants)
	}
	return e, nil
}

// merged leaves, of a channel that is given twice, what both give.
func merged(sorted []privilege.Grant) []privilege.Grant {
	out := sorted[:0]
	for _, g := range sorted {
		if n := len(out); n > 0 && out[n-1].Channel == g.Channel {
			out[n-1].Privileges &= g.Privileges
			continue
		}
		out = append(out, g)
	}
	return out
}

// Clone returns the effect with strings of its own. Those of a decoded event are parts
// of its whole text, which would stay in memory as long as the effect does.
func (e Effect) Clone() Effect {
	for _, s := range []*string{&e.Account, &e.Owner, &e.Device, &e.Share, &e.Domain, &e.Key.Account, &e.Key.Name, &e.Key.Device} {
		*s = strings.Clone(*s)
	}
	return e
}

// Size returns about how many bytes the effect takes in memory.
func (e Effect) Size() int {
	return int(unsafe.Sizeof(e)) + len(e.Account) + len(e.Owner) + len(e.Device) + len(e.Share) + len(e.Domain) +
		len(e.Key.Account) + len(e.Key.Name) + len(e.Key.Device) + len(e.Grants)*int(unsafe.Sizeof(privilege.Grant{}))
}
