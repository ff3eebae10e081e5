package event

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// Kind classifies what an event does to privileges.
type Kind uint8

// The kinds. Granted, Cleared and Named never change what an owner may do on their own
// device.
const (
	// Nothing: the event does not concern privileges.
	Nothing Kind = iota
	// Added: the device is live and belongs to Account, and its grants are the owner's.
	// An event about a device that was known before, live or not, changes nothing: device
	// ids are never reused.
	Added
	// Removed: no account has any privilege on the device any more.
	Removed
	// Granted: the grants replace what Account had on the device. If the device is not
	// live or does not belong to Owner, nothing changes. Account's name for the device
	// stays. If it is Paused, Account sees the device and has no privilege on it.
	Granted
	// Cleared: Account loses the device, whichever share it came from.
	Cleared
	// GrantedEach: as Granted for each of Each, of Owner's devices through Share. Readers
	// never see it: AppendEffects splits it into effects on one device.
	GrantedEach
	// Named: Domain is Account's name for the device, if Account has it, and for no other
	// device.
	Named
	// KeyAdded: the stream key becomes valid. A key that was known before, live or not,
	// stays as it is.
	KeyAdded
	// KeyRevoked: the stream key is invalid for good.
	KeyRevoked
)

// Effect describes what an event does to privileges.
type Effect struct {
	Kind    Kind
	Account ids.Account
	Owner   ids.Account
	Device  ids.Device
	Share   ids.Share
	Domain  string
	Grants  []privilege.Grant
	Paused  bool      // of Granted: the grants are suspended; AppendEffects leaves them without privileges
	Each    []Given   // of GrantedEach
	Key     StreamKey // of KeyAdded and KeyRevoked

	// ShareTerms and Terms of the device, and the limits of Grants, are the conditions
	// under which Grants hold; AppendEffects puts them into Conditions.
	ShareTerms privilege.Terms
	Terms      privilege.Terms
	AcceptedAt time.Time // by Account; needed if playback is limited to the time since then
	Conditions []privilege.Condition

	// Unaccepted is set on Granted and Cleared if the device of the share has not been
	// accepted: there is no Account, and nothing changes.
	Unaccepted bool
}

// Given is what an account has on a device.
type Given struct {
	Device  string            `json:"device"`
	Account string            `json:"account"`
	Grants  []privilege.Grant `json:"grants"`
	Paused  bool              `json:"paused,omitempty"`

	Terms      privilege.Terms `json:"terms,omitzero"`       // of the device
	AcceptedAt time.Time       `json:"accepted_at,omitzero"` // only if playback is limited to the time since then
}

// NoEffect is the effect of an event that does not concern privileges.
var NoEffect = Effect{}

// StreamKey identifies a stream key in an effect.
type StreamKey struct {
	Name    ids.Key
	Account ids.Account
	Device  ids.Device // the only device that it opens; "" for all devices
	Expires time.Time  // zero: never
}

// ErrImpossible is returned for an event with impossible content. A reader that decides
// about permissions must then deny, and never skip the event.
var ErrImpossible = errors.New("impossible event")

// maxID bounds ids of accounts and devices, in bytes.
const maxID = 200

// AppendEffects appends the effects of an event to a list: one for each device that it
// concerns, their grants in the order of their channels; none for an event that changes
// nothing. Error: ErrImpossible, if one of them cannot be applied.
func AppendEffects(list []Effect, e Event) ([]Effect, error) {
	f := e.Effect()
	switch f.Kind {
	case Nothing:
		return list, nil
	case KeyAdded, KeyRevoked:
		return append(list, f), nil
	case GrantedEach:
		for _, g := range f.Each {
			one := Effect{
				Kind: Granted, Account: ids.Account(g.Account), Owner: f.Owner, Device: ids.Device(g.Device), Share: f.Share,
				Grants: g.Grants, Paused: g.Paused, ShareTerms: f.ShareTerms, Terms: g.Terms, AcceptedAt: g.AcceptedAt,
			}
			var err error
			if list, err = one.appendChecked(list); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	if f.Unaccepted {
		return list, nil
	}
	return f.appendChecked(list)
}

func (e Effect) appendChecked(list []Effect) ([]Effect, error) {
	checked, err := e.checked()
	if err != nil {
		return nil, err
	}
	return append(list, checked), nil
}

// checked sorts the grants and refuses those that cannot be stored.
func (e Effect) checked() (Effect, error) {
	for _, length := range []int{len(e.Account), len(e.Owner), len(e.Device)} {
		if length == 0 || length > maxID {
			return Effect{}, fmt.Errorf("%w: an id of %d bytes", ErrImpossible, length)
		}
	}
	for _, g := range e.Grants {
		if g.Channel < 1 || g.Channel > privilege.MaxChannel || !g.Privileges.Valid() {
			return Effect{}, fmt.Errorf("%w: channel %d, privileges %#x", ErrImpossible, g.Channel, uint8(g.Privileges))
		}
	}
	if e.Kind == Granted && !e.Paused {
		e.Conditions = privilege.Conditions(e.ShareTerms, e.Terms, e.AcceptedAt, e.Grants)
	}
	byChannel := func(a, b privilege.Grant) int { return cmp.Compare(a.Channel, b.Channel) }
	if len(e.Grants) > 1 && !slices.IsSortedFunc(e.Grants, func(a, b privilege.Grant) int {
		return cmp.Or(byChannel(a, b), 1) // equal channels are out of order, too
	}) {
		e.Grants = slices.Clone(e.Grants)
		slices.SortStableFunc(e.Grants, byChannel)
		e.Grants = merged(e.Grants)
	}
	if e.Paused {
		e.Grants = withoutPrivileges(e.Grants)
	}
	return e, nil
}

func withoutPrivileges(list []privilege.Grant) []privilege.Grant {
	none := make([]privilege.Grant, len(list))
	for i, g := range list {
		none[i] = privilege.Grant{Channel: g.Channel}
	}
	return none
}

// merged keeps, for a channel that is listed twice, the privileges that both entries
// have.
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

// Clone returns the effect with its own copies of strings. Those of a decoded event are
// parts of its whole text, which would stay in memory as long as the effect does.
func (e Effect) Clone() Effect {
	e.Account, e.Owner, e.Device, e.Share = clone(e.Account), clone(e.Owner), clone(e.Device), clone(e.Share)
	e.Key.Account, e.Key.Name, e.Key.Device = clone(e.Key.Account), clone(e.Key.Name), clone(e.Key.Device)
	e.Domain = clone(e.Domain)
	return e
}

func clone[T ~string](id T) T { return T(strings.Clone(string(id))) }

// conditionSize is about how many bytes a condition takes in memory, with a few spans.
const conditionSize = 512

// Size returns roughly how many bytes the effect takes in memory.
func (e Effect) Size() int {
	return int(unsafe.Sizeof(e)) + len(e.Account) + len(e.Owner) + len(e.Device) + len(e.Share) + len(e.Domain) +
		len(e.Key.Account) + len(e.Key.Name) + len(e.Key.Device) + len(e.Grants)*int(unsafe.Sizeof(privilege.Grant{})) + len(e.Conditions)*conditionSize
}
