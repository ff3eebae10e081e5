package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Check compares the mark of each read model with the log (decision 0007). Read models of
// a log that was restored since are emptied: they are then rebuilt from the log. A log
// from which events that a read model has seen are missing, or that is another one, is
// refused: see Misfit. A log without an identity gets one if no read model was built from
// an identified log.
func (s *Store) Check(ctx context.Context, client *eventstore.Client) error {
	_, err := s.check(ctx, client, eventstore.Mark{})
	return err
}

// Misfit reports whether err means that the log is not the one that the read models were
// built from, or that events that they have seen are missing.
func Misfit(err error) bool {
	return errors.Is(err, eventstore.ErrLogCut) || errors.Is(err, eventstore.ErrOtherLog) || errors.Is(err, eventstore.ErrNoIdentity)
}

// fit is the result of a check.
type fit struct {
	identity eventstore.Identity
	last     eventstore.Position // position of the last event of ours in the log
	emptied  bool                // read models were emptied, here or by another process
}

// check compares the marks of the read models, and one that this process keeps,
// with the log.
func (s *Store) check(ctx context.Context, client *eventstore.Client, seen eventstore.Mark) (fit, error) {
	list, err := s.checkpoints(ctx)
	if err != nil {
		return fit{}, err
	}
	var f fit
	if f.identity, err = identityOf(ctx, client, list, seen); err != nil {
		return fit{}, err
	}
	end, err := s.endOf(ctx, client)
	if err != nil {
		return fit{}, err
	}
	f.last = end.ours
	var restored []string
	for name, c := range list {
		if err := c.sound(); err != nil {
			s.logger.Warn("a read model is damaged; rebuilding it from the log", "projection", name, "reason", err)
			if err := s.empty(ctx, name, f.identity); err != nil {
				return fit{}, err
			}
			continue
		}
		again, err := s.compare(ctx, client, f.identity, c, end)
		if err != nil {
			return fit{}, err
		}
		if again {
			restored = append(restored, name)
		}
	}
	if err := holds(ctx, client, seen); errors.Is(err, eventstore.ErrOtherEpoch) {
		f.emptied = true
	} else if err != nil {
		return fit{}, err
	}
	if len(restored) > 0 {
		s.logger.Warn("the log was restored: rebuilding its read models", "log", f.identity.Log, "epoch", f.identity.Epoch)
		f.emptied = true
	}
	for _, name := range restored {
		if err := s.empty(ctx, name, f.identity); err != nil {
			return fit{}, err
		}
	}
	return f, s.fillMarks(ctx, f.identity, end)
}

// identityOf returns the log's identity. A log without one gets one unless something here
// was built from an identified log.
func identityOf(ctx context.Context, client *eventstore.Client, list map[string]*checkpoint, seen eventstore.Mark) (eventstore.Identity, error) {
	id, err := client.Identity(ctx)
	if !errors.Is(err, eventstore.ErrNoIdentity) {
		return id, err
	}
	marked := seen.Log
	for _, c := range list {
		if m := c.mark(); m.Log != uuid.Nil {
			marked = m.Log
		}
	}
	if marked == uuid.Nil {
		return client.Identify(ctx)
	}
	return eventstore.Identity{}, fmt.Errorf("the read models were made from the log %s, but this log is new or another one; "+
		"put the right log back, or correct the data folder or the connection string: %w", marked, err)
}

// compare reports whether a read model must be rebuilt.
func (s *Store) compare(ctx context.Context, client *eventstore.Client, id eventstore.Identity, c *checkpoint, end logEnd) (again bool, err error) {
	m := c.mark()
	if m.Log == uuid.Nil { // an earlier version wrote it
		switch {
		case c.Position == 0:
			return false, nil
		case id.Epoch > 1: // its epoch is unknown
			return true, nil
		case c.Position > end.position:
			return false, lacking(c.Position, fmt.Errorf("%w: it ends at position %d", eventstore.ErrLogCut, end.position))
		}
		return false, nil
	}
	err = holds(ctx, client, m)
	if errors.Is(err, eventstore.ErrOtherEpoch) {
		return true, nil
	}
	return false, err
}

