package app

import (
	"context"

	"latchkey/domain/device"
	"latchkey/domain/name"
	"latchkey/domain/share"
)

// Accept accepts an invitation: its grants are in force from now on. A device
// whose id is the caller's domain for another device is refused: a name means one
// thing to an account.
func (s *Service) Accept(ctx context.Context, m Meta, id, typed string) (Result, error) {
	device := device.Canonical(typed)
	c, err := s.begin(m, "accept", id, device)
	if err != nil {
		return Result{}, err
	}
	result, err := s.actOnShare(ctx, c, id, func(p party, _ stream[share.State], look *lookup) (share.Command, error) {
		facts, err := look.facts(ctx, device)
		if err == nil && p.holder == c.Account {
			err = s.refuseUsed(ctx, c.Account, device)
		}
		return share.Accept{By: c.Account, Holder: p.holder, Device: device, Facts: facts, At: c.at}, err
	})
	if result, err = result.unlessGone(device, err); err != nil {
		return result, err
	}
	if used, err := s.claimed(ctx, c.Account, device, device); err != nil || !used {
		return result, err
	}
	return Result{}, s.giveBack(ctx, c, id, device)
}

// giveBack takes back an acceptance that met a claim of the same name.
func (s *Service) giveBack(ctx context.Context, c command, id, device string) error {
	_, err := follow(ctx, s, c.id(shareStream(id), 0), shareStream(id), share.Evolve, func(there stream[share.State]) ([]share.Event, error) {
		if d, ok := there.state.Find(device); !ok || d.Account != c.Account || !there.state.Live {
			return nil, nil
		}
		return share.Decide(there.state, share.Leave{By: c.Account, Holder: c.Account, Device: device, At: s.now()})
	})
	if err != nil {
		return err
	}
	return refused(errNameUsed)
}

// Reject refuses an invitation, or gives back what was accepted.
func (s *Service) Reject(ctx context.Context, m Meta, id, typed string) (Result, error) {
	device := device.Canonical(typed)
	c, err := s.begin(m, "reject", id, device)
	if err != nil {
		return Result{}, err
	}
	return s.actOnShare(ctx, c, id, func(p party, _ stream[share.State], _ *lookup) (share.Command, error) {
		return share.Reject{By: c.Account, Holder: p.holder, Device: device, At: c.at}, nil
	})
}

// SetDomain gives an accepted device the caller's own name, "" for none. A name
// means one thing to an account: it is claimed in a stream of its own first, and
// looked at again when the device has it.
func (s *Service) SetDomain(ctx context.Context, m Meta, id, typed, domain string) (Result, error) {
	device := device.Canonical(typed)
	c, err := s.begin(m, "set domain", id, device, domain)
	if err != nil {
		return Result{}, err
	}
	result, err := s.actOnShare(ctx, c, id, func(p party, there stream[share.State], _ *lookup) (share.Command, error) {
		todo := share.SetDomain{By: c.Account, Holder: p.holder, Device: device, Domain: domain, At: c.at}
		if events, err := share.Decide(there.state, todo); domain == "" || err != nil || len(events) == 0 {
			return todo, nil // the decider says it again
		}
		var err error
		todo.Taken, err = s.claimName(ctx, c, p.login, name.Claim{
			Account: c.Account, Domain: domain, Share: id, Device: device, Revision: there.revision(), At: c.at,
		})
		return todo, err
	})
	if err != nil || domain == "" {
		return result, err
	}
	if d, _ := result.Share.Find(device); d.Domain != domain {
		return result, nil
	}
	lost, err := s.claimed(ctx, c.Account, domain, device)
	if err != nil || !lost {
		return result, err
	}
	return Result{}, s.takeNameBack(ctx, c, id, device, domain)
}

// takeNameBack takes a name from a device whose claim lapsed before it got it.
func (s *Service) takeNameBack(ctx context.Context, c command, id, device, domain string) error {
	_, err := follow(ctx, s, c.id(shareStream(id), 0), shareStream(id), share.Evolve, func(there stream[share.State]) ([]share.Event, error) {
		d, ok := there.state.Find(device)
		if !ok || !there.state.Live || d.Account != c.Account || d.Domain != domain {
			return nil, nil
		}
		return share.Decide(there.state, share.SetDomain{By: c.Account, Holder: c.Account, Device: device, At: s.now()})
	})
	if err != nil {
		return err
	}
	return refused(share.ErrDomainTaken)
}
