package engine

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"latchkey/eventstore"
)

// Player plays events to one read model as its projector gets them, without a log. It is
// for tests and benchmarks of read models.
type Player struct{ p *projector }

// NewPlayer begins at the checkpoint.
func NewPlayer(ctx context.Context, s *Store, name string) (*Player, error) {
	c, err := s.checkpoint(ctx, name)
	if err != nil {
		return nil, err
	}
	p := newProjector(s, s.find(name), s.logger, newProgress(), newProgress())
	p.start(c)
	return &Player{p}, nil
}

// Apply writes events in one transaction.
func (p *Player) Apply(ctx context.Context, events []eventstore.Recorded) error {
	list, err := p.p.store.events.decode(events, p.p.p.reads)
	if err != nil {
		return err
	}
	return p.p.write(ctx, list, events[len(events)-1].Position, eventstore.Mark{})
}

// Replay runs the projector until it has written the payloads of messages.
func (p *Player) Replay(ctx context.Context, payloads [][]byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.p.run(ctx) }()
	all := &feed{p.p.store.events, []*projector{p.p}}
	for _, payload := range payloads {
		m := message.NewMessage("", payload)
		m.SetContext(ctx)
		if err := all.handle(m); err != nil {
			return err
		}
	}
	if err := p.p.progress.wait(ctx, p.p.position()); err != nil {
		return err
	}
	cancel()
	return <-done
}
