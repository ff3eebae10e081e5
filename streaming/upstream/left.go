package upstream

import (
	"context"
	"fmt"
	"time"

	"latchkey/domain/ids"
)

// leaveTimeout is how long AwaitLeft waits for a camera connection to end, from when it
// was told to. It normally ends within a millisecond.
const leaveTimeout = 5 * time.Second

// Recheck is called for a change that concerns an account and a device ("" is any). If
// the device is in no account any more, its camera is disconnected and its credentials
// are dropped. Recheck does not wait for the end of the connection; AwaitLeft does. The
// change must already be visible in the Privileges: then a dial is either found here, or
// was permitted after it.
func (p *Pool) Recheck(account ids.Account, device ids.Device) {
	p.leaveGone(device, p.cfg.Now())
	if device != "" && account == "" { // it changed for all accounts
		p.forgetSources(device)
	}
}

// AwaitLeft returns when nothing more is sent to any camera that was disconnected before
// the call. It returns the context's error if that ends first. It waits for each camera
// until leaveTimeout after it was disconnected, so that one that hangs delays only the
// commands of that time.
func (p *Pool) AwaitLeft(ctx context.Context) error {
	for _, l := range p.left() {
		if err := p.await(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// leftPull is a pull, or a dial, that was ended because its device was removed.
type leftPull struct {
	device ids.Device
	at     time.Time
	over   <-chan struct{}
}

func (p *Pool) await(ctx context.Context, l leftPull) error {
	timeout := time.NewTimer(time.Until(l.at.Add(leaveTimeout)))
	defer timeout.Stop()
	select {
	case <-l.over:
		return nil
	case <-timeout.C:
		p.log.Error("the connection to a removed camera did not close in time", "device", l.device)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the camera connection to close: %w", ctx.Err())
	}
}

// leaveGone ends pulls and dials of a device ("" is any) that is in no account any more.
func (p *Pool) leaveGone(device ids.Device, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for of, u := range p.streams {
		if u.isOver() || !u.left.IsZero() || device != "" && device != of.Device || !p.cfg.Privileges.Gone(of.Device, now) {
			continue
		}
		u.left = time.Now()
		u.stop()
		p.log.Info("closed the connection to a removed device's camera", "device", of.Device, "channel", of.Channel, "quality", of.Quality.String())
	}
}

// left lists the pulls that were ended because their device was removed, and are not
// over.
func (p *Pool) left() []leftPull {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []leftPull
	for of, u := range p.streams {
		if !u.left.IsZero() && !u.isOver() {
			list = append(list, leftPull{of.Device, u.left, u.over})
		}
	}
	return list
}

// isOver reports whether nothing more is sent to the camera.
func (u *upstream) isOver() bool {
	select {
	case <-u.over:
		return true
	default:
		return u.over == nil
	}
}

// Redial ends the streams of a device, and forgets what is known of where they are and how
// dialing them went: their source has changed. Whoever watches joins again.
func (p *Pool) Redial(device ids.Device) {
	p.forgetSources(device)
	p.mu.Lock()
	defer p.mu.Unlock()
	for of, u := range p.streams {
		if of.Device != device {
			continue
		}
		u.retry = backoff{}
		if !u.isOver() && !u.published {
			u.stop()
		}
	}
	for at, cam := range p.cameras {
		if at.device == device {
			cam.retry, cam.good = backoff{}, false
		}
	}
}
