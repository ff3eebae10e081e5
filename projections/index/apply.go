package index

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"latchkey/domain"
	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
)

// load fills the index from the read model.
func (x *Index) load(ctx context.Context) error {
	accounts, devices := map[uint32]uint32{}, map[uint32]loadedDevice{}
	accountIDs := map[uint32]string{}
	var failed error
	fail := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	position, err := x.cfg.Source.LoadPrivileges(ctx, Loader{
		Account: func(no uint32, id string) {
			n, err := x.names.number(&x.names.accounts, id, true)
			if err != nil {
				fail(err)
			}
			accounts[no] = n
			accountIDs[no] = id
		},
		Device: func(no uint32, id string, owner uint32, live bool) {
			n, err := x.device(id)
			if err != nil {
				fail(err)
			}
			devices[no] = loadedDevice{n, id}
			if live {
				x.setOwner(n, accounts[owner])
			}
		},
		Grant: func(a, d uint32, channel uint16, mask uint8) {
			set := privilege.Set(mask)
			if channel == 0 {
				set = visible
			}
			if channel > maxChannel || !set.Valid() || accounts[a] == 0 || devices[d].no == 0 {
				fail(fmt.Errorf("the grant of account %d on device %d, channel %d makes no sense", a, d, channel))
				return
			}
			x.set(accounts[a], devices[d].no, int(channel), set)
		},
		Domain: func(a, d uint32, domain string) {
			x.names.setDomain(pair{accounts[a], devices[d].no}, devices[d].id, domain)
		},
		Key: func(name string, a uint32, device string, expires time.Time) {
			x.names.setKey(Key{Name: name, Account: accountIDs[a], Device: device, Expires: expires})
		},
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("loading the privilege index: %w", err)
	}
	x.table.compact()
	x.advance(position)
	x.state.Store(stateLive) // it denies still, until it was measured to be fresh
	return nil
}

type loadedDevice struct {
	no uint32
	id string
}

// visible is what channel 0 holds for an account that may see the device.
const visible = privilege.LiveView

// apply puts events in force, one after the other. An event that cannot be read
// ends the index: it may be one that takes something away.
func (x *Index) apply(events []eventstore.Recorded) error {
	for i := range events {
		r := &events[i]
		event, err := domain.DecodeEvent(r.Type, r.Data)
		if err == nil {
			err = x.applyOne(event)
		}
		if err != nil {
			return fmt.Errorf("event %s at position %d: %w", r.ID, r.Position, err)
		}
		x.advance(uint64(r.Position))
	}
	return nil
}

func (x *Index) applyOne(event any) error {
	switch e := event.(type) {
	case device.Added:
		return x.added(e)
	case device.Removed:
		return x.removed(e)
	case share.Accepted:
		return x.grant(e.Owner, e.Account, e.Device, e.Grants)
	case share.PrivilegesEdited:
		if e.Account == "" { // nobody has accepted it
			return nil
		}
		return x.grant(e.Owner, e.Account, e.Device, e.Grants)
	case share.Rejected:
		return x.clear(e.Account, e.Device)
	case share.DeviceRemoved:
		return x.clear(e.Account, e.Device)
	case share.Left:
		return x.clear(e.Account, e.Device)
	case share.DomainSet:
		return x.domain(e)
	case account.StreamKeyAdded:
		x.names.setKey(Key{Name: e.Key, Account: e.Account, Device: e.Device, Expires: e.Expires})
		return nil
	case account.StreamKeyRevoked:
		x.names.dropKey(e.Key)
		x.changed(Change{Account: e.Account, Key: e.Key})
		return nil
	case account.LoginClaimed, account.Registered,
		share.Opened, share.RemarkChanged, share.Invited, share.Deleted:
		return nil // they give and take nothing
	}
	return fmt.Errorf("%T: %w", event, domain.ErrUnknownEvent)
}

func (x *Index) added(e device.Added) error {
	owner, err := x.names.number(&x.names.accounts, e.Owner, true)
	if err != nil {
		return err
	}
	d, err := x.device(e.Device)
	if err != nil {
		return err
	}
	can := map[int]privilege.Set{}
	for _, c := range e.Channels {
		can[c.Channel] = c.Capabilities
	}
	if err := x.replace(owner, d, can); err != nil {
		return err
	}
	x.setOwner(d, owner)
	return nil
}

func (x *Index) removed(e device.Removed) error {
	d, err := x.device(e.Device)
	if err != nil {
		return err
	}
	x.setOwner(d, 0)
	x.names.forgetDevice(e.Device) // what was given on it cannot come back
	x.changed(Change{Device: e.Device})
	return nil
}

// grant replaces what an account may do on a device. A device that is not live,
// or not the event's owner's, gives nothing.
func (x *Index) grant(owner, account, id string, grants []share.Grant) error {
	d, err := x.device(id)
	if err != nil {
		return err
	}
	o, err := x.names.number(&x.names.accounts, owner, true)
	if err != nil {
		return err
	}
	if (*x.owners.Load())[d] != o {
		return nil
	}
	a, err := x.names.number(&x.names.accounts, account, true)
	if err != nil || a == o { // an owner's rights come from the device
		return err
	}
	given := map[int]privilege.Set{}
	for _, g := range grants {
		given[g.Channel] = g.Privileges
	}
	if err := x.replace(a, d, given); err != nil {
		return err
	}
	x.changed(Change{Account: account, Device: id})
	return nil
}

// replace stores what an account may do on each channel of a device. First goes
// what is taken away, so that at no time more is allowed than before or after.
func (x *Index) replace(a, d uint32, given map[int]privilege.Set) error {
	for c := range given {
		if c < 1 || c > maxChannel {
			return fmt.Errorf("channel %d is out of bounds", c)
		}
	}
	for c := 1; c <= int(x.channels[d]); c++ {
		if _, ok := given[c]; !ok {
			x.set(a, d, c, privilege.None)
		}
	}
	for c, p := range given {
		x.set(a, d, c, p)
	}
	x.set(a, d, 0, visible)
	return nil
}

// clear takes away everything that an account may do on a device, unless it is
// its own.
func (x *Index) clear(account, id string) error {
	if account == "" {
		return nil
	}
	d, err := x.device(id)
	if err != nil {
		return err
	}
	a, err := x.names.number(&x.names.accounts, account, true)
	if err != nil {
		return err
	}
	if (*x.owners.Load())[d] == a {
		return nil
	}
	for c := 0; c <= int(x.channels[d]); c++ {
		x.set(a, d, c, privilege.None)
	}
	x.names.setDomain(pair{a, d}, id, "")
	x.changed(Change{Account: account, Device: id})
	return nil
}

func (x *Index) domain(e share.DomainSet) error {
	d, err := x.device(e.Device)
	if err != nil {
		return err
	}
	a, err := x.names.number(&x.names.accounts, e.Account, true)
	if err != nil {
		return err
	}
	if x.table.find(wordKey(a, d, 0))&maskBits != 0 {
		x.names.setDomain(pair{a, d}, e.Device, e.Domain)
	}
	return nil
}

// device answers a device's number, and makes room for it.
func (x *Index) device(id string) (uint32, error) {
	d, err := x.names.number(&x.names.devices, id, true)
	if err != nil {
		return 0, err
	}
	owners := *x.owners.Load()
	if int(d) >= len(owners) {
		grown := make([]uint32, max(int(d)+1, len(owners)+len(owners)/2, 1024))
		copy(grown, owners)
		x.owners.Store(&grown)
	}
	for int(d) >= len(x.channels) {
		x.channels = append(x.channels, 0)
	}
	return d, nil
}

func (x *Index) setOwner(d, owner uint32) {
	atomic.StoreUint32(&(*x.owners.Load())[d], owner)
}

func (x *Index) set(a, d uint32, channel int, p privilege.Set) {
	x.table.put(wordKey(a, d, channel), uint64(p)<<maskShift)
	if channel > int(x.channels[d]) {
		x.channels[d] = uint16(channel)
	}
}
