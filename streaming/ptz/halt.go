package ptz

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// halt is what follows the end of a lease: the order that is being given ends, and what
// still moves is stopped.
type halt struct {
	since   time.Time
	awaited bool          // by the command that ended the lease
	first   chan struct{} // closed after the first attempt: nothing but stops follow
}

// halt stops what a lease moves, and retries while the camera does not confirm it; h may be
// nil. It returns when the camera has stopped, when somebody else moves it, or when it gave
// up.
func (d *Desk) halt(l *lease, h *halt) {
	d.stop(l.channel, func(m *movement) bool { return m.lease == l }, string(l.ended), func() { d.tried(h) })
	d.tried(h)
}

// tried notes the first attempt.
func (d *Desk) tried(h *halt) {
	if h == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, waits := d.halts[h]; waits {
		delete(d.halts, h)
		close(h.first)
	}
}

// stop stops the movement that matches, until it is no longer the channel's.
func (d *Desk) stop(ch *channel, matches func(*movement) bool, why string, tried func()) {
	began := time.Now()
	for pause := time.Second; ; pause = min(2*pause, retryAtMost) {
		ch.turn <- struct{}{} // each order is short
		if ch.movement == nil || !matches(ch.movement) {
			<-ch.turn
			return
		}
		ctx, cancel := d.attempt()
		err := d.stopNow(ctx, ch)
		cancel()
		d.metrics.stopped(why, err)
		over := errors.Is(err, ErrNoHead) || time.Since(began) > giveUpAfter
		if err != nil && over {
			d.log.Error("a camera could not be told to stop", "device", ch.at.Device, "channel", ch.at.Number, "error", err)
			d.rests(ch)
		}
		<-ch.turn
		tried()
		if err == nil || over || !d.sleep(pause) {
			return
		}
	}
}

// attempt limits one attempt to stop; when the desk closes, to what is left then.
func (d *Desk) attempt() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-d.closed:
		}
		timer := time.NewTimer(closeWithin)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			cancel()
		}
	}()
	return ctx, cancel
}

// sleep reports whether the time has passed before the desk closes.
func (d *Desk) sleep(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.closed:
		return false // it stays noted
	}
}

// stopNow tells the camera to stop. The caller has the channel's turn.
func (d *Desk) stopNow(ctx context.Context, ch *channel) error {
	head, err := d.headOf(ctx, ch)
	if err != nil && ch.last != nil {
		head, err = ch.last, nil // the device may be in no account any more
	}
	if err != nil {
		return err
	}
	if err := d.result(ch, head.Stop(ctx)); err != nil {
		return fmt.Errorf("stopping a camera: %w", err)
	}
	d.rests(ch)
	return nil
}

// rests notes that a channel does not move. The caller has its turn.
func (d *Desk) rests(ch *channel) {
	if m := ch.movement; m != nil && m.timer != nil {
		m.timer.Stop()
	}
	ch.moves(nil)
	if !ch.noted {
		return
	}
	if err := d.cfg.Notes.Drop(ch.at); err != nil { // the next start stops it once more
		d.log.Warn("it could not be noted that a camera has stopped", "device", ch.at.Device, "channel", ch.at.Number, "error", err)
	}
	ch.noted = false
}

// timeUp stops a movement that was not renewed.
func (d *Desk) timeUp(m *movement) {
	d.mu.Lock()
	if d.closing { // its lease has ended
		d.mu.Unlock()
		return
	}
	ch := m.lease.channel
	ch.users++
	d.jobs.Add(1)
	d.mu.Unlock()
	go func() {
		defer d.jobs.Done()
		d.stop(ch, func(now *movement) bool { return now == m }, "time", func() {})
		d.leave(ch)
	}()
}

// AwaitStops returns when the cameras whose movers lost the privilege were told to stop;
// and no other order follows for them. It waits some time for each, so that a camera that
// hangs delays only the commands of that time. It returns the context's error if that ends
// first.
func (d *Desk) AwaitStops(ctx context.Context) error {
	var waiting []*halt
	d.mu.Lock()
	for h := range d.halts {
		if h.awaited {
			waiting = append(waiting, h)
		}
	}
	d.mu.Unlock()
	return await(ctx, waiting...)
}

// await waits until the first attempts have been made, or some time has passed for each.
func await(ctx context.Context, waiting ...*halt) error {
	for _, h := range waiting {
		timeout := time.NewTimer(time.Until(h.since.Add(awaitAtMost)))
		select {
		case <-h.first:
		case <-timeout.C:
		case <-ctx.Done():
			timeout.Stop()
			return fmt.Errorf("waiting for cameras to stop: %w", ctx.Err())
		}
		timeout.Stop()
	}
	return nil
}
