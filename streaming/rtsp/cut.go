package rtsp

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Why viewers were cut: the label of the metric.
const (
	cutRevoked     = "revoked"     // the privilege is gone
	cutKey         = "key"         // the stream key is revoked
	cutExpired     = "expired"     // the stream key has run out
	cutUnavailable = "unavailable" // it is not known what is permitted
	cutClosing     = "closing"     // the door closes
)

// cutTimeout is how long a viewer over UDP may take to end, from its cut, before
// nobody waits for it any more. It ends within a millisecond.
const cutTimeout = 5 * time.Second

// cutting is why and when a viewer was cut.
type cutting struct {
	reason string
	at     time.Time
}

// Recheck asks again for every viewer of the account, device and key ("" is
// any), and cuts those who are no longer permitted. It waits for none of them;
// AwaitCuts does. The change that it is called for must be visible in the Authorizer
// already: then a viewer is either found here, or its own check at SETUP or PLAY
// comes after the change.
func (d *Door) Recheck(account, device, key string) {
	now := d.cfg.Now()
	for _, v := range d.viewers.concerned(account, device, key) {
		if reason := d.reasonToCut(v, now); reason != "" {
			d.cut(v, reason)
		}
	}
	d.forgetKey(key)
}

// AwaitCuts returns when nothing more is sent to any viewer that was cut before the
// call. It returns the context's error if that ends first. Who does not end is waited
// for until cutTimeout after the cut, and so holds up the commands of that time only.
func (d *Door) AwaitCuts(ctx context.Context) error {
	for _, v := range d.viewers.cut() {
		if err := d.awaitEnd(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

func (d *Door) awaitEnd(ctx context.Context, v *viewer) error {
	timeout := time.NewTimer(time.Until(v.cutFor.Load().at.Add(cutTimeout)))
	defer timeout.Stop()
	select {
	case <-v.done:
		return nil
	case <-timeout.C:
		d.log.Error("a viewer that is cut has not ended in time", "viewer", v.id, "device", v.device)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for viewers to end: %w", ctx.Err())
	}
}

// reasonToCut is "" for a viewer that is permitted now. Where the question makes
// the Authorizer panic, it is not known.
func (d *Door) reasonToCut(v *viewer, now time.Time) (reason string) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("a check made the door panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			reason = cutUnavailable
		}
	}()
	switch verdict := d.permitted(v, now); {
	case verdict == Allowed:
		return ""
	case verdict == Unavailable:
		return cutUnavailable
	}
	key, live := d.cfg.Authorizer.Key(v.key.Name)
	switch {
	case v.key.expired(now) || live && key.expired(now):
		return cutExpired
	case !live:
		return cutKey
	default:
		return cutRevoked
	}
}

// permitted asks whether the viewer may see what it was set up for.
func (d *Door) permitted(v *viewer, now time.Time) Verdict {
	key, live := d.cfg.Authorizer.Key(v.key.Name)
	if !live || key.Account != v.key.Account || key.expired(now) || key.Device != "" && key.Device != v.device {
		if !d.cfg.Authorizer.Live(now) {
			return Unavailable
		}
		return NotFound
	}
	return d.cfg.Authorizer.Check(v.key.Account, v.device, v.channel, v.needs, now)
}

// cut ends a viewer, without waiting. Nothing is sent over TCP after it returns;
// over UDP a few packets may be, until v.done.
func (d *Door) cut(v *viewer, reason string) {
	if v.cutFor.CompareAndSwap(nil, &cutting{reason, time.Now()}) {
		d.metrics.cut.WithLabelValues(reason).Inc()
		d.log.Info("a viewer is cut", "viewer", v.id, "account", v.key.Account, "device", v.device, "reason", reason)
	}
	v.wire.cut()
	v.session.Close()
}

func (d *Door) cutAll(reason string) {
	for _, v := range d.viewers.concerned("", "", "") {
		d.cut(v, reason)
	}
}

// watchExpiry ends the viewer when its key runs out.
func (d *Door) watchExpiry(v *viewer) {
	if v.key.Expires.IsZero() {
		return
	}
	v.expiry = time.AfterFunc(max(v.key.Expires.Sub(d.cfg.Now()), 0), func() {
		if reason := d.reasonToCut(v, d.cfg.Now()); reason != "" {
			d.cut(v, reason)
		}
	})
}
