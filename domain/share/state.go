package share

import (
	"slices"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

// Status is the status of a device in a share.
type Status string

// The statuses of a device. The zero value is not one of them and grants nothing.
const (
	StatusInvited  Status = "invited"
	StatusAccepted Status = "accepted"
	StatusRejected Status = "rejected"
	StatusRemoved  Status = "removed"
	StatusLeft     Status = "left"
)

// State is a share after its events. The zero value was never opened.
type State struct {
	ID        string
	Owner     string // account
	Login     string // keyed hash of the recipient's address
	Kind      string // "email" or "phone"
	Recipient string // sealed address
	Remark    string // sealed, "" for none
	Live      bool   // opened, and not deleted since
	Terms     privilege.Terms
	Paused    bool // nothing that it gives is in force
	Forgotten bool // deleted, and taken out of the owner's lists since
	Devices   []Device
}

// Device is a device in a share, in the order of its first invitation.
type Device struct {
	Device     string
	Status     Status
	Account    string  // the recipient, while accepted
	Grants     []Grant // by channel; none unless invited or accepted
	Terms      privilege.Terms
	Domain     string // the recipient's own name, while accepted
	Paused     bool   // by itself, whatever the share is; only while invited or accepted
	InvitedAt  time.Time
	AnsweredAt time.Time // zero until it is accepted or rejected
	EditedAt   time.Time // zero until the grants of this invitation are edited

	DismissedAt time.Time // zero until the recipient dismisses the invitation
	// AnsweredBy is the account that answered this invitation last, also after it lost the
	// device; "" for none.
	AnsweredBy string
}

// Active reports whether the device is invited or accepted.
func (d Device) Active() bool {
	return d.Status == StatusInvited || d.Status == StatusAccepted
}

// Listed reports whether the share still lists the device: it was not removed from the
// share since it was last invited.
func (d Device) Listed() bool { return d.Status != "" && d.Status != StatusRemoved }

// is reports whether the device is in the share exactly as it is offered; one that was
// rejected or left has no grants.
func (d Device) is(o Offer) bool {
	o = d.kept(o)
	if !d.Active() {
		return d.Listed() && len(o.Grants) == 0
	}
	return slices.EqualFunc(d.Grants, byChannel(o.Grants), Grant.Equal) && d.Terms.Equal(*o.Terms)
}

// Find returns the device of that id.
func (s State) Find(device string) (Device, bool) {
	for _, d := range s.Devices {
		if d.Device == device {
			return d, true
		}
	}
	return Device{}, false
}

// Allows reports whether the share grants the account every privilege of p on the channel
// at a time.
func (s State) Allows(account, device string, channel int, p privilege.Set, now time.Time) bool {
	d, ok := s.Find(device)
	if !ok || !s.Live || s.Held(d) || account == "" || d.Status != StatusAccepted || d.Account != account {
		return false
	}
	for _, g := range d.Grants {
		if g.Channel == channel {
			holds, _ := privilege.Ready(privilege.Conditions(s.Terms, d.Terms, d.AnsweredAt, d.Grants)).Hold(channel, p, now)
			return holds && g.Privileges.Has(p)
		}
	}
	return false
}

func (s State) count(which func(Device) bool) int {
	n := 0
	for _, d := range s.Devices {
		if which(d) {
			n++
		}
	}
	return n
}

// Evolve returns the state after the event. It does not modify its arguments, and an
// event that is immediately delivered again changes nothing more.
func Evolve(s State, e Event) State {
	s.Devices = slices.Clone(s.Devices)
	s.Apply(e)
	return s
}

// Apply is Evolve in place, for the sole user of the state.
func (s *State) Apply(e Event) { e.apply(s) }

// with changes the device in the list; it does nothing if the device is missing.
func (s *State) with(device string, change func(*Device)) {
	for i := range s.Devices {
		if s.Devices[i].Device == device {
			change(&s.Devices[i])
			return
		}
	}
	d := Device{Device: device}
	change(&d)
	if d.Status != "" {
		s.Devices = append(s.Devices, d)
	}
}

// end revokes everything that was granted.
func (d *Device) end(status Status) {
	d.Status, d.Account, d.Grants, d.Terms, d.Domain, d.Paused = status, "", nil, privilege.Terms{}, "", false
}

// TakesAway reports whether an event that follows the state revokes something and grants
// nothing.
func TakesAway(before State, e Event) bool {
	if edited, ok := e.(PrivilegesEdited); ok {
		d, found := before.Find(edited.Device)
		return found && within(edited.Grants, d.Grants) && (edited.Terms.Equal(d.Terms) || d.Terms.IsZero())
	}
	if _, ok := e.(TermsChanged); ok {
		return false // it may give more
	}
	return e.Revokes() != event.NoRevocation
}

// within reports whether the old grants include every new grant.
func within(grants, old []Grant) bool {
	had := make(map[int]Grant, len(old))
	for _, g := range old {
		had[g.Channel] = g
	}
	for _, g := range grants {
		was, ok := had[g.Channel]
		if !ok || g.Privileges.Without(was.Privileges) != privilege.None {
			return false
		}
		if len(was.Limits) > 0 && !slices.EqualFunc(g.Limits, was.Limits, privilege.Limit.Equal) {
			return false // it may give more
		}
	}
	return true
}
