package app

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// SaveShare shares devices with somebody, registered or not: a new share, or
// more devices in the one that there is.
func (s *Service) SaveShare(ctx context.Context, m Meta, n NewShare) (Result, error) {
	n.Devices = withIDs(n.Devices)
	c, err := s.begin(m, "save share", n)
	if err != nil {
		return Result{}, err
	}
	f := faults{}
	kind, address := f.oneAddress("/recipient", n.Email, n.Phone)
	f.text("/remark", n.Remark, maxRemark)
	f.devices(n.Devices, share.MaxDevices)
	if err := f.err(); err != nil {
		return Result{}, err
	}
	login, err := s.loginOf(ctx, kind, n.Email, address)
	if err != nil {
		return Result{}, err
	}
	save := share.Save{Share: share.ID(c.Account, login), By: c.Account, Login: login, Kind: kind, At: c.at}
	if save.Recipient, err = s.seal(ctx, loginStream(login), event.FieldRecipient, address); err != nil {
		return Result{}, err
	}
	if save.Remark, err = s.seal(ctx, loginStream(login), event.FieldRemark, n.Remark); err != nil {
		return Result{}, err
	}
	room := s.room(c.Account, QuotaShares)
	result, err := s.changeShare(ctx, c, save.Share, func(there stream[share.State], look *lookup) (share.Command, error) {
		save := save
		var err error
		if !there.state.Live {
			if err = room.take(ctx); err != nil {
				return nil, err
			}
		}
		if save.Holder, err = s.holder(ctx, login); err != nil {
			return nil, err
		}
		save.Offers, err = look.offers(ctx, n.Devices)
		return save, err
	})
	room.settled(result.Position, err)
	return result, point(err, pointerIn(n.Devices, err))
}

// KeepRemark, as a remark for ReplaceShare, leaves the remark as it is. No remark
// is like it: it is not UTF-8.
const KeepRemark = "\xff"

// ReplaceShare saves the remark and the whole list of devices of a share of the
// caller's.
func (s *Service) ReplaceShare(ctx context.Context, m Meta, id, remark string, devices []DeviceGrants) (Result, error) {
	devices = withIDs(devices)
	c, err := s.begin(m, "replace share", id, remark, devices)
	if err != nil {
		return Result{}, err
	}
	f := faults{}
	if remark != KeepRemark {
		f.text("/remark", remark, maxRemark)
	}
	f.devices(devices, share.MaxListed)
	if err := f.err(); err != nil {
		return Result{}, err
	}
	result, err := s.actOnShare(ctx, c, id, func(p party, there stream[share.State], look *lookup) (share.Command, error) {
		replace := share.Replace{By: c.Account, Remark: there.state.Remark, At: c.at}
		if !p.owner {
			return replace, nil
		}
		var err error
		if remark != KeepRemark {
			if replace.Remark, err = s.seal(ctx, loginStream(p.login), event.FieldRemark, remark); err != nil {
				return nil, err
			}
		}
		replace.Offers, err = look.offers(ctx, devices)
		return replace, err
	})
	return result, point(err, pointerIn(devices, err))
}

// PutShareDevice offers one device in a share of the caller's, or changes what
// is given on it.
func (s *Service) PutShareDevice(ctx context.Context, m Meta, id string, d DeviceGrants) (Result, error) {
	d.Device = device.Canonical(d.Device)
	c, err := s.begin(m, "put device", id, d)
	if err != nil {
		return Result{}, err
	}
	f := faults{}
	f.grants("/channels", d.Grants)
	if err := f.err(); err != nil {
		return Result{}, err
	}
	result, err := s.actOnShare(ctx, c, id, func(p party, _ stream[share.State], look *lookup) (share.Command, error) {
		put := share.PutDevice{By: c.Account, Offer: share.Offer{Device: d.Device, Grants: d.Grants}, At: c.at}
		if !p.owner {
			return put, nil
		}
		var err error
		put.Offer.Facts, err = look.facts(ctx, d.Device)
		return put, err
	})
	return result.unlessGone(d.Device, point(err, d.pointer(err)))
}

