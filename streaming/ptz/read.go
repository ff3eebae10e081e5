package ptz

import (
	"context"
	"errors"
	"time"

	"latchkey/domain/ids"
	"latchkey/projections/access"
)

const (
	// placeFor and presetsFor are how long what a camera said is said again.
	placeFor   = 500 * time.Millisecond
	presetsFor = 5 * time.Second
)

// Holder is who has the lease of a channel.
type Holder string

// The holders. Who another one is is said to nobody.
const (
	Free   Holder = "free"
	Yours  Holder = "yours"
	Others Holder = "others"
)

// Status is where a channel looks, and who moves it.
type Status struct {
	At     *Place // nil: the camera does not tell
	Moving bool   // by an order that was given here and has not been stopped
	Holder Holder
}

// reads are what a channel was last asked. The camera is asked by one reader at a time.
type reads struct {
	turn    chan struct{}
	place   kept[*Place]
	presets kept[[]Preset]
}

type kept[T any] struct {
	what T
	at   time.Time
}

func newReads() reads { return reads{turn: make(chan struct{}, 1)} }

// Status returns where a channel looks.
func (d *Desk) Status(ctx context.Context, u Use) (Status, error) {
	s := Status{}
	err := d.read(ctx, u, func(ctx context.Context, ch *channel) (err error) {
		s.At, err = recall(ctx, d, ch, &ch.reads.place, placeFor, Head.Place)
		if errors.Is(err, ErrRefused) { // it moves, and does not tell where it looks
			s.At, err = nil, nil
		}
		if err == nil {
			s.Holder, s.Moving = d.holder(ch, u.Account)
		}
		return err
	})
	return s, err
}

// holder returns who has the lease of a channel, and whether it moves.
func (d *Desk) holder(ch *channel, account ids.Account) (Holder, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case ch.lease == nil:
		return Free, ch.moving.Load()
	case ch.lease.use.Account == account:
		return Yours, ch.moving.Load()
	}
	return Others, ch.moving.Load()
}

// Presets lists the presets of a channel.
func (d *Desk) Presets(ctx context.Context, u Use) (list []Preset, err error) {
	err = d.read(ctx, u, func(ctx context.Context, ch *channel) error {
		list, err = recall(ctx, d, ch, &ch.reads.presets, presetsFor, Head.Presets)
		return err
	})
	return list, err
}

// read asks a camera something, which takes no lease. What comes once the permission is
// gone is not told.
func (d *Desk) read(ctx context.Context, u Use, ask func(context.Context, *channel) error) error {
	ctx, cancel := context.WithTimeout(ctx, orderWithin)
	defer cancel()
	permit, verdict := d.cfg.Access.Acquire(u.access(""), func(access.Reason) { cancel() })
	if verdict != access.Allowed {
		return &Denied{verdict}
	}
	defer permit.Release()
	d.mu.Lock()
	if d.closing {
		d.mu.Unlock()
		return ErrClosing
	}
	ch := d.enter(u.channel())
	d.mu.Unlock()
	defer d.leave(ch)
	select {
	case ch.reads.turn <- struct{}{}:
		defer func() { <-ch.reads.turn }()
	case <-ctx.Done():
		return ErrNoAnswer
	}
	err := ask(ctx, ch)
	if v := permit.Check(time.Now()); v != access.Allowed {
		return &Denied{v}
	}
	return err
}

// recall returns what a camera said a moment ago, or asks it. The caller has the turn of
// the readers.
func recall[T any](ctx context.Context, d *Desk, ch *channel, last *kept[T], fresh time.Duration, ask func(Head, context.Context) (T, error)) (what T, err error) {
	if time.Since(last.at) < fresh {
		return last.what, nil
	}
	head, err := d.cfg.Heads.Head(ctx, ch.at.Device, ch.at.Number)
	if err != nil {
		return what, err
	}
	if what, err = ask(head, ctx); err == nil {
		last.what, last.at = what, time.Now()
	}
	return what, err
}
