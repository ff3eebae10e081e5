package app

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// Shares changes shares: the owner's commands are in this file, the recipient's in
// recipient.go. Package share decides who may do what.
type Shares struct {
	core  *core
	names names
	codes ShareCodes
}

// DeviceGrants is what is granted on one device.
type DeviceGrants struct {
	Device string
	Grants []share.Grant
	Terms  *privilege.Terms `json:",omitempty"` // nil: as they are
}

// MarshalJSON is for fingerprints: to remove the limits of a channel is another request
// than to keep them, but an empty list is left out of JSON as a missing one is.
func (d DeviceGrants) MarshalJSON() ([]byte, error) {
	type fields DeviceGrants
	canonical := struct {
		fields
		Unlimited []int `json:",omitempty"` // channels
	}{fields: fields(d)}
	for _, g := range d.Grants {
		if g.Limits != nil && len(g.Limits) == 0 {
			canonical.Unlimited = append(canonical.Unlimited, g.Channel)
		}
	}
	return json.Marshal(canonical)
}

// NewShare is what to share with whom; one of Email, Phone and Code is set. Code is one
// that the recipient made.
type NewShare struct {
	Email, Phone string
	Code         string `json:",omitempty"`
	Remark       string
	Terms        *privilege.Terms `json:",omitempty"` // nil: those of the share that exists, if any
	Devices      []DeviceGrants
}

// Save shares devices with somebody, registered or not: in a new share, or as more
// devices in the existing one.
func (s *Shares) Save(ctx context.Context, m Meta, n NewShare) (ShareSaved, error) {
	n.Devices = withIDs(n.Devices)
	code := n.Code
	if code != "" {
		n.Code = s.core.sealer.LoginHash("share code", code)
	}
	c, err := s.core.begin(m, "save share", n)
	if err != nil {
		return ShareSaved{}, err
	}
	f := faults{}
	to := recipient{}
	if code == "" {
		to.kind, to.address = f.oneAddress("recipient", n.Email, n.Phone)
	}
	f.text("remark", n.Remark, maxRemark)
	f.devices(n.Devices, share.MaxDevices)
	if err := f.err(); err != nil {
		return ShareSaved{}, err
	}
	if code != "" {
		return s.saveByCode(ctx, c, code, n)
	}
	if to.login, err = s.core.loginOf(ctx, to.kind, n.Email, to.address); err != nil {
		return ShareSaved{}, err
	}
	return s.save(ctx, c, saving{NewShare: n, to: to})
}

// saveByCode is Save for whoever made a code of their own.
func (s *Shares) saveByCode(ctx context.Context, c command, code string, n NewShare) (ShareSaved, error) {
	claimed, giveBack, err := s.claimCode(ctx, c, codeOfRecipient, code)
	if err != nil {
		return ShareSaved{}, point(err, "recipient.code")
	}
	to, err := s.core.addressOf(ctx, claimed.Account)
	if err != nil {
		return ShareSaved{}, point(refused(errCode), "recipient.code") // it lost its address meanwhile
	}
	saved, err := s.save(ctx, c, saving{NewShare: n, to: to})
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Unavailable {
		giveBack()
	}
	return saved, err
}

// saving is what to share with a recipient.
type saving struct {
	NewShare
	to recipient
	// add is set if the share, if there is one, only gets devices, without those that
	// cannot be offered.
	add bool
}

