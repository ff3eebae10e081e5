package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"latchkey/eventstore"
	"latchkey/internal/vault"
)

// Derived is something that was built from a log, or is kept with it, and how far it had
// seen the log.
type Derived struct {
	Name string
	Mark eventstore.Mark
}

// Loss describes what is missing from a log.
type Loss struct {
	Log  eventstore.Identity
	Head eventstore.Position // the last event of the log
	Seen eventstore.Position // the last one that something has seen; it and others are lost
	By   []Derived           // what has seen events that are missing from the log
}

// Lost returns the minimum number of lost positions. In an embedded log a position is an
// event.
func (l Loss) Lost() uint64 {
	if l.Seen <= l.Head {
		return 0
	}
	return uint64(l.Seen - l.Head)
}

// FindLoss compares a log with the data derived from it. ErrOtherLog: one of them belongs
// to another log, which cannot be repaired here.
func FindLoss(ctx context.Context, log *eventstore.Client, derived []Derived) (Loss, error) {
	var l Loss
	var err error
	if l.Log, err = log.Identity(ctx); err != nil {
		return l, err
	}
	if l.Head, err = headOf(ctx, log); err != nil {
		return l, err
	}
	for _, d := range derived {
		err := log.Holds(ctx, d.Mark)
		switch {
		case errors.Is(err, eventstore.ErrOtherEpoch) && d.Mark.Epoch <= l.Log.Epoch:
			continue // it is rebuilt, or was dealt with when the epoch began
		case errors.Is(err, eventstore.ErrLogCut), errors.Is(err, eventstore.ErrOtherEpoch):
			l.By = append(l.By, d)
			l.Seen = max(l.Seen, d.Mark.Position)
		case err != nil:
			return l, fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	return l, nil
}

// Recovery describes how to continue with a log that lost its end.
type Recovery struct {
	Log      *eventstore.Client
	Vault    *vault.Vault
	UseCases UseCases
	Loss     Loss
	Journals Journals
	Without  Without

	Mark        func(context.Context, *vault.Vault) (eventstore.Mark, error)
	SetMark     func(context.Context, *vault.Vault, eventstore.Mark) error
	EndSessions func(context.Context) error // nil: sessions stay
}

// Recovered is the result of a recovery.
type Recovered struct {
	Epoch uint64
	repeated
}

// Recover continues with a log that lost its end: it repeats the revocations of the
// journals, and begins a new epoch, so that read models are rebuilt. It may be called
// again after an error. ErrNoJournal: no journal reaches as far as the log was seen.
func Recover(ctx context.Context, r Recovery) (Recovered, error) {
	reached := r.Journals.reach(r.Loss.Log, r.Loss.Seen)
	if !reached && r.Without == Refuse {
		return Recovered{}, fmt.Errorf("%w: the log was seen up to position %d", ErrNoJournal, r.Loss.Seen)
	}
	in := newInventory()
	err := r.Log.ReadAll(ctx, 0, "", func(e eventstore.Recorded) error {
		_, _, err := in.add(e.ID, e.Position, e.Type, e.Data)
		return err
	})
	if err != nil {
		return Recovered{}, fmt.Errorf("reading the log: %w", err)
	}
	mark, err := r.Mark(ctx, r.Vault)
	if err != nil {
		return Recovered{}, err
	}
	list := r.Journals.lost(r.Loss.Log, in, mark)
	if !reached && r.Without == TakeBack {
		list = append(list, in.everything()...)
	}
	// The epoch rises last: until then nothing serves this log.
	done, err := repeat(ctx, r.UseCases, r.Vault, list, r.Journals.erased(r.Loss.Log.Log))
	if err != nil {
		return Recovered{}, err
	}
	if r.EndSessions != nil {
		if err := r.EndSessions(ctx); err != nil {
			return Recovered{}, err
		}
	}
	next := eventstore.Identity{Log: r.Loss.Log.Log, Epoch: r.nextEpoch()}
	// The vault goes first: with one of an earlier epoch, the log would be refused, and
	// its loss no longer reported.
	if err := r.SetMark(ctx, r.Vault, eventstore.Mark{Identity: next}); err != nil {
		return Recovered{}, err
	}
	if err := r.Log.BeginEpoch(ctx, next); err != nil {
		return Recovered{}, err
	}
	if mark, err = markOf(ctx, r.Log, next); err != nil {
		return Recovered{}, err
	}
	return Recovered{Epoch: next.Epoch, repeated: done}, r.SetMark(ctx, r.Vault, mark)
}

// nextEpoch returns an epoch later than every epoch of the log that was seen.
func (r Recovery) nextEpoch() uint64 {
	last := max(r.Loss.Log.Epoch, r.Journals.epoch(r.Loss.Log.Log))
	for _, d := range r.Loss.By {
		last = max(last, d.Mark.Epoch)
	}
	return last + 1
}

// Derived returns the last marks of the journals.
func (js Journals) Derived(names []string) []Derived {
	list := make([]Derived, 0, len(js))
	for i, j := range js {
		if m := j.Last(); m.Log != uuid.Nil {
			list = append(list, Derived{Name: names[i], Mark: m})
		}
	}
	return list
}
