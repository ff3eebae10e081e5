package app

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/ids"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// A device that went to another account has another id, under which nobody has it but its
// new owner. If its shares are to go on, each of them is opened anew as a share of the new
// owner, before the device is taken out of the old one. Whatever is not certain is not
// handed on.

var deviceRemoved = device.Removed{}.Type()

// handedOver returns the event with which a device went to another account; ok is false if
// it did not.
func (s *core) handedOver(ctx context.Context, id string) (gone device.Removed, ok bool, err error) {
	serial, is := device.SerialOf(id)
	if !is {
		return gone, false, nil
	}
	ended := func(e Stored) (device.Removed, bool) {
		if e.Type != deviceRemoved {
			return device.Removed{}, false
		}
		event, err := catalogue.Decode(e.Type, e.Data)
		removed, ok := event.(device.Removed)
		return removed, err == nil && ok && removed.Device == id
	}
	events, err := s.log.LoadBack(ctx, deviceStream(serial), func(e Stored, _ int) bool { _, is := ended(e); return is })
	if err != nil {
		return gone, false, unavailable(err)
	}
	if len(events) == 0 {
		return gone, false, nil
	}
	gone, ok = ended(events[0])
	return gone, ok && gone.How != "" && gone.Next != "", nil
}

// kept is a device that goes on in a share of its new owner.
type kept struct {
	share, device string
	account       string // that has accepted it, "" for none
	domain        string // by which that account called it
	position      position.Position
}

// keepShare puts a device that went to another account into a share of the new owner, as
// it is in a share of the one before. The zero value: it is not handed on.
func (s *core) keepShare(ctx context.Context, cause uuid.UUID, gone device.Removed, from ids.Share) (kept, error) {
	old, err := s.loadShare(ctx, string(from))
	if err != nil {
		return kept{}, err
	}
	d, in := old.state.Find(gone.Device)
	next, err := s.heir(ctx, gone)
	if err != nil || !in || !old.state.Live || !d.Active() || next.Device == "" {
		return kept{}, err
	}
	takes, err := s.takeOver(ctx, old.state, d, next)
	if err != nil || takes.Share == "" {
		return kept{}, err
	}
	done, err := run(ctx, s, s.following(cause), onShare(takes.Share), func(there stream[share.State]) ([]share.Event, error) {
		return share.Decide(there.state, takes)
	})
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Unavailable {
		s.logger.WarnContext(ctx, "a share of a device that went to another account ends", "share", from, "device", next.Device, "error", err)
		return kept{}, nil
	}
	if err != nil || len(done.events) == 0 {
		return kept{}, err
	}
	k := kept{share: takes.Share, device: next.Device, account: takes.Account, domain: d.Domain, position: done.position}
	if k.account != "" {
		if has, err := s.has(ctx, k.account, old.state.Login); err == nil && !has { // it lost the address meanwhile
			ended, err := s.giveUp(ctx, cause, k.account, takes.Share)
			return kept{position: max(done.position, ended)}, err
		}
	}
	if gone, err := s.gone(ctx, next.Device); err == nil && gone { // or the policy finds it
		ended, err := s.endShare(ctx, cause, ids.Device(next.Device), ids.Share(takes.Share))
		return kept{position: max(done.position, ended.position)}, err
	}
	return k, nil
}

// heir returns the device as its latest owner has it, if its shares are to go on; the zero
// State otherwise.
func (s *core) heir(ctx context.Context, gone device.Removed) (device.State, error) {
	for gone.Shares == device.KeepShares {
		next, err := s.loadDevice(ctx, gone.Next)
		if err != nil || next.Live {
			if next.Owner != gone.To {
				return device.State{}, err
			}
			return next, err
		}
		further, ok, err := s.handedOver(ctx, gone.Next)
		if err != nil || !ok {
			return device.State{}, err
		}
		gone = further
	}
	return device.State{}, nil
}

// takeOver returns the command that puts a device, as it is in an old share, into a share
// of its new owner. It is the zero value if the recipient is the new owner, or if the time
// of the share is over.
func (s *core) takeOver(ctx context.Context, old share.State, d share.Device, next device.State) (share.TakeOver, error) {
	holder, err := s.holder(ctx, old.Login)
	if err != nil {
		return share.TakeOver{}, err
	}
	terms, exact := d.Terms.And(old.Terms)
	now := s.now()
	if holder == next.Owner || !terms.Until.IsZero() && !terms.Until.After(now) {
		return share.TakeOver{}, nil
	}
	facts, err := newLookup(s).facts(ctx, next.Device)
	if err != nil {
		return share.TakeOver{}, err
	}
	takes := share.TakeOver{
		Share: share.ID(next.Owner, old.Login), From: old.ID, By: next.Owner, Holder: holder, Login: old.Login, Kind: old.Kind, Recipient: old.Recipient,
		Device: next.Device, Grants: d.Grants, Terms: terms, Paused: old.Held(d) || !exact, Facts: facts, At: now,
	}
	if d.Status == share.StatusAccepted && d.Account == holder {
		proven, err := s.proven(ctx, holder, old.Login)
		if err != nil {
			return share.TakeOver{}, err
		}
		if proven {
			takes.Account = holder
		}
	}
	return takes, nil
}

// keepDomain gives the device the name that its recipient called it by: addresses of
// streams with the name stay valid. It is free once the device has left the old share.
func (s *core) keepDomain(ctx context.Context, k kept) position.Position {
	if k.domain == "" || k.account == "" {
		return 0
	}
	shares := &Shares{core: s, names: names{core: s, domains: s.domains}}
	done, err := shares.SetDomain(ctx, Meta{Account: k.account}, k.share, k.device, k.domain)
	if err != nil {
		s.logger.InfoContext(ctx, "a device that went to another account lost its recipient's name", "share", k.share, "error", err)
	}
	return done.Position
}
