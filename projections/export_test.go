package projections

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Feed applies events to one read model as its projector does, without a log.
type Feed struct{ p *projector }

// NewFeed begins where the checkpoint is.
func NewFeed(ctx context.Context, s *Store, name string) (*Feed, error) {
	c, err := s.checkpoint(ctx, name)
	if err != nil {
		return nil, err
	}
	f := &Feed{newProjector(s, find(name), s.logger, newProgress(), newProgress())}
	f.p.start(c)
	return f, nil
}

// Apply writes the events in one transaction.
func (f *Feed) Apply(ctx context.Context, events []eventstore.Recorded) error {
	list, err := decode(events, f.p.p.reads)
	if err != nil {
		return err
	}
	return f.p.write(ctx, list, int64(events[len(events)-1].Position), eventstore.Mark{})
}

// Replay runs one projector until it has written what the payloads of messages
// hold.
func Replay(ctx context.Context, s *Store, name string, payloads [][]byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := NewFeed(ctx, s, name)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f.p.run(ctx) }()
	all := &feed{[]*projector{f.p}}
	for _, payload := range payloads {
		m := message.NewMessage("", payload)
		m.SetContext(ctx)
		if err := all.handle(m); err != nil {
			return err
		}
	}
	if err := f.p.progress.wait(ctx, uint64(f.p.position())); err != nil {
		return err
	}
	cancel()
	return <-done
}

// Feeds answers which projectors that begin at these positions are fed together.
func Feeds(bases ...int64) (together [][]int64) {
	var projectors []*projector
	for _, base := range bases {
		projectors = append(projectors, &projector{base: base})
	}
	for _, f := range feeds(projectors) {
		var list []int64
		for _, p := range f.projectors {
			list = append(list, p.base)
		}
		together = append(together, list)
	}
	return together
}

// Near is how far apart they may be.
const Near = near

// SetCheckpoint puts a checkpoint somewhere else, as a restored database would.
func (s *Store) SetCheckpoint(ctx context.Context, name string, position int64) error {
	q := s.writes.NewUpdate().Model((*checkpoint)(nil)).Set("position = ?", position).Set("sum = 0").Where("name = ?", name)
	if position == 0 { // of an empty read model
		q = q.Set("accounts = 0, devices = 0, lacks = 0")
	}
	_, err := q.Exec(ctx)
	return err
}

// SetLimit bounds the numbers of accounts and devices.
func (s *Store) SetLimit(n int64) { s.limit = n }

// Numbers are those that were given, and how many events lacked one.
func (s *Store) Numbers(ctx context.Context) (accounts, devices, lacks int64, err error) {
	c, err := s.checkpoint(ctx, Privileges)
	if err != nil {
		return 0, 0, 0, err
	}
	return c.Accounts, c.Devices, c.Lacks, nil
}

// BeginWriting begins a transaction as projectors do.
func (s *Store) BeginWriting(ctx context.Context) (bun.Tx, error) { return s.writes.BeginTx(ctx, nil) }

// Mark is that of a checkpoint.
func (s *Store) Mark(ctx context.Context, name string) (eventstore.Mark, error) {
	c, err := s.checkpoint(ctx, name)
	if err != nil {
		return eventstore.Mark{}, err
	}
	return c.mark(), nil
}

// SetMark replaces the mark of a checkpoint, the zero Mark by none.
func (s *Store) SetMark(ctx context.Context, name string, m eventstore.Mark) error {
	c, err := s.checkpoint(ctx, name)
	if err != nil {
		return err
	}
	c.setMark(m)
	c.Sum = c.sum()
	_, err = s.writes.NewUpdate().Model(c).WherePK().Exec(ctx)
	return err
}

// Spoil makes rows that no event made.
func (s *Store) Spoil(ctx context.Context) error {
	_, err := s.writes.ExecContext(ctx, "UPDATE devices SET device = 'ghost' WHERE device = 'dev0'")
	return err
}