// holds is Client.Holds, with advice on what to do.
func holds(ctx context.Context, client *eventstore.Client, m eventstore.Mark) error {
	err := client.Holds(ctx, m)
	switch {
	case errors.Is(err, eventstore.ErrLogCut), errors.Is(err, eventstore.ErrNoIdentity):
		return lacking(m.Position, err)
	case errors.Is(err, eventstore.ErrOtherLog):
		return fmt.Errorf("the read models were made from another log; correct the data folder or the connection string: %w", err)
	}
	return err
}

// lacking describes what a log that lost its end means.
func lacking(position eventstore.Position, err error) error {
	return fmt.Errorf("the read models have seen position %d of the log, but its event is no longer in the log: "+
		"acknowledged events are missing, revocations perhaps among them; put the newer log back, or run `latchkey recover`: %w", position, err)
}

// logEnd is the end of a log.
type logEnd struct {
	position eventstore.Position // of the last event, 0 for none
	ours     eventstore.Position // of the last one of ours; every later one is foreign
	event    uuid.UUID           // its id, uuid.Nil if it was not found
}

// ends is how many events at the end of the log are searched, in growing steps, for one
// of ours.
var ends = []int{1, 32, 1024}

// endOf finds the end of the log.
func (s *Store) endOf(ctx context.Context, client *eventstore.Client) (end logEnd, err error) {
	for _, most := range ends {
		n := 0
		err := client.Tail(ctx, most, func(e eventstore.Recorded) bool {
			if n++; n == 1 {
				end.position = e.Position
			}
			end.ours = e.Position // if none of them is ours, the oldest of them
			if strings.HasPrefix(e.Type, s.events.Prefix) {
				end.event = e.ID
			}
			return end.event == uuid.Nil
		})
		if err != nil {
			return logEnd{}, fmt.Errorf("finding the end of the log: %w", err)
		}
		if end.event != uuid.Nil {
			return end, nil
		}
		if n < most { // the log begins here
			end.ours = 0
			return end, nil
		}
	}
	return end, nil
}

// empty empties a read model, to be rebuilt from the log, unless another process has
// already done so.
func (s *Store) empty(ctx context.Context, name string, id eventstore.Identity) error {
	return s.emptyIf(ctx, name, func(c *checkpoint) (eventstore.Identity, bool) {
		return id, c.sound() != nil || c.mark().Identity != id
	})
}

// emptyIf empties a read model if its checkpoint requires it: decide returns the identity
// of the log that the rows are to come from.
func (s *Store) emptyIf(ctx context.Context, name string, decide func(*checkpoint) (eventstore.Identity, bool)) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
			c, err := s.lockAny(ctx, tx, name)
			if err != nil {
				return err
			}
			id, again := decide(c)
			if !again {
				return nil
			}
			if p := s.find(name); p != nil {
				if err := s.emptyTables(ctx, tx, p); err != nil {
					return err
				}
			}
			c.clear()
			c.setMark(eventstore.Mark{Identity: id})
			return s.save(ctx, tx, c)
		})
		if !errors.Is(err, errBusy) {
			return wrapped("making "+name+" empty", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("emptying %s: %w", name, ctx.Err())
		}
	}
}

func (s *Store) emptyTables(ctx context.Context, tx bun.Tx, p *Projection) error {
	if err := s.lockTables(ctx, tx, p); err != nil {
		return err
	}
	statement := "TRUNCATE "
	if s.sqlite {
		statement = "DELETE FROM "
	}
	for _, t := range p.Tables {
		if _, err := tx.ExecContext(ctx, statement+t.Name); err != nil {
			return fmt.Errorf("emptying the table %s: %w", t.Name, err)
		}
	}
	return nil
}

// fillMarks sets the mark of checkpoints that have none. The last event of ours is known
// only for those at the end of the log.
func (s *Store) fillMarks(ctx context.Context, id eventstore.Identity, end logEnd) error {
	list, err := s.checkpoints(ctx)
	if err != nil {
		return err
	}
	for name, c := range list {
		if c.mark().Log != uuid.Nil {
			continue
		}
		err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
			c, err := s.lock(ctx, tx, name)
			if err != nil || c.mark().Log != uuid.Nil {
				return err
			}
			m := eventstore.Mark{Identity: id}
			if end.event != uuid.Nil && c.Position >= end.ours {
				m.Position, m.Event = end.ours, end.event
			}
			c.setMark(m)
			return s.save(ctx, tx, c)
		})
		if err != nil {
			return fmt.Errorf("marking %s: %w", name, err)
		}
	}
	return nil
}
