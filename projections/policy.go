package projections

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// policy follows events with commands: when a device was removed, its shares
// end, and when a share offers or has a device that was removed meanwhile, it
// loses it. It holds no lock meanwhile: each process follows each event, and a
// command that is given again changes nothing.
type policy struct {
	runner *Runner
	end    EndShares

	persisted time.Time
}

// EndShares takes a device out of shares. cause is the id of the event that this
// follows; it may be called again for the same one, by several processes at once.
type EndShares func(ctx context.Context, cause uuid.UUID, device string, shares []string) error

// Name is that of the checkpoint.
func (p *policy) Name() string { return policies }

// Start begins a round.
func (p *policy) Start(uint64, eventstore.Mark) { p.persisted = time.Now() }

// linger is how old events are at least before they are followed. The command that wrote
// them does the same, if it is not cut off, and must not meet the policy at it.
const linger = 100 * time.Millisecond

// Follow follows events.
func (p *policy) Follow(ctx context.Context, events []eventstore.Recorded, position uint64, seen eventstore.Mark) error {
	offers, removals, err := p.sort(events)
	if err != nil {
		return err
	}
	if len(offers)+len(removals) > 0 {
		last := events[len(events)-1].Created
		if !pause.For(ctx, min(linger, linger-time.Since(last))) {
			return ctx.Err()
		}
	}
	for _, r := range removals {
		if err := p.deviceRemoved(ctx, r); err != nil {
			return fmt.Errorf("following event %s at position %d: %w", r.cause, r.position, err)
		}
	}
	if err := p.offered(ctx, offers, position); err != nil {
		return err
	}
	if len(removals) > 0 || time.Since(p.persisted) > persistEvery {
		if err := p.runner.store.SaveFollowed(ctx, policies, position, seen); err != nil {
			return err
		}
		p.persisted = time.Now()
	}
	return nil
}

// persistEvery is how often the checkpoint is written although nothing was done.
const persistEvery = 30 * time.Second

// followed is an event that says something of a device: that it was removed, or
// that a share offers or has it.
type followed struct {
	cause         uuid.UUID
	position      uint64
	device, share string
}

// sort picks the events that are followed.
func (p *policy) sort(events []eventstore.Recorded) (offers, removals []followed, err error) {
	for i := range events {
		e := &events[i]
		f := followed{cause: e.ID, position: uint64(e.Position)}
		if !slices.Contains(following, e.Type) {
			continue
		}
		v, err := catalogue.Decode(e.Type, e.Data)
		if err != nil {
			return nil, nil, fmt.Errorf("following event %s at position %d: %w", e.ID, e.Position, err)
		}
		switch v := v.(type) {
		case device.Removed:
			f.device = v.Device
			removals = append(removals, f)
			continue
		case share.Invited:
			f.device, f.share = v.Device, v.Share
		case share.Accepted:
			f.device, f.share = v.Device, v.Share
		case share.PrivilegesEdited:
			f.device, f.share = v.Device, v.Share
		}
		offers = append(offers, f)
	}
	return offers, removals, nil
}

// following are the types of the events that are followed: the removal of a device, and
// those after which a share offers or has a device.
var following = []string{device.Removed{}.Type(), share.Invited{}.Type(), share.Accepted{}.Type(), share.PrivilegesEdited{}.Type()}

// deviceRemoved ends the shares of a device. Those that offer it later are ended
// when that event is followed.
func (p *policy) deviceRemoved(ctx context.Context, r followed) error {
	var shares DeviceShares
	err := p.runner.ReadAt(ctx, func() (err error) {
		shares, err = p.runner.store.SharesWithDevice(ctx, r.device, r.position)
		return err
	})
	if err != nil {
		return err
	}
	return p.end(ctx, r.cause, r.device, shares.Holding)
}

// offered takes devices out of shares that offer or have them, if they were
// removed already.
func (p *policy) offered(ctx context.Context, offers []followed, position uint64) error {
	if len(offers) == 0 {
		return nil
	}
	ids := make([]string, len(offers))
	for i, o := range offers {
		ids[i] = o.device
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var removed []string
	err := p.runner.ReadAt(ctx, func() (err error) {
		removed, err = p.runner.store.RemovedDevices(ctx, ids, position)
		return err
	})
	if err != nil {
		return err
	}
	for _, o := range offers {
		if !slices.Contains(removed, o.device) {
			continue
		}
		if err := p.end(ctx, o.cause, o.device, []string{o.share}); err != nil {
			return fmt.Errorf("following event %s at position %d: %w", o.cause, o.position, err)
		}
	}
	return nil
}
