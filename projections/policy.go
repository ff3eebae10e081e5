package projections

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/uptrace/bun"

	"latchkey/domain/device"
	"latchkey/eventstore"
	"latchkey/projections/internal/event"
)

// policy follows events with commands: when a device was removed, its shares
// end. It holds no lock meanwhile: each process follows each event, and a
// command that is given again changes nothing.
type policy struct {
	cfg      RunnerConfig
	sent     *progress // of sent_shares
	progress *progress
	logger   *slog.Logger

	persisted time.Time // the handler's own

	mu  sync.Mutex
	err error
}

func newPolicy(cfg RunnerConfig, sent, reached *progress) *policy {
	return &policy{cfg: cfg, sent: sent, progress: reached, logger: cfg.Logger, persisted: time.Now()}
}

func (p *policy) start(c *checkpoint) { p.progress.reset(uint64(c.Position)) }

func (p *policy) from() eventstore.Position { return eventstore.Position(p.progress.position()) }

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
		p.logger.Error("the policies do not go on", "error", err)
	}
	return err
}

func (p *policy) follow(ctx context.Context, payload []byte) error {
	batch, err := eventstore.DecodeBatch(payload)
	if err != nil {
		return fmt.Errorf("following events: %w", err)
	}
	done := 0
	for i := range batch.Events {
		e := &batch.Events[i]
		if uint64(e.Position) <= p.progress.position() || e.Type != event.DeviceRemoved {
			continue
		}
		if err := p.deviceRemoved(ctx, e); err != nil {
			return fmt.Errorf("following event %s at position %d: %w", e.ID, e.Position, err)
		}
		done++
	}
	if done > 0 || time.Since(p.persisted) > persistEvery {
		if err := p.save(ctx, int64(batch.Position)); err != nil {
			return err
		}
		p.persisted = time.Now()
	}
	p.progress.reach(uint64(batch.Position))
	return nil
}

// deviceRemoved ends the shares of a device. That the list of sent shares has
// come as far as the event is enough: afterwards nobody can share it.
func (p *policy) deviceRemoved(ctx context.Context, e *eventstore.Recorded) error {
	v, err := event.Decode(e.Type, e.Data)
	if err != nil {
		return err
	}
	removed := v.(device.Removed) // by its name
	if err := p.sent.wait(ctx, uint64(e.Position)); err != nil {
		return err
	}
	shares, err := p.cfg.Store.SharesWithDevice(ctx, removed.Device)
	if err != nil {
		return err
	}
	return p.cfg.EndShares(ctx, e.ID, removed.Device, shares)
}

// save writes the checkpoint, unless another process is further.
func (p *policy) save(ctx context.Context, position int64) error {
	s := p.cfg.Store
	return s.writing(ctx, func(ctx context.Context, tx bun.Tx) error {
		c, err := lock(ctx, tx, policies, s.sqlite)
		if err != nil || c.Position >= position {
			return err
		}
		c.Position, c.State, c.Error = position, stateRunning, ""
		return c.save(ctx, tx)
	})
}
