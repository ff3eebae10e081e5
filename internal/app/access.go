package app

import (
	"context"
	"fmt"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/request"
)

const (
	// maxMessage is the length of a message to an owner, in characters.
	maxMessage = 500
	// mostAsked is how many requests for one device may wait.
	mostAsked = 100
)

// RequestAccess asks the owner of the device with a serial for access to it. The result
// and the work are the same whether there is such a device or not, and whether the owner
// has dismissed the request or not. Who asks needs a proven address: the owner is shown
// it.
func (d *Devices) RequestAccess(ctx context.Context, m Meta, typed, message string) (Done, error) {
	c, err := d.core.begin(m, "request access", typed, message)
	if err != nil {
		return Done{}, err
	}
	f := faults{}
	serial, ok := device.Serial(typed)
	if !ok {
		f.add("serial", "is not a serial number")
	}
	f.text("message", message, maxMessage)
	if err := f.err(); err != nil {
		return Done{}, err
	}
	if err := d.core.refuseUnproven(ctx, c.Account); err != nil {
		return Done{}, err
	}
	ask := request.Ask{Serial: serial, Account: c.Account, At: c.at}
	if ask.Message, err = d.core.seal(ctx, c.Account, event.FieldMessage, message); err != nil {
		return Done{}, err
	}
	spent := false
	done, err := run(ctx, d.core, c, onRequest(request.ID(serial, c.Account)), func(there stream[request.State]) ([]request.Event, error) {
		if !spent {
			if err := d.core.spend(c.Account, QuotaRequests, "", 1); err != nil {
				return nil, err
			}
			spent = true
		}
		owned, err := d.asksFor(ctx, serial)
		if err != nil {
			return nil, err
		}
		if owned.Owner == c.Account {
			return nil, device.ErrAlreadyAdded
		}
		ask.Device, ask.Owner = owned.Device, owned.Owner
		if full, err := d.asksTooMany(ctx, ask.Device); err != nil || full {
			return nil, err
		}
		return request.Decide(there.state, ask)
	})
	return Done{Position: done.position}, err
}

// refuseUnproven refuses accounts whose address, with which others see them, is not
// proven.
func (s *core) refuseUnproven(ctx context.Context, account string) error {
	state, err := s.accountNow(ctx, account)
	if err != nil {
		return err
	}
	a, ok := state.FindAddress(state.Login)
	if ok {
		if ok, err = s.receives(ctx, account, a); err != nil {
			return err
		}
	}
	if !ok {
		return &Error{Code: "address_not_verified", Kind: Forbidden, Message: "Verify your address first: others are shown it."}
	}
	return nil
}

// asksFor returns the device with a serial, the zero State if it is in no account.
func (d *Devices) asksFor(ctx context.Context, serial string) (device.State, error) {
	there, err := load(ctx, d.core, deviceKind, deviceStream(serial))
	if err != nil || !there.state.Live {
		return device.State{}, err
	}
	return there.state, nil
}

func (d *Devices) asksTooMany(ctx context.Context, id string) (bool, error) {
	if d.asked == nil {
		return false, nil
	}
	n, err := d.asked.AccessRequestsFor(ctx, id)
	if err != nil {
		return false, unavailable(fmt.Errorf("counting the requests for a device: %w", err))
	}
	return n >= mostAsked, nil
}

// DismissRequest stops showing a request for access to a device of the caller's.
func (d *Devices) DismissRequest(ctx context.Context, m Meta, id string) (Done, error) {
	c, err := d.core.begin(m, "dismiss access request", id)
	if err != nil {
		return Done{}, err
	}
	if _, _, ok := request.Parse(id); !ok {
		return Done{}, refused(request.ErrNotFound)
	}
	on := onRequest(id)
	on.admit = func(s request.State) error {
		if s.Owner != c.Account {
			return refused(request.ErrNotFound)
		}
		return nil
	}
	done, err := run(ctx, d.core, c, on, func(there stream[request.State]) ([]request.Event, error) {
		owned, err := d.asksFor(ctx, there.state.Serial)
		if err != nil {
			return nil, err
		}
		if owned.Device != there.state.Device || owned.Owner != c.Account {
			return nil, request.ErrNotFound
		}
		return request.Decide(there.state, request.Dismiss{By: c.Account, At: c.at})
	})
	return Done{Position: done.position}, err
}

func onRequest(id string) target[request.State, request.Event] {
	return target[request.State, request.Event]{kind: requestKind, name: requestStream(id)}
}