// save shares devices.
func (s *Shares) save(ctx context.Context, c command, n saving) (ShareSaved, error) {
	if err := s.core.refuseUnproven(ctx, c.Account); err != nil {
		return ShareSaved{}, err
	}
	to := n.to
	save := share.Save{Share: share.ID(c.Account, to.login), By: c.Account, Login: to.login, Kind: to.kind, Terms: n.Terms, At: c.at}
	var err error
	if save.Recipient, err = s.core.seal(ctx, loginStream(to.login), event.FieldRecipient, to.address); err != nil {
		return ShareSaved{}, err
	}
	if save.Remark, err = s.core.seal(ctx, loginStream(to.login), event.FieldRemark, n.Remark); err != nil {
		return ShareSaved{}, err
	}
	room := s.core.room(c.Account, QuotaShares)
	done, err := s.change(ctx, change{command: c, share: save.Share, choose: func(t attempt) (share.Command, error) {
		save := save
		var err error
		if !t.there.state.Live {
			if err = room.take(ctx); err != nil {
				return nil, err
			}
		}
		if save.Holder, err = s.core.holder(ctx, to.login); err != nil {
			return nil, err
		}
		if save.Holder != c.Account {
			own, err := s.core.ofOwn(ctx, c.Account, to.login)
			if err != nil {
				return nil, err
			}
			if own { // an address that is not proven yet, whoever has it now
				save.Holder = c.Account
			}
		}
		save.Unreadable = s.core.outlived(ctx, t.there.state, save.Recipient)
		if save.Offers, err = t.look.offers(ctx, n.Devices); err != nil || !n.add {
			return save, err
		}
		if t.there.state.Live && !save.Unreadable {
			save.Remark = ""
		}
		if save.Holder != c.Account { // else it is refused whatever is offered
			save.Offers, err = s.core.offerable(ctx, t.there.state, save, save.Offers)
		}
		return save, err
	}})
	room.settled(done.answer.Position, err)
	if err != nil {
		return ShareSaved{}, point(err, fieldIn(n.Devices, err))
	}
	return ShareSaved{ShareChanged: done.answer, Created: done.opened}, nil
}

// outlived reports whether nobody can read the recipient of a share any more, whose address
// is sealed for another holder by now.
func (s *core) outlived(ctx context.Context, of share.State, recipient string) bool {
	if !of.Live || of.Recipient == recipient {
		return false
	}
	_, err := s.sealer.Unseal(ctx, event.FieldRecipient, of.Recipient)
	return err != nil
}

// KeepRemark, as a remark for Replace, leaves the remark unchanged. No real remark equals
// it: it is not UTF-8.
const KeepRemark = "\xff"

// Replace saves the remark and the whole list of devices of a share of the
// caller's.
func (s *Shares) Replace(ctx context.Context, m Meta, id, remark string, terms *privilege.Terms, devices []DeviceGrants) (ShareChanged, error) {
	devices = withIDs(devices)
	args := []any{id, remark, devices}
	if terms != nil { // older requests were fingerprinted without
		args = append(args, terms)
	}
	c, err := s.core.begin(m, "replace share", args...)
	if err != nil {
		return ShareChanged{}, err
	}
	f := faults{}
	if remark != KeepRemark {
		f.text("remark", remark, maxRemark)
	}
	f.devices(devices, share.MaxListed)
	if err := f.err(); err != nil {
		return ShareChanged{}, err
	}
	done, err := s.changeExisting(ctx, change{command: c, share: id, choose: func(t attempt) (share.Command, error) {
		replace := share.Replace{By: c.Account, Remark: t.there.state.Remark, Terms: terms, At: c.at}
		if !t.by.owner {
			return replace, nil
		}
		var err error
		if remark != KeepRemark {
			if replace.Remark, err = s.core.seal(ctx, loginStream(t.by.login), event.FieldRemark, remark); err != nil {
				return nil, err
			}
		}
		replace.Offers, err = t.look.offers(ctx, devices)
		return replace, err
	}})
	return done.answer, point(err, fieldIn(devices, err))
}

// PutDevice offers one device in a share of the caller's, or changes its grants.
func (s *Shares) PutDevice(ctx context.Context, m Meta, id string, d DeviceGrants) (ShareChanged, error) {
	d.Device = device.Canonical(d.Device)
	c, err := s.core.begin(m, "put device", id, d)
	if err != nil {
		return ShareChanged{}, err
	}
	f := faults{}
	f.grants("channels", d.Grants)
	if err := f.err(); err != nil {
		return ShareChanged{}, err
	}
	done, err := s.changeExisting(ctx, change{command: c, share: id, choose: func(t attempt) (share.Command, error) {
		put := share.PutDevice{By: c.Account, Offer: share.Offer{Device: d.Device, Grants: d.Grants, Terms: d.Terms}, At: c.at}
		if !t.by.owner {
			return put, nil
		}
		var err error
		put.Offer.Facts, err = t.look.facts(ctx, d.Device)
		return put, err
	}})
	if err != nil {
		return ShareChanged{}, point(err, d.field(err))
	}
	return done.unlessGone(d.Device)
}

