package ptz

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/projections/access"
)

// Transport is how a lease is shown among the uses of a device.
const Transport = "ptz"

// The errors of the desk. What the index refuses is a *Denied.
var (
	// ErrBusy: somebody else moves the channel, or wanted to a moment ago.
	ErrBusy = errors.New("somebody else moves this channel")
	// ErrClosing: the service ends.
	ErrClosing = errors.New("the service is stopping")
	// ErrNotNoted: it could not be remembered that the camera moves, so it was not moved.
	ErrNotNoted = errors.New("the movement could not be noted")
)

// Denied is the verdict that refuses a use.
type Denied struct{ Verdict access.Verdict }

// Error names the verdict.
func (d *Denied) Error() string { return "PTZ is refused: " + d.Verdict.String() }

// reason is why a lease ended. Its values are labels of metrics.
type reason string

const (
	endedReleased  reason = "released"
	endedIdle      reason = "idle"
	endedPreempted reason = "preempted"
	endedRevoked   reason = "revoked"
	endedSession   reason = "session"
	endedClosing   reason = "closing"
	endedCrash     reason = "crash"
)

// lease is the right of an account to move a channel, for as long as it does.
type lease struct {
	use     access.Use
	channel *channel
	permit  *access.Permit
	// over ends with the lease, after the grace for an order that is being given.
	over   context.Context
	cancel context.CancelFunc

	// Guarded by the desk's mu.
	session string
	seen    string // the session that was last found to go on, since it has the lease
	ended   reason // "" while it lasts
	used    time.Time
	idle    *time.Timer
}

func newLease(use access.Use, session string) *lease {
	l := &lease{use: use, session: session}
	l.over, l.cancel = context.WithCancel(context.Background())
	return l
}

// take returns the lease of the channel for a user, who gets it if it is free, or if the
// user is the owner. What the user may not do is refused before anything else is said.
func (d *Desk) take(u Use) (*lease, error) {
	owner := d.cfg.Access.Owns(u.Account, u.Device)
	d.mu.Lock()
	l := d.continued(u)
	d.mu.Unlock()
	if l != nil {
		return l, nil
	}
	l = newLease(u.access(Transport), u.Session)
	permit, verdict := d.cfg.Access.Acquire(l.use, func(access.Reason) { d.revoked(l) })
	if verdict != access.Allowed {
		l.cancel()
		return nil, &Denied{verdict}
	}
	d.mu.Lock()
	l.permit = permit
	given, err := d.give(u, l, owner)
	d.mu.Unlock()
	if given != l {
		permit.Release()
		l.cancel()
	}
	return given, err
}

// continued returns the lease that the account has already, nil if it has none that holds.
// The caller holds mu.
func (d *Desk) continued(u Use) *lease {
	ch := d.channels[u.channel()]
	if ch == nil || ch.lease == nil || ch.lease.use.Account != u.Account || d.closing {
		return nil
	}
	l := ch.lease
	now := time.Now()
	if l.permit.Check(now) != access.Allowed {
		return nil
	}
	l.session, l.used = u.Session, now
	ch.users++ // until the order is given
	return l
}

// give gives the channel to a lease with a permit, unless the account got it meanwhile. The
// caller holds mu, and leaves the channel after the order.
func (d *Desk) give(u Use, l *lease, owner bool) (*lease, error) {
	switch {
	case d.closing:
		return nil, ErrClosing
	case l.ended != "": // the permit was revoked meanwhile
		return nil, &Denied{access.NotFound}
	}
	if other := d.continued(u); other != nil {
		return other, nil
	}
	if ch := d.channels[u.channel()]; ch != nil && ch.lease != nil {
		if ch.lease.use.Account != u.Account && !owner {
			return nil, ErrBusy
		}
		d.end(ch.lease, endedPreempted)
	}
	ch := d.enter(u.channel())
	ch.users++ // the lease, and the order
	ch.lease, l.channel, l.used = l, ch, time.Now()
	l.idle = time.AfterFunc(idleAfter, func() { d.expire(l) })
	return l, nil
}

// inSession looks up the session of an order, unless it was found to go on since it has the
// lease. A session that ends either finds the lease, or is found to have ended here.
func (d *Desk) inSession(ctx context.Context, l *lease, session string) error {
	d.mu.Lock()
	seen := l.seen == session
	d.mu.Unlock()
	if seen {
		return nil
	}
	live, err := d.cfg.Sessions.Live(ctx, session)
	if err != nil {
		return fmt.Errorf("looking up the session of an order: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if live {
		l.seen = session
		return nil
	}
	if l.session == session {
		d.end(l, endedSession)
	}
	return &Denied{access.NotFound}
}

// expire ends a lease without orders. The time of the last one may be later than the timer.
func (d *Desk) expire(l *lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if left := idleAfter - time.Since(l.used); left > 0 && l.ended == "" {
		l.idle.Reset(left)
		return
	}
	d.end(l, endedIdle)
}

// revoked ends a lease whose permit was revoked.
func (d *Desk) revoked(l *lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end(l, endedRevoked)
}

// end ends a lease, and stops what it moves. It does not wait: see await. It returns nil if
// there is nothing to stop. The caller holds mu.
func (d *Desk) end(l *lease, why reason) *halt {
	if l.ended != "" {
		return nil
	}
	l.ended = why
	if l.channel == nil { // it was never given
		return nil
	}
	if l.channel.lease == l {
		l.channel.lease = nil
	}
	l.idle.Stop()
	time.AfterFunc(grace, l.cancel)
	d.log.Info("a camera is no longer moved", "account", l.use.Account, "device", l.use.Device, "channel", l.use.Channel, "because", string(why))
	h := &halt{since: time.Now(), awaited: why == endedRevoked || why == endedSession, first: make(chan struct{})}
	d.halts[h] = struct{}{}
	d.jobs.Go(func() {
		l.permit.Release()
		d.halt(l, h)
		d.leave(l.channel)
	})
	return h
}

// Release ends the user's lease, if there is one, and returns when the camera was told to
// stop.
func (d *Desk) Release(ctx context.Context, u Use) error {
	permit, verdict := d.cfg.Access.Acquire(u.access(""), func(access.Reason) {})
	if verdict != access.Allowed {
		return &Denied{verdict}
	}
	permit.Release()
	d.mu.Lock()
	ch := d.channels[u.channel()]
	if ch == nil || ch.lease == nil || ch.lease.use.Account != u.Account {
		d.mu.Unlock()
		return nil
	}
	h := d.end(ch.lease, endedReleased)
	d.mu.Unlock()
	return await(ctx, h)
}

// SessionsEnded ends the leases of sessions that have ended, and returns when their cameras
// were told to stop, or some time has passed.
func (d *Desk) SessionsEnded(ctx context.Context) {
	if d.checkSessions(ctx) {
		_ = d.AwaitStops(ctx) // the caller has waited long enough
	}
}

// checkSessions reports whether a lease has ended. What is not known ends none: each is
// short, and looked up again soon.
func (d *Desk) checkSessions(ctx context.Context) (ended bool) {
	for l, token := range d.sessions() {
		live, err := d.cfg.Sessions.Live(ctx, token)
		if err != nil || live {
			continue
		}
		d.mu.Lock()
		if l.session == token && l.ended == "" {
			d.end(l, endedSession)
			ended = true
		}
		d.mu.Unlock()
	}
	return ended
}

func (d *Desk) sessions() map[*lease]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := map[*lease]string{}
	for _, ch := range d.channels {
		if l := ch.lease; l != nil && l.session != "" {
			list[l] = l.session
		}
	}
	return list
}
