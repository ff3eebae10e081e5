package app

import (
	"context"
	"errors"

	"latchkey/domain/device"
	"latchkey/domain/ids"
	"latchkey/domain/name"
	"latchkey/domain/share"
)

// Accept accepts an invitation: its grants take effect. A device whose id is the caller's
// domain for another device is refused: a name is unique within an account.
func (s *Shares) Accept(ctx context.Context, m Meta, id, typed string) (ShareChanged, error) {
	device := device.Canonical(typed)
	c, err := s.core.begin(m, "accept", id, device)
	if err != nil {
		return ShareChanged{}, err
	}
	var answer ShareChanged
	// One at a time: another share may offer the account the same device.
	err = s.core.inTurn(ctx, "accept-"+c.Account+"-"+device, c.Account, func() (err error) {
		answer, err = s.accept(ctx, c, id, device)
		return err
	})
	return answer, err
}

func (s *Shares) accept(ctx context.Context, c command, id, device string) (ShareChanged, error) {
	done, err := s.changeExisting(ctx, change{command: c, share: id, choose: func(t attempt) (share.Command, error) {
		facts, err := t.look.facts(ctx, device)
		if d, _ := t.there.state.Find(device); err == nil && d.Status == share.StatusInvited && t.by.holder == c.Account {
			err = s.core.refuseElsewhere(ctx, c.Account, id, device)
		}
		if err == nil && t.by.holder == c.Account {
			err = s.names.refuseUsed(ctx, ids.Account(c.Account), ids.Device(device))
		}
		return share.Accept{By: c.Account, Holder: t.by.holder, Device: device, Facts: facts, At: c.at}, err
	}})
	if err != nil {
		return ShareChanged{}, err
	}
	if err := s.stillRecipient(ctx, c, id, device); err != nil {
		return ShareChanged{}, err
	}
	answer, err := done.unlessGone(device)
	if err != nil {
		return ShareChanged{}, err
	}
	if used, err := s.names.claimed(ctx, ids.Account(c.Account), device, ids.Device(device)); err != nil || !used {
		return answer, err
	}
	return ShareChanged{}, s.giveBack(ctx, c, id, device, refused(errNameUsed))
}

// stillRecipient undoes an acceptance by an account that has lost the address meanwhile, or
// has accepted the device by another share in another process. In either case the other
// command finds what was accepted, or this finds what the other has done.
func (s *Shares) stillRecipient(ctx context.Context, c command, id, device string) error {
	owner, login, _ := share.Parties(id)
	has, of, err := s.core.hasNow(ctx, c.Account, login)
	if err != nil {
		return err
	}
	if !has {
		if _, err := s.core.giveUp(ctx, c.id(shareStream(id), 0), c.Account, id); err != nil {
			return unavailable(err)
		}
		return refused(share.ErrNotFound)
	}
	other, err := s.core.elsewhere(ctx, owner, of, login, device)
	if err != nil || other == "" {
		return err
	}
	return s.giveBack(ctx, c, id, device, alreadyAccepted(other))
}

// giveBack undoes an acceptance that met a claim of the same name, or another acceptance.
func (s *Shares) giveBack(ctx context.Context, c command, id, device string, why error) error {
	cause := c.id(shareStream(id), 0)
	_, err := run(ctx, s.core, s.core.following(cause), onShare(id), func(there stream[share.State]) ([]share.Event, error) {
		if d, ok := there.state.Find(device); !ok || d.Account != c.Account || !there.state.Live {
			return nil, nil
		}
		return share.Decide(there.state, share.Leave{By: c.Account, Holder: c.Account, Device: device, At: s.core.now()})
	})
	if err != nil {
		return err
	}
	return why
}

// Reject refuses an invitation, or returns what was accepted.
func (s *Shares) Reject(ctx context.Context, m Meta, id, typed string) (ShareChanged, error) {
	device := device.Canonical(typed)
	c, err := s.core.begin(m, "reject", id, device)
	if err != nil {
		return ShareChanged{}, err
	}
	done, err := s.changeExisting(ctx, change{command: c, share: id, choose: func(t attempt) (share.Command, error) {
		return share.Reject{By: c.Account, Holder: t.by.holder, Device: device, At: c.at}, nil
	}})
	return done.answer, err
}

// SetDomain sets the caller's own name of an accepted device, "" for none. A name is
// unique within an account: it is first claimed in its own stream, and checked again when
// the device has it.
func (s *Shares) SetDomain(ctx context.Context, m Meta, id, typed, domain string) (ShareChanged, error) {
	device := device.Canonical(typed)
	c, err := s.core.begin(m, "set domain", id, device, domain)
	if err != nil {
		return ShareChanged{}, err
	}
	done, err := s.changeExisting(ctx, change{command: c, share: id, choose: func(t attempt) (share.Command, error) {
		set := share.SetDomain{By: c.Account, Holder: t.by.holder, Device: device, Domain: domain, At: c.at}
		if events, err := share.Decide(t.there.state, set); domain == "" || err != nil || len(events) == 0 {
			return set, nil // the decider refuses it again
		}
		var err error
		set.Taken, err = s.names.claim(ctx, c, t.by.login, name.Claim{
			Account: c.Account, Domain: domain, Share: id, Device: device, Revision: t.there.revision(), At: c.at,
		})
		return set, err
	}})
	if errors.Is(err, share.ErrBadDomain) || errors.Is(err, share.ErrDomainTaken) {
		err = point(err, "domain")
	}
	if err != nil || domain == "" {
		return done.answer, err
	}
	if d, _ := done.latest.Find(device); d.Domain != domain { // a repeat gets its answer
		return done.answer, nil
	}
	lost, err := s.names.claimed(ctx, ids.Account(c.Account), domain, ids.Device(device))
	if err != nil || !lost {
		return done.answer, err
	}
	return ShareChanged{}, s.takeNameBack(ctx, c, id, device, domain)
}

// takeNameBack removes a name from a device whose claim lapsed before it got it.
func (s *Shares) takeNameBack(ctx context.Context, c command, id, device, domain string) error {
	cause := c.id(shareStream(id), 0)
	_, err := run(ctx, s.core, s.core.following(cause), onShare(id), func(there stream[share.State]) ([]share.Event, error) {
		d, ok := there.state.Find(device)
		if !ok || !there.state.Live || d.Account != c.Account || d.Domain != domain {
			return nil, nil
		}
		return share.Decide(there.state, share.SetDomain{By: c.Account, Holder: c.Account, Device: device, At: s.core.now()})
	})
	if err != nil {
		return err
	}
	return refused(share.ErrDomainTaken)
}
