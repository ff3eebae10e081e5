package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"latchkey/domain/share"
)

// Redeem uses the code of an owner: what it offers is shared with the caller, and
// accepted, as both have acted. A device that the owner does not have any more, or that is
// shared with the caller already, is left out. A device that cannot be accepted, because
// the caller uses its id as a domain, stays as an invitation.
func (s *Shares) Redeem(ctx context.Context, m Meta, code string) (ShareChanged, error) {
	c, err := s.core.begin(m, "redeem code", s.core.sealer.LoginHash("share code", code))
	if err != nil {
		return ShareChanged{}, err
	}
	to, err := s.core.addressOf(ctx, c.Account)
	if err != nil {
		return ShareChanged{}, err
	}
	claimed, giveBack, err := s.claimCode(ctx, c, codeOfOwner, code)
	if err != nil {
		return ShareChanged{}, err
	}
	var terms CodeTerms
	if err := json.Unmarshal(claimed.Content, &terms); err != nil {
		return ShareChanged{}, fmt.Errorf("reading what the code %s offers: %w", claimed.ID, err)
	}
	// The owner's part happens once for a code, whoever repeats it. No caller can choose
	// such a key, which has a space.
	key := "code " + claimed.ID
	owner, err := s.core.begin(Meta{Account: claimed.Account, IdempotencyKey: key}, "redeemed", claimed.ID, c.Account)
	if err != nil {
		return ShareChanged{}, err
	}
	saved, err := s.save(ctx, owner, saving{NewShare: NewShare{Remark: terms.Remark, Devices: terms.Devices}, to: to, add: true})
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Kind != Unavailable {
			giveBack()
		}
		return ShareChanged{}, toRedeemer(err)
	}
	return s.acceptOffered(ctx, Meta{Account: c.Account, IdempotencyKey: key}, saved.ShareChanged, terms.Devices)
}

// toRedeemer returns what whoever redeems a code is told of a refusal: the limits, the
// address and the terms of its owner are not theirs to know, or to mend.
func toRedeemer(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind == Unavailable || slices.Contains([]string{"already_shared", "own_login", "code_invalid"}, e.Code) {
		return err
	}
	return &Error{Code: "code_unusable", Kind: Conflict, Message: "The owner cannot share these devices now. Ask them.", Cause: err}
}

// acceptOffered accepts the devices that a code has just offered, and no others: the
// recipient has not decided about those.
func (s *Shares) acceptOffered(ctx context.Context, m Meta, saved ShareChanged, offered []DeviceGrants) (ShareChanged, error) {
	result := saved
	for _, d := range saved.Share.Devices {
		in := slices.ContainsFunc(offered, func(o DeviceGrants) bool { return o.Device == d.Device })
		if d.Status != share.StatusInvited || !in {
			continue
		}
		one := Decision{Share: saved.Share.ID, Device: d.Device}.of(m)
		done, err := s.Accept(ctx, one, saved.Share.ID, d.Device)
		if e, ok := errors.AsType[*Error](err); ok && e.Kind != Unavailable {
			s.core.logger.InfoContext(ctx, "a device of a redeemed code was not accepted", "share", saved.Share.ID, "device", d.Device, "code", e.Code)
			continue
		}
		if err != nil {
			return ShareChanged{}, err // a repeat goes on
		}
		result = done
	}
	return result, nil
}

// offerable returns those of the offers that can be made: the device is the owner's, and
// neither in the share already nor accepted by another address of the recipient's.
func (s *core) offerable(ctx context.Context, of share.State, save share.Save, offers []share.Offer) ([]share.Offer, error) {
	var list []share.Offer
	why, owner := errCode, save.By
	for _, o := range offers {
		other, err := s.acceptedElsewhere(ctx, owner, save.Holder, save.Login, o.Device)
		if err != nil {
			return nil, err
		}
		if d, ok := of.Find(o.Device); other != "" || ok && of.Live && d.Active() {
			why = share.ErrAlreadyShared
			continue
		}
		if o.Facts.Owner == owner {
			list = append(list, o)
		}
	}
	if len(list) == 0 {
		return nil, why
	}
	return list, nil
}
