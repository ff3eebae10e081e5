package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"latchkey/domain/ids"
	"latchkey/domain/name"
	"latchkey/domain/share"
)

// names are the names that accounts give devices: their device domains. A name is unique
// within an account.
type names struct {
	core    *core
	domains Domains
}

// errNameUsed refuses a device whose id the account uses as the domain of another device.
var errNameUsed = errors.New("you use this device's id as the domain of another device; change that domain first")

// claim claims a name for a device. taken: the account uses the name for something else.
// Setting a name first claims it and then looks for a device with this id; acquiring a
// device first acquires it and then looks for a claim. So of two concurrent commands, at
// least one sees the other.
func (n names) claim(ctx context.Context, c command, login string, claim name.Claim) (taken bool, err error) {
	if taken, err = n.meansDevice(ctx, ids.Account(c.Account), login, ids.Device(claim.Device), claim.Domain); err != nil || taken {
		return taken, err
	}
	there, err := load(ctx, n.core, nameKind, nameStream(ids.Account(claim.Account), claim.Domain))
	if err != nil {
		return false, err
	}
	if claim.Held, err = n.holds(ctx, there.state); err != nil {
		return false, err
	}
	events, err := name.Decide(there.state, claim)
	if errors.Is(err, name.ErrTaken) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// Each attempt claims for the revision that it reads: the events are new ones.
	list, err := pending(command{Meta: Meta{Account: c.Account}, request: c.request, seed: uuid.New()}, there, events, name.Evolve)
	if err != nil {
		return false, err
	}
	if _, err := n.core.append(ctx, there.name, there.revision(), list); err != nil {
		return false, err
	}
	return n.meansDevice(ctx, ids.Account(c.Account), login, ids.Device(claim.Device), claim.Domain)
}

// meansDevice reports whether an account already uses a name for another device: as its
// id, or as a domain from before names were claimed.
func (n names) meansDevice(ctx context.Context, account ids.Account, login string, device ids.Device, domain string) (bool, error) {
	taken, err := n.domainTaken(ctx, account, domain, device)
	if err != nil || taken || domain == string(device) {
		return taken, err
	}
	return n.core.maySee(ctx, account, login, ids.Device(domain))
}

func (n names) domainTaken(ctx context.Context, account ids.Account, domain string, device ids.Device) (bool, error) {
	taken, err := n.domains.DomainTaken(ctx, account, domain, device)
	if err != nil {
		return false, unavailable(fmt.Errorf("checking whether a device domain is taken: %w", err))
	}
	return taken, nil
}

// refuseUsed refuses a device that an account is about to get if the account uses its id
// as the domain of another one.
func (n names) refuseUsed(ctx context.Context, account ids.Account, device ids.Device) error {
	if !share.ValidDomain(string(device)) {
		return nil
	}
	used, err := n.claimed(ctx, account, string(device), device)
	if err == nil && !used {
		used, err = n.domainTaken(ctx, account, string(device), device)
	}
	if err == nil && used {
		err = errNameUsed
	}
	return err
}

// claimed reports whether a name is claimed for another device of the account that has
// the name or may still get it.
func (n names) claimed(ctx context.Context, account ids.Account, domain string, device ids.Device) (bool, error) {
	if !share.ValidDomain(domain) {
		return false, nil
	}
	there, err := load(ctx, n.core, nameKind, nameStream(account, domain))
	if err != nil || there.state.Of(string(device)) {
		return false, err
	}
	return n.holds(ctx, there.state)
}

// holds reports whether the device of a claim has the name, or may still get it. Only its
// share determines that, so a name is free again whenever the device leaves the share.
func (n names) holds(ctx context.Context, claim name.State) (bool, error) {
	if claim.Device == "" {
		return false, nil
	}
	there, err := n.core.loadShare(ctx, claim.Share)
	if err != nil || claim.Pending(there.revision(), n.core.now()) {
		return err == nil, err
	}
	d, ok := there.state.Find(claim.Device)
	return ok && there.state.Live && d.Status == share.StatusAccepted && d.Account == claim.Account && d.Domain == claim.Domain, nil
}
