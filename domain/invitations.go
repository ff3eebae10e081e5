package domain

import (
	"context"
	"fmt"

	"latchkey/domain/share"
)

// Accept accepts an invitation: its grants are in force from now on.
func (s *Service) Accept(ctx context.Context, m Meta, id, device string) (Result, error) {
	device = DeviceID(device)
	c, err := s.begin(m, "accept", id, device)
	if err != nil {
		return Result{}, err
	}
	result, err := s.actOnShare(ctx, c, id, func(p party, look *lookup) (share.Command, error) {
		facts, err := look.facts(ctx, device)
		return share.Accept{By: c.Account, Holder: p.holder, Device: device, Facts: facts, At: c.at}, err
	})
	return result.unlessGone(device, err)
}

// Reject refuses an invitation, or gives back what was accepted.
func (s *Service) Reject(ctx context.Context, m Meta, id, device string) (Result, error) {
	device = DeviceID(device)
	c, err := s.begin(m, "reject", id, device)
	if err != nil {
		return Result{}, err
	}
	return s.actOnShare(ctx, c, id, func(p party, _ *lookup) (share.Command, error) {
		return share.Reject{By: c.Account, Holder: p.holder, Device: device, At: c.at}, nil
	})
}

// SetDomain gives an accepted device the caller's own name, "" for none.
func (s *Service) SetDomain(ctx context.Context, m Meta, id, device, domain string) (Result, error) {
	device = DeviceID(device)
	c, err := s.begin(m, "set domain", id, device, domain)
	if err != nil {
		return Result{}, err
	}
	return s.actOnShare(ctx, c, id, func(p party, _ *lookup) (share.Command, error) {
		todo := share.SetDomain{By: c.Account, Holder: p.holder, Device: device, Domain: domain, At: c.at}
		if domain == "" || p.owner || !share.ValidDomain(domain) {
			return todo, nil
		}
		var err error
		todo.Taken, err = s.domainTaken(ctx, c.Account, p.login, device, domain)
		return todo, err
	})
}

// domainTaken says whether a domain already means another device to an account:
// by its domain or, as a domain goes before an id in stream addresses, by its id.
func (s *Service) domainTaken(ctx context.Context, account, login, device, domain string) (bool, error) {
	taken, err := s.domains.DomainTaken(ctx, account, domain, device)
	if err != nil {
		return false, unavailable(fmt.Errorf("asking whether a device domain is taken: %w", err))
	}
	if taken || domain == device {
		return taken, nil
	}
	return s.maySee(ctx, account, login, domain)
}
