package projections

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// policy follows events with commands: when a device was removed, its shares
// end, and when a share offers or has a device that was removed meanwhile, it
// loses it. It holds no lock meanwhile: each process follows each event, and a
// command that is given again changes nothing.
type policy struct {
	cfg      RunnerConfig
	read     func(ctx context.Context, query func() error) error
	progress *progress
	logger   *slog.Logger
	identity eventstore.Identity

	persisted time.Time // the handler's own

	mu   sync.Mutex
	seen eventstore.Mark // of the last event of ours that was followed
	err  error
}

func newPolicy(cfg RunnerConfig, read func(context.Context, func() error) error, reached *progress) *policy {
	return &policy{cfg: cfg, read: read, progress: reached, logger: cfg.Logger, persisted: time.Now()}
}

func (p *policy) start(c *checkpoint) {
	p.seen = c.mark()
	p.identity = p.seen.Identity
	p.progress.reset(uint64(c.Position))
}

func (p *policy) from() eventstore.Position { return eventstore.Position(p.progress.position()) }

func (p *policy) mark() eventstore.Mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

func (p *policy) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// handle follows the events of a message. After an error the message comes
// again.
func (p *policy) handle(m *message.Message) error {
	err := p.follow(m.Context(), m.Payload)
	if m.Context().Err() != nil {
		return err
	}
	p.mu.Lock()
	other := err != nil && (p.err == nil || p.err.Error() != err.Error())
	p.err = err
	p.mu.Unlock()
	if other {
		p.logger.Error("the policies have stopped; trying again", "error", err)
	}
	return err
}

// linger is how old events are at least before they are followed. The command that wrote
// them does the same, if it is not cut off, and must not meet the policy at it.
const linger = 100 * time.Millisecond

func (p *policy) follow(ctx context.Context, payload []byte) error {
	batch, err := eventstore.DecodeBatch(payload)
	if err != nil {
		return fmt.Errorf("following events: %w", err)
	}
	seen, offers, removals, err := p.sort(batch.Events)
	if err != nil {
		return err
	}
	if len(offers)+len(removals) > 0 {
		last := batch.Events[len(batch.Events)-1].Created
		if !pause.For(ctx, min(linger, linger-time.Since(last))) {
			return ctx.Err()
		}
	}
	for _, r := range removals {
		if err := p.deviceRemoved(ctx, r); err != nil {
			return fmt.Errorf("following event %s at position %d: %w", r.cause, r.position, err)
		}
	}
	if err := p.offered(ctx, offers, uint64(batch.Position)); err != nil {
		return err
	}
	if len(removals) > 0 || time.Since(p.persisted) > persistEvery {
		if err := p.save(ctx, int64(batch.Position), seen); err != nil {
			return err
		}
		p.persisted = time.Now()
	}
	p.mu.Lock()
	p.seen = seen
	p.mu.Unlock()
	p.progress.reach(uint64(batch.Position))
	return nil
}

// followed is an event that says something of a device: that it was removed, or
// that a share offers or has it.
type followed struct {
	cause         uuid.UUID
	position      uint64
	device, share string
}

// sort picks the events that are followed.
func (p *policy) sort(events []eventstore.Recorded) (seen eventstore.Mark, offers, removals []followed, err error) {
	seen = p.mark()
	for i := range events {
		e := &events[i]
		if uint64(e.Position) <= p.progress.position() {
			continue
		}
		if strings.HasPrefix(e.Type, event.Prefix) {
			seen.Position, seen.Event = e.Position, e.ID
		}
		f := followed{cause: e.ID, position: uint64(e.Position)}
		if !slices.Contains(following, e.Type) {
			continue
		}
		v, err := catalogue.Decode(e.Type, e.Data)
		if err != nil {
			return seen, nil, nil, fmt.Errorf("following event %s at position %d: %w", e.ID, e.Position, err)
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
	return seen, offers, removals, nil
}

// following are the types of the events that are followed: the removal of a device, and
// those after which a share offers or has a device.
var following = []string{device.Removed{}.Type(), share.Invited{}.Type(), share.Accepted{}.Type(), share.PrivilegesEdited{}.Type()}

// deviceRemoved ends the shares of a device. Those that offer it later are ended
// when that event is followed.
func (p *policy) deviceRemoved(ctx context.Context, r followed) error {
	var shares DeviceShares
	err := p.read(ctx, func() (err error) {
		shares, err = p.cfg.Store.SharesWithDevice(ctx, r.device, r.position)
		return err
	})
	if err != nil {
		return err
	}
	return p.cfg.EndShares(ctx, r.cause, r.device, shares.Holding)
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
	err := p.read(ctx, func() (err error) {
		removed, err = p.cfg.Store.RemovedDevices(ctx, ids, position)
		return err
	})
	if err != nil {
		return err
	}
	for _, o := range offers {
		if !slices.Contains(removed, o.device) {
			continue
		}
		if err := p.cfg.EndShares(ctx, o.cause, o.device, []string{o.share}); err != nil {
			return fmt.Errorf("following event %s at position %d: %w", o.cause, o.position, err)
		}
	}
	return nil
}

// save writes the checkpoint, unless another process is further.
func (p *policy) save(ctx context.Context, position int64, seen eventstore.Mark) error {
	s := p.cfg.Store
	return s.writing(ctx, func(ctx context.Context, tx bun.Tx) error {
		c, err := s.lock(ctx, tx, policies)
		if err != nil || c.Position >= position {
			return err
		}
		if c.mark().Identity != p.identity {
			return fmt.Errorf("the policies: %w, to another epoch of the log", errWentBack)
		}
		c.Position, c.State, c.Error = position, stateRunning, ""
		c.setMark(seen)
		return s.save(ctx, tx, c)
	})
}
