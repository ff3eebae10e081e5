package event

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/share"
)

// Kind is what an event does to what accounts may do.
type Kind uint8

// The kinds. Of Granted, Cleared and Named, none changes the owner's own rights.
const (
	// Nothing: the event concerns no privilege.
	Nothing Kind = iota
	// Added: the device lives, belongs to Account, and its grants are the
	// owner's. Of a device that was known before, alive or not, it changes
	// nothing: ids of devices do not return.
	Added
	// Removed: nobody may do anything on the device, for ever.
	Removed
	// Granted: the grants replace what Account had on the device. Unless the
	// device lives and belongs to Owner it changes nothing. Account's name for
	// the device stays.
	Granted
	// Cleared: Account loses the device, whatever share it came from.
	Cleared
	// Named: Domain is Account's name for the device, where it has it, and for
	// no other.
	Named
	// KeyAdded: the stream key opens; one that was known before, live or not,
	// stays as it is.
	KeyAdded
	// KeyRevoked: the stream key opens nothing any more, for ever.
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
	Grants  []share.Grant
	Key     account.StreamKeyAdded // of KeyAdded; KeyRevoked has its name
}

// Clone is the effect apart from the text of its event, which else stays in memory
// as long as the effect does.
func (e Effect) Clone() Effect {
	for _, s := range []*string{&e.Account, &e.Owner, &e.Device, &e.Share, &e.Domain, &e.Key.Account, &e.Key.Key, &e.Key.Label, &e.Key.Device} {
		*s = strings.Clone(*s)
	}
	return e
}

// Size is about how many bytes it takes.
func (e Effect) Size() int {
	return int(unsafe.Sizeof(e)) + len(e.Account) + len(e.Owner) + len(e.Device) + len(e.Share) + len(e.Domain) +
		len(e.Key.Account) + len(e.Key.Key) + len(e.Key.Label) + len(e.Key.Device) + len(e.Grants)*int(unsafe.Sizeof(share.Grant{}))
}

// ErrImpossible is returned for an event whose content cannot be. Whoever
// decides about permissions must then deny, never skip.
var ErrImpossible = errors.New("impossible event")

// maxID bounds ids of accounts and devices, in bytes.
const maxID = 200

// HasEffect reports whether events of that name may do something to privileges.
func HasEffect(name string) bool {
	switch name {
	case DeviceAdded, DeviceRemoved, Accepted, PrivilegesEdited, Rejected, TakenOut, Left, DomainSet, StreamKeyAdded, StreamKeyRevoked:
		return true
	}
	return false
}

// EffectOf gives the effect of a decoded event.
func EffectOf(event any) (Effect, error) {
	var e Effect
	switch v := event.(type) {
	case device.Added:
		e = Effect{Kind: Added, Account: v.Owner, Owner: v.Owner, Device: v.Device}
		for _, c := range v.Channels {
			e.Grants = append(e.Grants, share.Grant{Channel: c.Channel, Privileges: c.Capabilities})
		}
	case device.Removed:
		e = Effect{Kind: Removed, Account: v.Owner, Owner: v.Owner, Device: v.Device}
	case share.Accepted:
		e = Effect{Kind: Granted, Account: v.Account, Owner: v.Owner, Device: v.Device, Share: v.Share, Grants: v.Grants}
	case share.PrivilegesEdited:
		if v.Account == "" {
			return e, nil
		}
		e = Effect{Kind: Granted, Account: v.Account, Owner: v.Owner, Device: v.Device, Share: v.Share, Grants: v.Grants}
	case share.Rejected:
		e = Effect{Kind: Cleared, Account: v.Account, Owner: v.Owner, Device: v.Device}
	case share.Left:
		e = Effect{Kind: Cleared, Account: v.Account, Owner: v.Owner, Device: v.Device}
	case share.DeviceRemoved:
		if v.Account == "" {
			return e, nil
		}
		e = Effect{Kind: Cleared, Account: v.Account, Owner: v.Owner, Device: v.Device}
	case share.DomainSet:
		e = Effect{Kind: Named, Account: v.Account, Owner: v.Owner, Device: v.Device, Domain: v.Domain}
	case account.StreamKeyAdded:
		return Effect{Kind: KeyAdded, Account: v.Account, Key: v}, nil
	case account.StreamKeyRevoked:
		return Effect{Kind: KeyRevoked, Account: v.Account, Key: account.StreamKeyAdded{Key: v.Key, Account: v.Account}}, nil
	default:
		return e, nil
	}
	return e.checked()
}

// checked puts the grants in order and refuses what cannot be stored.
func (e Effect) checked() (Effect, error) {
	for _, id := range []string{e.Account, e.Owner, e.Device} {
		if id == "" || len(id) > maxID {
			return Effect{}, fmt.Errorf("%w: an id of %d bytes", ErrImpossible, len(id))
		}
	}
	for _, g := range e.Grants {
		if g.Channel < 1 || g.Channel > share.MaxChannel || !g.Privileges.Valid() {
			return Effect{}, fmt.Errorf("%w: channel %d, privileges %#x", ErrImpossible, g.Channel, uint8(g.Privileges))
		}
	}
	byChannel := func(a, b share.Grant) int { return cmp.Compare(a.Channel, b.Channel) }
	if len(e.Grants) > 1 && !slices.IsSortedFunc(e.Grants, func(a, b share.Grant) int {
		return cmp.Or(byChannel(a, b), 1) // equal channels are not in order either
	}) {
		e.Grants = slices.Clone(e.Grants)
		slices.SortStableFunc(e.Grants, byChannel)
		e.Grants = merged(e.Grants)
	}
	return e, nil
}

// merged leaves, of a channel that is given twice, what both give.
func merged(sorted []share.Grant) []share.Grant {
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
