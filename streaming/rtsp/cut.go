package rtsp

import (
	"context"
	"fmt"
	"time"

	"latchkey/projections/access"
)

// cutClosing is the reason for cutting viewers when the door closes. The other reasons
// are those of their permits.
const cutClosing access.Reason = "closing"

// cutTimeout is how long AwaitCuts waits for a viewer over UDP to end after its cut. It
// normally ends within a millisecond.
const cutTimeout = 5 * time.Second

// cutting is why and when a viewer was cut.
type cutting struct {
	reason access.Reason
	at     time.Time
}

// AwaitCuts returns when nothing more is sent to any viewer that was cut before the call,
// and nothing to cameras from viewers who may not talk any more.
// It returns the context's error if that ends first. It waits for each viewer until
// cutTimeout after the cut, so that one that hangs delays only the commands of that time.
func (d *Door) AwaitCuts(ctx context.Context) error {
	for _, v := range d.viewers.cut() {
		if err := d.awaitEnd(ctx, v); err != nil {
			return err
		}
	}
	return d.awaitSpeeches(ctx)
}

func (d *Door) awaitEnd(ctx context.Context, v *viewer) error {
	timeout := time.NewTimer(time.Until(v.cutFor.Load().at.Add(cutTimeout)))
	defer timeout.Stop()
	select {
	case <-v.done:
		return nil
	case <-timeout.C:
		d.log.Error("a viewer whose access was revoked did not end in time", "viewer", v.id, "device", v.device)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for viewers to end: %w", ctx.Err())
	}
}

// acquirePermit acquires the viewer's permit, or returns a refusal. revoked is called
// when the permit is revoked.
func (d *Door) acquirePermit(v *viewer, revoked func(access.Reason)) *refusal {
	permit, verdict := d.cfg.Access.Acquire(access.Use{
		Subject: access.Subject{Account: v.key.Account, StreamKey: v.key.Name},
		Device:  v.device, Channel: v.channel, Privilege: v.needs, Transport: v.transport(), Address: v.address(),
	}, revoked)
	v.permit = permit
	return refusalOf(verdict)
}

func refusalOf(v access.Verdict) *refusal {
	switch v {
	case access.Allowed:
		return nil
	case access.Forbidden:
		return errForbidden
	case access.NotFound:
		return errNotFound
	default:
		return errUnavailable
	}
}

// cut ends a viewer, without waiting. Nothing is sent over TCP after it returns;
// over UDP a few packets may be, until v.done.
func (d *Door) cut(v *viewer, reason access.Reason) {
	if v.cutFor.CompareAndSwap(nil, &cutting{reason, time.Now()}) {
		d.metrics.cut.WithLabelValues(string(reason)).Inc()
		d.log.Info("a viewer was cut", "viewer", v.id, "account", v.key.Account, "device", v.device, "reason", reason)
	}
	v.endSpeech()
	if v.box != nil {
		v.box.end()
	}
	v.wire.cut()
	v.session.Close()
}

func (d *Door) cutAll(reason access.Reason) {
	for _, v := range d.viewers.list() {
		d.cut(v, reason)
	}
}
