package app

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"latchkey/domain/ids"
	"latchkey/domain/share"
)

// change is a command on a share.
type change struct {
	command
	share string // its id
	// choose returns the command for the decider. It is called once per attempt.
	choose func(attempt) (share.Command, error)
	quiet  bool // the result reveals nothing of what is in the share

	leaves   bool // the recipient gives up what the account has accepted, which needs no proof
	unproven bool // the recipient has not proven the address
	existing bool // the share must exist; otherwise the command may open it
	by       party
	look     *lookup // of the last attempt
	spent    int     // of the quota of invitations
}

// party is the caller's role in a share: owner or recipient.
type party struct {
	owner  bool
	login  string
	holder string // the account that holds the login; not looked up for the owner
}

// attempt is one attempt at a change. It ends with a conflict if the share was changed in
// the meantime; the next one looks everything up again.
type attempt struct {
	by    party
	there stream[share.State]
	look  *lookup
}

// changed is the result of a change.
type changed struct {
	answer ShareChanged
	latest share.State // as it is; for a repeat later than the answer
	opened bool        // by the change
	gone   []string    // devices that were granted and removed at the same time
}

// unlessGone refuses a command about a device that was removed at the same time.
func (r changed) unlessGone(device string) (ShareChanged, error) {
	if slices.Contains(r.gone, device) {
		return ShareChanged{}, refused(&share.Fault{Device: device, Err: share.ErrDeviceNotFound})
	}
	return r.answer, nil
}

// changeExisting changes an existing share for its owner or its recipient. For all others
// the share does not exist.
func (s *Shares) changeExisting(ctx context.Context, ch change) (changed, error) {
	owner, login, ok := share.Parties(ch.share)
	if !ok {
		return changed{}, refused(share.ErrNotFound)
	}
	ch.by, ch.existing = party{owner: owner == ch.Account, login: login}, true
	if !ch.by.owner {
		var err error
		if ch.by.holder, err = s.core.holder(ctx, login); err != nil {
			return changed{}, err
		}
		if ch.by.holder != ch.Account {
			return changed{}, refused(share.ErrNotFound)
		}
		proven, err := s.core.proven(ctx, ch.Account, login)
		if err != nil {
			return changed{}, err
		}
		if ch.unproven = !proven; ch.unproven && !ch.leaves {
			return changed{}, refused(share.ErrNotFound)
		}
	}
	return s.change(ctx, ch)
}

// change runs a command over the stream of a share.
func (s *Shares) change(ctx context.Context, ch change) (changed, error) {
	ch.look = newLookup(s.core)
	done, err := run(ctx, s.core, ch.command, onShare(ch.share), ch.decide)
	if err != nil {
		return changed{}, ch.withNames(ctx, err)
	}
	done, gone := s.endGone(ctx, ch.command, ch.share, done)
	result := changed{
		answer: ShareChanged{Position: done.position, Revision: done.revision, Share: done.state},
		latest: done.latest,
		gone:   gone,
	}
	for _, e := range done.events {
		if _, is := e.(share.Opened); is {
			result.opened = true
		}
	}
	if ch.existing && !ch.by.owner {
		result.answer.Share = done.state.ForRecipient(ch.Account)
	}
	if !ch.quiet {
		result.answer.Names, err = ch.look.names(ctx, done.state)
		result.answer.Devices = ch.look.found
	}
	return result, err
}

// withNames adds to an error what is needed to show the share that it holds.
func (ch *change) withNames(ctx context.Context, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Current == nil {
		return err
	}
	names, failed := ch.look.names(ctx, e.Current.Share)
	if failed != nil {
		return failed
	}
	e.Current.Names, e.Current.Devices = names, ch.look.found
	return e
}

// decide is one attempt.
func (ch *change) decide(there stream[share.State]) ([]share.Event, error) {
	if ch.existing {
		accepted := func(d share.Device) bool { return d.Account == ch.Account }
		if !there.state.Live || ch.unproven && !slices.ContainsFunc(there.state.Devices, accepted) {
			return nil, share.ErrNotFound
		}
		if !ch.by.owner && !there.state.ConcernsRecipient(ch.Account) {
			return nil, share.ErrNotFound
		}
		if ch.Revision != nil && *ch.Revision != there.revision() {
			return nil, &Error{
				Code: "revision_changed", Kind: Precondition,
				Message: "The share is at revision " + strconv.FormatInt(there.revision(), 10) + ".",
				Current: &ShareChanged{Position: there.position(), Revision: there.revision(), Share: there.state},
			}
		}
	}
	ch.look = newLookup(ch.look.core)
	todo, err := ch.choose(attempt{by: ch.by, there: there, look: ch.look})
	if err != nil {
		return nil, err
	}
	events, err := share.Decide(there.state, todo)
	if err == nil && there.state.Live && there.life > maxHistory && !onlyTakesAway(there.state, events) {
		return nil, &Error{Code: "share_too_long", Kind: Invalid, Message: "This share was changed too often. Delete it and share again; until then you can only remove things from it."}
	}
	if err == nil {
		err = ch.spend(events)
	}
	return events, err
}

// spend uses up the quota of the devices that are offered, once for all attempts.
func (ch *change) spend(events []share.Event) error {
	offered := 0
	for _, e := range events {
		if _, is := e.(share.Invited); is {
			offered++
		}
	}
	if offered <= ch.spent {
		return nil
	}
	err := ch.look.core.spend(ch.Account, QuotaInvitations, "", offered-ch.spent)
	if err == nil {
		ch.spent = offered
	}
	return err
}

func onlyTakesAway(state share.State, events []share.Event) bool {
	for _, e := range events {
		if !takesAway(state, e) {
			return false
		}
		state = share.Evolve(state, e)
	}
	return true
}

// endGone checks the devices that a command has just granted: one that was removed in the
// meantime is taken out of the share at once. Either the removal finds the device in the
// share, or this finds it removed: no order of the two leaves it there. If this fails,
// the policy, which follows the same events, does it.
func (s *Shares) endGone(ctx context.Context, c command, id string, done outcome[share.State, share.Event]) (
	now outcome[share.State, share.Event], gone []string,
) {
	for _, device := range given(done) {
		is, err := s.core.gone(ctx, device)
		if err != nil {
			s.core.logger.WarnContext(ctx, "checking a shared device again failed", "device", device, "error", err)
			continue
		}
		if !is {
			continue
		}
		gone = append(gone, device)
		ended, err := s.core.endShare(ctx, c.id(shareStream(id), 0), ids.Device(device), ids.Share(id))
		if err != nil {
			s.core.logger.WarnContext(ctx, "taking a removed device out of a share failed", "device", device, "share", id, "error", err)
			continue
		}
		done.state, done.revision, done.position = ended.state, ended.revision, max(done.position, ended.position)
	}
	return done, gone
}

// given returns the devices that a command granted and that are still in the share.
func given(done outcome[share.State, share.Event]) []string {
	var list []string
	for _, event := range done.events {
		var device string
		switch e := event.(type) {
		case share.Invited:
			device = e.Device
		case share.Accepted:
			device = e.Device
		case share.PrivilegesEdited:
			device = e.Device
		}
		if d, ok := done.latest.Find(device); ok && d.Active() && done.latest.Live {
			list = append(list, device)
		}
	}
	return list
}