// RemoveShareDevice takes one device back where the caller owns the share, and
// gives it up where the caller is the recipient.
func (s *Service) RemoveShareDevice(ctx context.Context, m Meta, id, typed string) (Result, error) {
	device := device.Canonical(typed)
	c, err := s.begin(m, "remove device", id, device)
	if err != nil {
		return Result{}, err
	}
	c.quiet = true
	return s.actOnShare(ctx, c, id, func(p party, _ stream[share.State], _ *lookup) (share.Command, error) {
		if p.owner {
			return share.RemoveDevice{By: c.Account, Device: device, At: c.at}, nil
		}
		if device == "" { // to leave everything must be meant
			return nil, share.ErrNotInShare
		}
		return share.Leave{By: c.Account, Holder: p.holder, Device: device, At: c.at}, nil
	})
}

// DeleteShare ends the share where the caller owns it, and leaves all of it
// where the caller is the recipient.
func (s *Service) DeleteShare(ctx context.Context, m Meta, id string) (Result, error) {
	c, err := s.begin(m, "delete share", id)
	if err != nil {
		return Result{}, err
	}
	c.quiet = true
	result, err := s.actOnShare(ctx, c, id, func(p party, _ stream[share.State], _ *lookup) (share.Command, error) {
		if p.owner {
			return share.Delete{By: c.Account, At: c.at}, nil
		}
		return share.Leave{By: c.Account, Holder: p.holder, At: c.at}, nil
	})
	if err == nil {
		s.freed(c.Account, QuotaShares)
	}
	return result, err
}

// party says what the caller is to a share: its owner, or its recipient.
type party struct {
	owner  bool
	login  string
	holder string // the account that holds the login; not looked up for the owner
}

// actOnShare does a command on a share that there is, for its owner or its
// recipient. To all others there is no such share.
func (s *Service) actOnShare(
	ctx context.Context, c command, id string, choose func(party, stream[share.State], *lookup) (share.Command, error),
) (Result, error) {
	owner, login, ok := share.Parties(id)
	if !ok {
		return Result{}, refused(share.ErrNotFound)
	}
	p := party{owner: owner == c.Account, login: login}
	if !p.owner {
		var err error
		if p.holder, err = s.holder(ctx, login); err != nil {
			return Result{}, err
		}
		if p.holder != c.Account {
			return Result{}, refused(share.ErrNotFound)
		}
	}
	return s.changeShare(ctx, c, id, func(there stream[share.State], look *lookup) (share.Command, error) {
		if !there.state.Live {
			return nil, share.ErrNotFound
		}
		if c.IfMatch != nil && *c.IfMatch != there.revision() {
			return nil, &Error{
				Code: "revision_changed", Kind: Precondition,
				Message: "The share is at revision " + strconv.FormatInt(there.revision(), 10) + ".",
			}
		}
		return choose(p, there, look)
	})
}

// changeShare runs a command over the stream of a share. What choose looks up is
// looked up after the stream was loaded, and anew for every try.
func (s *Service) changeShare(
	ctx context.Context, c command, id string, choose func(stream[share.State], *lookup) (share.Command, error),
) (Result, error) {
	look := newLookup(s)
	done, err := run(ctx, s, c, shareStream(id), share.Evolve, func(there stream[share.State]) ([]share.Event, error) {
		look = newLookup(s)
		todo, err := choose(there, look)
		if err != nil {
			return nil, err
		}
		events, err := share.Decide(there.state, todo)
		if err == nil && there.state.Live && life(there.events) > maxHistory && !onlyTakesAway(there.state, events) {
			return nil, &Error{Code: "share_too_long", Kind: Invalid, Message: "This share was changed too often. Delete it and share again; until then it takes only what takes away."}
		}
		return events, err
	})
	if err != nil {
		return Result{}, err
	}
	done, gone := s.endGone(ctx, c, id, done)
	result := Result{Position: done.position, Revision: done.revision, Share: &done.state, gone: gone}
	if len(done.events) > 0 {
		_, result.Created = done.events[0].(share.Opened)
	}
	if !c.quiet {
		result.Names, err = look.names(ctx, done.state)
	}
	return result, err
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

// endGone looks again at the devices that a command has just given: one that was
// removed meanwhile is taken out of the share at once. Either the removal finds
// the device in the share, or this finds it removed: no order of the two leaves
// it there. What fails here the policy does, which follows the same events.
func (s *Service) endGone(ctx context.Context, c command, id string, done outcome[share.State, share.Event]) (
	now outcome[share.State, share.Event], gone []string,
) {
	for _, device := range given(done) {
		is, err := s.gone(ctx, device)
		if err != nil {
			s.logger.WarnContext(ctx, "looking again at a device that is shared failed", "device", device, "error", err)
			continue
		}
		if !is {
			continue
		}
		gone = append(gone, device)
		ended, err := s.endShareOfDevice(ctx, c.id(shareStream(id), 0), device, id)
		if err != nil {
			s.logger.WarnContext(ctx, "taking a removed device out of a share failed", "device", device, "share", id, "error", err)
			continue
		}
		done.state, done.revision, done.position = ended.state, ended.revision, max(done.position, ended.position)
	}
	return done, gone
}

// given are the devices that a command gave and that are still in the share.
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

// lookup finds devices, each of them once.
type lookup struct {
	service *Service
	mu      sync.Mutex
	found   map[string]device.State
}

// lookupsAtOnce is how many devices are looked up at the same time.
const lookupsAtOnce = 16

// all looks devices up beside each other: one after the other, a share of hundreds
// waits as often for the log.
func (l *lookup) all(ctx context.Context, ids []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookupsAtOnce)
	for _, id := range ids {
		g.Go(func() error {
			_, err := l.device(ctx, id)
			return err
		})
	}
	return g.Wait()
}

