package reactors

import (
	"context"
	"slices"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/reclaim"
	"latchkey/domain/share"
	"latchkey/eventstore"
)

// policies ends the shares of removed devices, when a device was removed and when a share
// offers or has a device that was removed meanwhile, finishes what follows a closed
// account, an address that an account has lost and a password that was changed, and tells people of devices that change
// hands.
func policies(read ReadModels, do Commands) Reactor {
	d := deviceEnds{read, do}
	return Reactor{
		Name: "policies",
		Events: []string{
			device.Removed{}.Type(), share.Invited{}.Type(), share.Accepted{}.Type(), share.PrivilegesEdited{}.Type(), account.Closed{}.Type(),
			device.TransferOffered{}.Type(), device.Added{}.Type(), reclaim.Claimed{}.Type(),
			account.AddressRemoved{}.Type(), account.LoginClaimed{}.Type(), account.PasswordChanged{}.Type(),
		},
		Due: d.due,
	}
}

type deviceEnds struct {
	read ReadModels
	do   Commands
}

func (d deviceEnds) due(ctx context.Context, events []Event, position eventstore.Position) (list []Action, err error) {
	var offers []offer
	for _, e := range events {
		switch v := e.Event.(type) {
		case device.Removed:
			list = append(list, d.removed(e, v.Device))
			if v.How == device.ByReclaim {
				list = append(list, d.tell(e, func(ctx context.Context) error { return d.do.TellOfLoss(ctx, e.ID, v) }))
			}
		case reclaim.Claimed:
			list = append(list, d.tell(e, func(ctx context.Context) error { return d.do.TellOfReclaim(ctx, e.ID, v) }))
		case account.Closed:
			list = append(list, Action{e, func(ctx context.Context) error { return d.do.FinishClosing(ctx, e.ID, v.Account, e.Position) }})
		case account.PasswordChanged:
			list = append(list, Action{e, func(ctx context.Context) error { return d.do.EndOffers(ctx, e.ID, v.Account, e.Position) }})
		case device.TransferOffered:
			list = append(list, d.tell(e, func(ctx context.Context) error { return d.do.TellOfTransfer(ctx, e.ID, v) }))
		case device.Added:
			if v.How != "" {
				list = append(list, Action{e, func(ctx context.Context) error { return d.do.FinishHandover(ctx, e.ID, v) }})
			}
		case account.AddressRemoved:
			list = append(list, Action{e, func(ctx context.Context) error {
				return d.do.FinishRemoval(ctx, e.ID, v.Account, v.Login, e.Position)
			}})
		case account.LoginClaimed:
			list = append(list, Action{e, func(ctx context.Context) error { return d.do.FollowClaim(ctx, v.Login, e.Position) }})
		case share.Invited:
			offers = append(offers, offer{e, v.Device, v.Share})
		case share.Accepted:
			offers = append(offers, offer{e, v.Device, v.Share})
		case share.PrivilegesEdited:
			offers = append(offers, offer{e, v.Device, v.Share})
		}
	}
	late, err := d.late(ctx, offers, position)
	return append(list, late...), err
}

// tell sends something to people. Of what happened before the log was restored they were
// told then.
func (d deviceEnds) tell(e Event, send func(context.Context) error) Action {
	return Action{e, func(ctx context.Context) error {
		began, err := d.do.EpochBegan(ctx)
		if err != nil || e.Position <= began {
			return err
		}
		return send(ctx)
	}}
}

// removed ends the shares of a device. Shares that offer it later end when that event is
// followed.
func (d deviceEnds) removed(e Event, id string) Action {
	return Action{e, func(ctx context.Context) error {
		shares, err := d.read.SharesHolding(ctx, id, e.Position)
		if err != nil {
			return err
		}
		return d.do.EndShares(ctx, e.ID, id, shares)
	}}
}

// offer is an event after which a share offers or has a device.
type offer struct {
	event         Event
	device, share string
}

// late removes devices from shares that offer or have them, if the devices were removed
// already.
func (d deviceEnds) late(ctx context.Context, offers []offer, position eventstore.Position) (list []Action, err error) {
	if len(offers) == 0 {
		return nil, nil
	}
	ids := make([]string, len(offers))
	for i, o := range offers {
		ids[i] = o.device
	}
	slices.Sort(ids)
	removed, err := d.read.RemovedDevices(ctx, slices.Compact(ids), position)
	if err != nil {
		return nil, err
	}
	for _, o := range offers {
		if slices.Contains(removed, o.device) {
			list = append(list, Action{o.event, func(ctx context.Context) error {
				return d.do.EndShares(ctx, o.event.ID, o.device, []string{o.share})
			}})
		}
	}
	return list, nil
}
