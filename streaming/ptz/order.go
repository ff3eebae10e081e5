package ptz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"latchkey/projections/access"
)

// order is something that a camera is told to do.
type order struct {
	give    func(ctx context.Context, h Head) error
	lasting time.Duration // until it is stopped; 0: it ends by itself
	stops   bool
}

// Move moves until another order, or until the time is up without one.
func (d *Desk) Move(ctx context.Context, u Use, v Vector, lasting time.Duration) error {
	lasting = min(max(lasting, MinLasting), MaxLasting)
	if !inside(v) {
		return ErrOutOfRange
	}
	if v == (Vector{}) {
		return d.Stop(ctx, u)
	}
	return d.order(ctx, u, order{lasting: lasting, give: func(ctx context.Context, h Head) error { return h.Move(ctx, v, lasting) }})
}

// Stop ends every movement.
func (d *Desk) Stop(ctx context.Context, u Use) error {
	return d.order(ctx, u, order{stops: true})
}

// Relative moves by a distance.
func (d *Desk) Relative(ctx context.Context, u Use, v Vector) error {
	if !inside(v) {
		return ErrOutOfRange
	}
	return d.order(ctx, u, order{give: func(ctx context.Context, h Head) error { return h.Relative(ctx, v) }})
}

// Absolute moves to a place.
func (d *Desk) Absolute(ctx context.Context, u Use, p Place) error {
	if !inside(Vector(p)) || p.Zoom < 0 {
		return ErrOutOfRange
	}
	return d.order(ctx, u, order{give: func(ctx context.Context, h Head) error { return h.Absolute(ctx, p) }})
}

// Goto moves to a preset.
func (d *Desk) Goto(ctx context.Context, u Use, preset string) error {
	return d.order(ctx, u, order{give: func(ctx context.Context, h Head) error { return h.Goto(ctx, preset) }})
}

// ErrOutOfRange is returned for a vector or a place that has a part out of range, or that is
// no number.
var ErrOutOfRange = errors.New("a part is out of range")

func inside(v Vector) bool {
	return math.Abs(v.Pan) <= 1 && math.Abs(v.Tilt) <= 1 && math.Abs(v.Zoom) <= 1 // false for NaN
}

// errLost is the error of an order whose lease ended before it was given.
var errLost = errors.New("the lease has ended")

// order gives an order. If its lease ends before, it may get another one: the account
// let it go, or was idle.
func (d *Desk) order(ctx context.Context, u Use, o order) error {
	err := d.try(ctx, u, o)
	if errors.Is(err, errLost) {
		err = d.try(ctx, u, o)
	}
	if errors.Is(err, errLost) {
		err = ErrBusy
	}
	return err
}

// try gives an order under one lease. It does not end with the caller's request: a half-sent
// order leaves a camera in an unknown state.
func (d *Desk) try(ctx context.Context, u Use, o order) error {
	l, err := d.take(u)
	if err != nil {
		return err
	}
	defer d.leave(l.channel)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), orderWithin)
	defer cancel()
	defer context.AfterFunc(l.over, cancel)()
	if err := d.inSession(ctx, l, u.Session); err != nil {
		return err
	}
	select {
	case l.channel.turn <- struct{}{}:
		defer func() { <-l.channel.turn }()
	case <-ctx.Done():
		return cmp.Or(d.lost(l), fmt.Errorf("waiting for other orders: %w", ErrNoAnswer))
	}
	if err := d.lost(l); err != nil {
		return err
	}
	if d.cfg.Uses != nil {
		d.cfg.Uses.Used(l.use, time.Now())
	}
	err = d.carryOut(ctx, l, o)
	d.metrics.ordered(err)
	return err
}

// lost returns why no order can be given under a lease, nil if it lasts. What was asked for
// before the privilege or the session went is not done after it.
func (d *Desk) lost(l *lease) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case l.ended == endedSession || l.ended == endedRevoked:
		return &Denied{access.NotFound}
	case l.ended == endedClosing:
		return ErrClosing
	case l.ended != "" || l.permit.Check(time.Now()) != access.Allowed:
		return errLost
	}
	return nil
}

// carryOut gives an order in its turn. A movement of somebody else, and one that would go
// on during an order that ends by itself, is stopped before.
func (d *Desk) carryOut(ctx context.Context, l *lease, o order) error {
	ch := l.channel
	if o.stops {
		return d.stopNow(ctx, ch)
	}
	head, err := d.headOf(ctx, ch)
	if err != nil {
		return err
	}
	if m := ch.movement; m != nil && (o.lasting == 0 || m.lease != l) {
		if err := d.stopNow(ctx, ch); err != nil {
			return err
		}
	}
	if o.lasting == 0 {
		return d.result(ch, o.give(ctx, head))
	}
	if !ch.noted {
		if err := d.cfg.Notes.Note(ch.at); err != nil {
			return fmt.Errorf("%w: %w", ErrNotNoted, err)
		}
		ch.noted = true
	}
	return d.begin(ctx, l, o, head)
}

// begin begins a movement, or renews the one that there is.
func (d *Desk) begin(ctx context.Context, l *lease, o order, head Head) error {
	ch := l.channel
	before, m := ch.movement, &movement{lease: l}
	ch.moves(m)
	m.timer = time.AfterFunc(o.lasting, func() { d.timeUp(m) })
	err := d.result(ch, o.give(ctx, head))
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrUnreachable) { // it goes on as it was
		m.timer.Stop()
		if ch.moves(before); before == nil {
			d.rests(ch)
		}
		return err
	}
	if before != nil {
		before.timer.Stop()
	}
	if err != nil { // it may be moving
		m.timer.Stop()
		d.timeUp(m)
	}
	return err
}

// headOf returns what moves a channel. The caller has its turn.
func (d *Desk) headOf(ctx context.Context, ch *channel) (Head, error) {
	if ch.head != nil {
		return ch.head, nil
	}
	head, err := d.cfg.Heads.Head(ctx, ch.at.Device, ch.at.Number)
	if err != nil {
		return nil, fmt.Errorf("finding how a camera is moved: %w", err)
	}
	ch.head = head
	return head, nil
}

// result returns the error of a head, which is found again if it was refused or not
// reached: the camera may have another password or address. The caller has the channel's
// turn.
func (d *Desk) result(ch *channel, err error) error {
	if ch.head != nil && (errors.Is(err, ErrRefused) || errors.Is(err, ErrUnreachable)) {
		ch.last, ch.head = ch.head, nil
	}
	return err
}
