package streaming

import (
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

// cutTimeout bounds how long a Recheck waits for the sessions that send over
// UDP to end. They end within a millisecond.
const cutTimeout = 5 * time.Second

// Recheck asks again for every viewer of the account, device and key ("" is
// any), and cuts those who are no longer permitted. When it returns, nothing is
// sent to them any more. The change that it is called for must be visible in
// the Authorizer already: then a viewer is either found here, or its own check
// at SETUP or PLAY comes after the change.
func (d *Door) Recheck(account, device, key string) {
	var ending []*viewer
	now := d.cfg.Now()
	for _, v := range d.viewers.concerned(account, device, key) {
		if reason := d.reasonToCut(v, now); reason != "" {
			d.cut(v, reason)
			ending = append(ending, v)
		}
	}
	d.await(ending)
}

// reasonToCut is "" for a viewer that is permitted now.
func (d *Door) reasonToCut(v *viewer, now time.Time) string {
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
		if !d.healthy(now) {
			return Unavailable
		}
		return NotFound
	}
	return d.cfg.Authorizer.Check(v.key.Account, v.device, v.channel, v.needs, now)
}

// cut ends a viewer. Nothing is sent over TCP after it returns; over UDP a few
// packets may be, until v.done.
func (d *Door) cut(v *viewer, reason string) {
	if v.cutFor.CompareAndSwap(nil, &reason) {
		d.metrics.cut.WithLabelValues(reason).Inc()
		d.log.Info("a viewer is cut", "viewer", v.id, "account", v.key.Account, "device", v.device, "reason", reason)
	}
	v.wire.cut()
	v.session.Close()
}

// await waits until nothing more is sent to the viewers, for a bounded time.
func (d *Door) await(viewers []*viewer) {
	timeout := time.NewTimer(cutTimeout)
	defer timeout.Stop()
	for _, v := range viewers {
		if !v.udp {
			continue // its connection is closed
		}
		select {
		case <-v.done:
		case <-timeout.C:
			d.log.Error("a viewer that is cut has not ended in time", "viewer", v.id, "device", v.device)
			return
		}
	}
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
