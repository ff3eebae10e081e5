package share

import (
	"fmt"
	"slices"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

// save invites the recipient to devices, and opens the share if needed. Only the owner
// invites: the id of a share begins with its owner's.
func save(s State, c Save) ([]Event, error) {
	if c.By == "" || c.Share != ID(c.By, c.Login) || s.ID != "" && s.ID != c.Share {
		return nil, ErrNotOwner
	}
	if c.Holder == c.By {
		return nil, ErrOwnLogin
	}
	if err := distinct(c.Offers); err != nil {
		return nil, err
	}
	var events []Event
	var before State // of a life that ends
	if s.endsWith(c) {
		before = s
		events = end(s, c.At)
		for _, e := range events {
			s = Evolve(s, e)
		}
	}
	switch {
	case !s.Live:
		open := Opened{
			Share: c.Share, Owner: c.By, Login: c.Login, Kind: c.Kind,
			Recipient: c.Recipient, Remark: c.Remark, At: c.At,
		}
		if c.Terms != nil {
			if f := c.Terms.Check(privilege.Terms{}, c.At); f != nil {
				return nil, &Fault{Field: "terms." + f.Field, Err: f.Err}
			}
			open.Terms = c.Terms.UTC()
		} else {
			open.Terms = before.Terms
		}
		s, events = Evolve(s, open), append(events, open)
	case c.Remark != "" && c.Remark != s.Remark:
		events = append(events, RemarkChanged{Share: s.ID, Owner: s.Owner, Remark: c.Remark, At: c.At})
	}
	if c.Terms != nil {
		changed, err := changeTerms(s, c.Terms, c.At)
		if err != nil {
			return nil, err
		}
		events = append(events, changed...)
	}
	for _, o := range c.Offers {
		if d, ok := s.Find(o.Device); ok && d.Active() {
			return nil, &Fault{Device: o.Device, Err: ErrAlreadyShared}
		}
		event, err := invite(s, o, c.At)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return bounded(s, append(events, waiting(before, c)...))
}

// endsWith reports whether the life of a share ends when it is saved: its recipient was
// forgotten, and its address is somebody else's by now. What is in use does not end.
func (s State) endsWith(c Save) bool {
	return s.Live && c.Unreadable && s.count(func(d Device) bool { return d.Status == StatusAccepted }) == 0
}

// waiting offers again what had waited for the recipient in a life that ended, as it was.
func waiting(before State, c Save) (events []Event) {
	pause := func(device string) {
		events = append(events, Paused{Share: c.Share, Owner: c.By, Login: c.Login, Device: device, Given: []event.Given{}, At: c.At})
	}
	for _, d := range before.Devices {
		if d.Status != StatusInvited || slices.ContainsFunc(c.Offers, func(o Offer) bool { return o.Device == d.Device }) {
			continue
		}
		events = append(events, Invited{Share: c.Share, Owner: c.By, Login: c.Login, Device: d.Device, Grants: d.Grants, Terms: d.Terms, At: c.At})
		if d.Paused {
			pause(d.Device)
		}
	}
	if before.Paused {
		pause("")
	}
	return events
}

// offer invites the device, or edits the grants if it is invited or accepted. It returns
// nothing if they are unchanged, even if the device itself has changed since.
func offer(s State, o Offer, at time.Time) ([]Event, error) {
	d, ok := s.Find(o.Device)
	if ok && d.is(o) {
		return nil, nil
	}
	o = d.kept(o)
	if !ok || !d.Active() {
		event, err := invite(s, o, at)
		if err != nil {
			return nil, err
		}
		return []Event{event}, nil
	}
	grants, err := checkGrants(s.Owner, d, o)
	if err == nil {
		err = checkTerms(d, o, at)
	}
	if err != nil {
		return nil, err
	}
	as := d
	as.Terms = *o.Terms
	return []Event{PrivilegesEdited{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Account: d.Account,
		Device: o.Device, Grants: grants, Paused: s.Held(d), At: at,
		ShareTerms: s.Terms, Terms: *o.Terms, AcceptedAt: s.acceptedAt(as),
	}}, nil
}

func invite(s State, o Offer, at time.Time) (Event, error) {
	o = Device{}.kept(o)
	grants, err := checkGrants(s.Owner, Device{}, o)
	if err == nil {
		err = checkTerms(Device{}, o, at)
	}
	if err != nil {
		return nil, err
	}
	if needed := o.Facts.NeedsFirmware; needed != "" {
		return nil, &Fault{Device: o.Device, Err: fmt.Errorf("%w: update it to %s or newer, then refresh the device", ErrFirmwareTooOld, needed)}
	}
	return Invited{Share: s.ID, Owner: s.Owner, Login: s.Login, Device: o.Device, Grants: grants, Terms: *o.Terms, At: at}, nil
}

// byOwner refuses all accounts but the owner of a share.
func byOwner(s State, by string) error {
	if by != s.Owner {
		return ErrNotOwner
	}
	return nil
}

// bounded refuses events after which the share would hold too many devices.
func bounded(s State, events []Event) ([]Event, error) {
	invites := false
	for _, e := range events {
		_, invitation := e.(Invited)
		invites = invites || invitation
		s = Evolve(s, e)
	}
	if invites && (s.count(Device.Active) > MaxDevices || s.count(Device.Listed) > MaxListed) {
		return nil, ErrTooManyDevices
	}
	return events, nil
}

// checkGrants validates grants against the current device, and returns them in the order
// of the channels. What was granted before may stay, even if the device has lost it: else
// nothing could be taken away by an edit.
func checkGrants(owner string, was Device, o Offer) ([]Grant, error) {
	if owner == "" || o.Facts.Owner != owner {
		return nil, &Fault{Device: o.Device, Err: ErrDeviceNotFound}
	}
	if len(o.Grants) == 0 {
		return nil, &Fault{Device: o.Device, Err: ErrNoChannels}
	}
	sorted := byChannel(o.Grants)
	for i, g := range sorted {
		var err error
		can, known := o.Facts.Capabilities[g.Channel]
		if had, granted := was.granted(g.Channel); granted {
			can, known = can|had, true
		}
		switch {
		case !known || g.Channel < 1 || g.Channel > privilege.MaxChannel:
			err = ErrUnknownChannel
		case i > 0 && sorted[i-1].Channel == g.Channel:
			err = ErrChannelTwice
		case g.Privileges.Without(can) != privilege.None || !g.Privileges.Valid():
			err = ErrBeyondCapability
		}
		if err != nil {
			return nil, &Fault{Device: o.Device, Channel: g.Channel, Err: err}
		}
	}
	return sorted, nil
}

// granted returns what was granted on a channel.
func (d Device) granted(channel int) (privilege.Set, bool) {
	for _, g := range d.Grants {
		if g.Channel == channel {
			return g.Privileges, true
		}
	}
	return privilege.None, false
}

// byChannel returns the grants in the order of the channels.
func byChannel(grants []Grant) []Grant {
	sorted := slices.Clone(grants)
	slices.SortStableFunc(sorted, func(a, b Grant) int { return a.Channel - b.Channel })
	return sorted
}

func distinct(offers []Offer) error {
	seen := make(map[string]bool, len(offers))
	for _, o := range offers {
		if seen[o.Device] {
			return &Fault{Device: o.Device, Err: ErrDeviceTwice}
		}
		seen[o.Device] = true
	}
	return nil
}