// WholeShare is the device to pass to Pause and Resume for every device of the share. No
// device has this id.
const WholeShare = ""

// Pause suspends what a device in a share of the caller's grants, or the whole share.
func (s *Shares) Pause(ctx context.Context, m Meta, id, typed string) (ShareChanged, error) {
	return s.setPaused(ctx, m, "pause", id, typed, func(by, device string, at time.Time) share.Command {
		return share.Pause{By: by, Device: device, At: at}
	})
}

// Resume ends Pause of the same device or share.
func (s *Shares) Resume(ctx context.Context, m Meta, id, typed string) (ShareChanged, error) {
	return s.setPaused(ctx, m, "resume", id, typed, func(by, device string, at time.Time) share.Command {
		return share.Resume{By: by, Device: device, At: at}
	})
}

func (s *Shares) setPaused(
	ctx context.Context, m Meta, name, id, typed string, todo func(by, device string, at time.Time) share.Command,
) (ShareChanged, error) {
	device := device.Canonical(typed)
	c, err := s.core.begin(m, name, id, device)
	if err != nil {
		return ShareChanged{}, err
	}
	done, err := s.changeExisting(ctx, change{command: c, share: id, choose: func(attempt) (share.Command, error) {
		if typed != WholeShare && device == WholeShare { // to pause everything must be meant
			return nil, share.ErrNotInShare
		}
		return todo(c.Account, device, c.at), nil
	}})
	return done.answer, err
}

// RemoveDevice removes one device if the caller owns the share, and gives it up if the
// caller is the recipient.
func (s *Shares) RemoveDevice(ctx context.Context, m Meta, id, typed string) (Done, error) {
	device := device.Canonical(typed)
	c, err := s.core.begin(m, "remove device", id, device)
	if err != nil {
		return Done{}, err
	}
	done, err := s.changeExisting(ctx, change{command: c, share: id, quiet: true, leaves: true, choose: func(t attempt) (share.Command, error) {
		if t.by.owner {
			return share.RemoveDevice{By: c.Account, Device: device, At: c.at}, nil
		}
		if device == "" { // leaving everything must be intended
			return nil, share.ErrNotInShare
		}
		return share.Leave{By: c.Account, Holder: t.by.holder, Device: device, At: c.at}, nil
	}})
	return Done{Position: done.answer.Position}, err
}

// Delete ends the share if the caller owns it, and leaves all of it if the caller
// is the recipient.
func (s *Shares) Delete(ctx context.Context, m Meta, id string) (Done, error) {
	c, err := s.core.begin(m, "delete share", id)
	if err != nil {
		return Done{}, err
	}
	done, err := s.changeExisting(ctx, change{command: c, share: id, quiet: true, leaves: true, choose: func(t attempt) (share.Command, error) {
		if t.by.owner {
			return share.Delete{By: c.Account, At: c.at}, nil
		}
		return share.Leave{By: c.Account, Holder: t.by.holder, At: c.at}, nil
	}})
	if err != nil {
		return Done{}, err
	}
	s.core.freed(c.Account, QuotaShares, done.answer.Position)
	return Done{Position: done.answer.Position}, nil
}

// withIDs converts what was entered to ids.
func withIDs(list []DeviceGrants) []DeviceGrants {
	list = slices.Clone(list)
	for i := range list {
		list[i].Device = device.Canonical(list[i].Device)
	}
	return list
}

// devices limits a list of devices; the decider judges its content.
func (f faults) devices(list []DeviceGrants, most int) {
	if len(list) > most {
		f.add("devices", "are more than "+strconv.Itoa(most))
		return
	}
	for i, d := range list {
		f.grants(Field("devices").Entry(i).Dot("channels"), d.Grants)
	}
}

func (f faults) grants(at Field, list []share.Grant) {
	if len(list) > privilege.MaxChannel {
		f.add(at, "are more than "+strconv.Itoa(privilege.MaxChannel))
	}
}
