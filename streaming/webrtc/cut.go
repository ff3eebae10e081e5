package webrtc

import (
	"context"
	"fmt"
	"time"

	"latchkey/domain/ids"
)

// cutTimeout is how long a caller waits for a viewer to end.
const cutTimeout = 5 * time.Second

// AwaitCuts returns when nothing more is sent to any viewer that was ended before the call,
// or with the context's error. It waits for each viewer until some time after its end, so
// that one that hangs delays only the commands of that time.
func (d *Door) AwaitCuts(ctx context.Context) error {
	for _, v := range d.viewers.list() {
		if v.ending.Load() == nil {
			continue
		}
		if err := d.await(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

func (d *Door) await(ctx context.Context, v *viewer) error {
	timeout := time.NewTimer(time.Until(v.ending.Load().at.Add(cutTimeout)))
	defer timeout.Stop()
	select {
	case <-v.done:
		return nil
	case <-timeout.C:
		v.log.Error("a viewer by WebRTC did not end in time")
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for viewers by WebRTC to end: %w", ctx.Err())
	}
}

// End ends a viewer of an account, and returns when nothing more is sent to it.
func (d *Door) End(ctx context.Context, account ids.Account, id string) error {
	v := d.viewers.get(id)
	if v == nil || v.use.Account != account {
		return ErrNoViewer
	}
	v.end(endedLeft)
	return d.await(ctx, v)
}

// SessionsEnded ends the viewers whose login sessions have ended, and returns when nothing
// more is sent to them, or the context has ended.
func (d *Door) SessionsEnded(ctx context.Context) {
	d.checkSessions(ctx)
	_ = d.AwaitCuts(ctx) // the caller has waited long enough
}

// checkSessions ends viewers with their sessions. What is not known ends none: the permit
// decides what may be seen, and the session is looked up again soon.
func (d *Door) checkSessions(ctx context.Context) {
	ended := map[string]bool{}
	for _, v := range d.viewers.list() {
		over, known := ended[v.use.Session]
		if !known {
			live, err := d.cfg.Sessions.Live(ctx, v.use.Session)
			over = err == nil && !live
			ended[v.use.Session] = over
		}
		if over {
			v.end(endedSession)
		}
	}
}