func newLookup(s *Service) *lookup {
	return &lookup{service: s, found: make(map[string]device.State)}
}

// device gives the zero State for a device that there is not.
func (l *lookup) device(ctx context.Context, id string) (device.State, error) {
	l.mu.Lock()
	d, ok := l.found[id]
	l.mu.Unlock()
	if ok {
		return d, nil
	}
	d, err := l.service.loadDevice(ctx, id)
	if err == nil {
		l.mu.Lock()
		l.found[id] = d
		l.mu.Unlock()
	}
	return d, err
}

func (l *lookup) facts(ctx context.Context, id string) (share.Facts, error) {
	d, err := l.device(ctx, id)
	if err != nil || !d.Live {
		return share.Facts{}, err
	}
	f := share.Facts{Owner: d.Owner, Capabilities: make(map[int]privilege.Set, len(d.Channels))}
	for _, c := range d.Channels {
		f.Capabilities[c.Channel] = c.Capabilities
	}
	return f, nil
}

func (l *lookup) offers(ctx context.Context, list []DeviceGrants) ([]share.Offer, error) {
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.Device
	}
	if err := l.all(ctx, ids); err != nil {
		return nil, err
	}
	offers := make([]share.Offer, len(list))
	for i, d := range list {
		f, err := l.facts(ctx, d.Device)
		if err != nil {
			return nil, err
		}
		offers[i] = share.Offer{Device: d.Device, Grants: d.Grants, Facts: f}
	}
	return offers, nil
}

// names gives the sealed names of the devices in a share.
func (l *lookup) names(ctx context.Context, s share.State) (map[string]string, error) {
	ids := make([]string, len(s.Devices))
	for i, d := range s.Devices {
		ids[i] = d.Device
	}
	if err := l.all(ctx, ids); err != nil {
		return nil, err
	}
	names := make(map[string]string, len(s.Devices))
	for _, d := range s.Devices {
		found, err := l.device(ctx, d.Device)
		if err != nil {
			return nil, err
		}
		names[d.Device] = found.Name
	}
	return names, nil
}

// withIDs makes ids of what was typed.
func withIDs(list []DeviceGrants) []DeviceGrants {
	list = slices.Clone(list)
	for i := range list {
		list[i].Device = device.Canonical(list[i].Device)
	}
	return list
}

// devices bounds a list of devices; what is in it the decider judges.
func (f faults) devices(list []DeviceGrants, most int) {
	if len(list) > most {
		f.add("/devices", "are more than "+strconv.Itoa(most))
		return
	}
	for i, d := range list {
		f.grants("/devices/"+strconv.Itoa(i)+"/channels", d.Grants)
	}
}

func (f faults) grants(at string, list []share.Grant) {
	if len(list) > share.MaxChannel {
		f.add(at, "are more than "+strconv.Itoa(share.MaxChannel))
	}
}
