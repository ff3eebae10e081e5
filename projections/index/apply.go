package index

import (
	"fmt"

	"latchkey/domain"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections/internal/event"
)

// apply puts events in force, and tells of them when all are. An event that
// cannot be read ends the index: it may be one that takes something away.
func (x *Index) apply(events []eventstore.Recorded) error {
	x.changes = x.changes[:0]
	for i := range events {
		if err := x.applyOne(&events[i]); err != nil {
			return fmt.Errorf("event %s at position %d: %w", events[i].ID, events[i].Position, err)
		}
	}
	for _, c := range x.changes {
		x.changed(c)
	}
	last := &events[len(events)-1]
	x.mu.Lock()
	if last.Position > x.mark.Position {
		x.mark.Position, x.mark.Event = last.Position, last.ID
	}
	x.mu.Unlock()
	x.advance(uint64(last.Position))
	return nil
}

func (x *Index) applyOne(r *eventstore.Recorded) error {
	if uint64(r.Position) <= x.position.Load() {
		return nil
	}
	if !event.HasEffect(r.Type) {
		if !event.Known(r.Type) {
			return fmt.Errorf("%q: %w", r.Type, domain.ErrUnknownEvent)
		}
		return nil
	}
	decoded, err := event.Decode(r.Type, r.Data)
	if err != nil {
		return err
	}
	e, err := event.EffectOf(decoded)
	if err != nil {
		return err
	}
	return x.effect(&e)
}

// effect does what package event says of each kind.
func (x *Index) effect(e *event.Effect) error {
	switch e.Kind {
	case event.Nothing:
		return nil
	case event.KeyAdded:
		x.names.addKey(Key{Name: e.Key.Key, Account: e.Key.Account, Device: e.Key.Device, Expires: e.Key.Expires})
		return nil
	case event.KeyRevoked:
		x.names.revokeKey(e.Key.Key)
		x.changes = append(x.changes, Change{Account: e.Account, Key: e.Key.Key})
		return nil
	}
	account, err := x.names.account(e.Account)
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	owner, err := x.names.account(e.Owner)
	if err != nil {
		return fmt.Errorf("owner: %w", err)
	}
	device, err := x.names.device(e.Device)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	x.onDevice(e, account, owner, device)
	return nil
}

func (x *Index) onDevice(e *event.Effect, account, owner, device uint32) {
	has, p := x.devices.known(device), pairOf(account, device)
	switch e.Kind {
	case event.Added:
		if has == 0 {
			x.replace(p, device, e.Grants)
			x.devices.set(device, owner)
		}
	case event.Removed:
		if has == 0 {
			has = owner
		}
		x.devices.set(device, has|gone)
		x.changes = append(x.changes, Change{Device: e.Device})
	case event.Granted:
		if has == owner && account != owner {
			x.replace(p, device, e.Grants)
			x.changes = append(x.changes, Change{Account: e.Account, Device: e.Device})
		}
	case event.Cleared:
		if has != account {
			x.clear(p, device)
			x.names.setDomain(p, account, e.Device, "")
			x.changes = append(x.changes, Change{Account: e.Account, Device: e.Device})
		}
	case event.Named:
		if has&gone == 0 && has != account && x.table.sees(p) {
			x.names.setDomain(p, account, e.Device, e.Domain)
		}
	}
}

// entry is what channel 0 says of an account that sees a device without having
// a privilege on one of its first channels.
const entry = uint64(privilege.LiveView) << maskShift

// replace stores what an account may do on each channel of a device. First goes
// what is taken away, so that at no time more is allowed than before and after;
// the account sees the device all the time.
func (x *Index) replace(p pair, device uint32, grants []share.Grant) {
	given := map[int]privilege.Set{}
	first := false
	for _, g := range grants {
		given[g.Channel] = g.Privileges
		first = first || g.Privileges != privilege.None && blockOf(g.Channel) == 0
	}
	x.table.set(p, 0, entry)
	for c := 1; c <= int(*x.devices.highest(device)); c++ {
		if w, _ := (*x.table.current.Load()).find(p, c); w != 0 {
			x.set(p, device, c, privilege.Set(w&maskBits>>maskShift)&given[c])
		}
	}
	for c, set := range given {
		x.set(p, device, c, set)
	}
	if first {
		x.table.set(p, 0, 0)
	}
}

// clear takes away everything that an account may do on a device.
func (x *Index) clear(p pair, device uint32) {
	x.table.set(p, 0, 0)
	for c := 1; c <= int(*x.devices.highest(device)); c++ {
		x.table.set(p, c, 0)
	}
}

func (x *Index) set(p pair, device uint32, channel int, set privilege.Set) {
	x.table.set(p, channel, uint64(set)<<maskShift)
	if highest := x.devices.highest(device); channel > int(*highest) {
		*highest = uint16(channel)
	}
}
