package access

import (
	"errors"
	"fmt"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
)

// apply puts events in force, and reports them when all are. An event that cannot be read
// closes the index: it may be one that revokes something.
func (x *Index) apply(events []eventstore.Recorded) error {
	x.writing.Lock()
	defer x.writing.Unlock()
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
	x.advance(last.Position)
	return nil
}

func (x *Index) applyOne(r *eventstore.Recorded) error {
	if r.Position <= x.Position() {
		return nil
	}
	if !catalogue.HasEffect(r.Type) {
		return nil
	}
	decoded, err := catalogue.Decode(r.Type, r.Data)
	if err != nil {
		return err
	}
	if x.effects, err = event.AppendEffects(x.effects[:0], decoded); err != nil || len(x.effects) == 0 {
		return err
	}
	x.effected = r.Position
	defer x.pulse.version.Add(1)
	for i := range x.effects {
		x.gather(x.effected, &x.effects[i])
		if err := x.effect(&x.effects[i]); err != nil {
			return err
		}
	}
	return nil
}

// effect does what event.Kind defines for each kind. An effect that would need a number
// when there is none has no effect; lacks records that.
func (c *contents) effect(e *event.Effect) error {
	switch e.Kind {
	case event.KeyAdded:
		c.names.addKey(Key{Name: e.Key.Name, Account: e.Key.Account, Device: e.Key.Device, Expires: e.Key.Expires})
		return nil
	case event.KeyRevoked:
		if c.names.revokeKey(e.Key.Name) {
			c.dead++
		}
		c.changes = append(c.changes, Change{Account: e.Account, Key: e.Key.Name})
		return nil
	}
	err := c.onDevice(e)
	if errors.Is(err, ErrFull) {
		c.lacks.Store(true)
		return nil
	}
	return err
}

// onDevice only assigns a number to accounts that are granted something, and to a device
// that is removed before it was known.
func (c *contents) onDevice(e *event.Effect) error {
	account, device := c.names.look(e.Account, e.Device)
	has := c.devices.known(device)
	switch e.Kind {
	case event.Added:
		if has == 0 {
			return c.add(e)
		}
	case event.Removed:
		c.remove(e, device, has)
	case event.Granted:
		if owner, _ := c.names.look(e.Owner, ""); has != 0 && has == owner && e.Account != e.Owner {
			return c.grant(e, device)
		}
	case event.Cleared:
		if has == account && has != 0 {
			return nil
		}
		if account != 0 && device != 0 {
			p := pairOf(account, device)
			c.clear(p, device)
			c.names.setDomain(p, account, e.Device, "")
		}
		c.changes = append(c.changes, Change{Account: e.Account, Device: e.Device})
	case event.Named:
		if p := pairOf(account, device); account != 0 && device != 0 && has&gone == 0 && has != account && c.table.sees(p) {
			c.names.setDomain(p, account, e.Device, e.Domain)
		}
	default: // a new kind is handled here
		return fmt.Errorf("an effect of kind %d: %w", e.Kind, event.ErrImpossible)
	}
	return nil
}

func (c *contents) add(e *event.Effect) error {
	owner, err := c.names.account(e.Owner)
	if err != nil {
		return fmt.Errorf("owner: %w", err)
	}
	device, err := c.names.device(e.Device)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	c.replace(pairOf(owner, device), device, e.Grants, nil)
	c.devices.set(device, owner)
	return nil
}

// remove needs no number if the device is unknown: then nobody has access to it. It is
// recorded all the same while there are numbers.
func (c *contents) remove(e *event.Effect, device, has uint32) {
	if has == 0 {
		if no, err := c.names.device(e.Device); err == nil {
			device = no
		}
	}
	if device != 0 {
		if has&gone == 0 {
			c.dead++
		}
		c.devices.set(device, has|gone)
	}
	c.changes = append(c.changes, Change{Device: e.Device})
}

func (c *contents) grant(e *event.Effect, device uint32) error {
	account, err := c.names.account(e.Account)
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	c.replace(pairOf(account, device), device, e.Grants, e.Conditions)
	c.changes = append(c.changes, Change{Account: e.Account, Device: e.Device})
	return nil
}

// entry is the word of channel 0 for an account that sees a device without a privilege on
// one of its first channels.
const entry = uint64(privilege.LiveView) << maskShift

// replace stores what an account may do on each channel of a device, under conditions.
// Revocations come first, so that at no time more is allowed than before or after; the
// account sees the device all the time, and may do all the time what both allow.
func (c *contents) replace(p pair, device uint32, grants []share.Grant, conditions []privilege.Condition) {
	given := map[int]privilege.Set{}
	first := false
	for _, g := range grants {
		given[g.Channel] = g.Privileges
		first = first || g.Privileges != privilege.None && blockOf(g.Channel) == 0
	}
	c.table.set(p, 0, entry)
	for channel := 1; channel <= int(*c.devices.highest(device)); channel++ {
		if w, _ := (*c.table.current.Load()).find(p, channel); w != 0 {
			c.set(p, device, channel, privilege.Set(w&maskBits>>maskShift)&given[channel], w&timedBit)
		}
	}
	if len(conditions) > 0 {
		c.limits.set(p, &limited{channels: given, conditions: privilege.Ready(conditions)})
	}
	for channel, set := range given {
		c.set(p, device, channel, set, timedIf(privilege.Concern(conditions, channel)))
	}
	if len(conditions) == 0 {
		c.limits.set(p, nil) // no word needs it any more
	}
	if first {
		c.table.set(p, 0, 0)
	}
}

func timedIf(timed bool) uint64 {
	if timed {
		return timedBit
	}
	return 0
}

// clear revokes everything that an account may do on a device.
func (c *contents) clear(p pair, device uint32) {
	c.table.set(p, 0, 0)
	for channel := 1; channel <= int(*c.devices.highest(device)); channel++ {
		c.table.set(p, channel, 0)
	}
	c.limits.set(p, nil)
}

func (c *contents) set(p pair, device uint32, channel int, set privilege.Set, timed uint64) {
	if set == privilege.None {
		timed = 0
	}
	c.table.set(p, channel, uint64(set)<<maskShift|timed)
	if highest := c.devices.highest(device); channel > int(*highest) {
		*highest = uint16(channel)
	}
}
