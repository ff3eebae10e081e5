package access

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/event"
	"latchkey/eventstore"
)

// How many events at the end of the log are read. Usually the last one is enough. A
// checkpoint comes after at most 32 foreign events, so the second number is enough unless
// a flood of them is in progress.
var tails = []int{1, 128, 4096}

// measure periodically determines that the index is up to date as of a time: it takes the
// time, finds the end of the log, and waits until the index has applied the last event of
// ours there. A failed measurement is repeated at once, with a new time: it counts from
// its start. Each has a short timeout at first, and a longer one after each failure, as a
// slow log is not an unavailable one.
func (x *Index) measure(ctx context.Context) {
	every, least := x.cfg.MaxStaleness/10, x.cfg.MaxStaleness/20
	for within := least; ctx.Err() == nil; {
		err := x.measureOnce(ctx, within)
		if err == nil {
			within = least
			select {
			case <-time.After(every):
			case <-x.wake:
			case <-ctx.Done():
			}
			continue
		}
		x.cfg.Logger.Debug("the freshness of the privilege index could not be measured", "error", err)
		within = min(2*within, x.cfg.MaxStaleness/2)
		select {
		case <-time.After(x.cfg.MaxStaleness / 100):
		case <-x.wake:
		case <-ctx.Done():
		}
	}
}

// measureNow requests a measurement.
func (x *Index) measureNow() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *Index) measureOnce(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	x.mu.Lock()
	life := x.life
	x.mu.Unlock()
	at := x.cfg.Now()
	if err := x.reach(ctx); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.life == life { // else the measured contents are gone
		x.pulse.measured(at)
	}
	return nil
}

// reach returns when the index has applied everything of ours that was in the log at the
// time of the call.
func (x *Index) reach(ctx context.Context) error {
	for {
		target, met, err := x.lookBack(ctx)
		if err != nil {
			return err
		}
		if met {
			return x.waitFor(ctx, target)
		}
		// More foreign events than we read: a checkpoint is about to come.
		if err := x.waitFor(ctx, x.Position()+1); err != nil {
			return err
		}
	}
}

// lookBack reads the log backwards until it finds what the index has reached, and returns
// the last position of ours that it has not.
func (x *Index) lookBack(ctx context.Context) (target eventstore.Position, met bool, err error) {
	for _, most := range tails {
		target = 0
		reached, mark := x.Position(), x.seen()
		var end eventstore.Position
		n := 0
		err := x.cfg.Log.Tail(ctx, most, func(r eventstore.Recorded) bool {
			end = max(end, r.Position)
			n++
			if r.Position <= reached {
				met = true
				return false
			}
			if target == 0 && strings.HasPrefix(r.Type, event.Prefix) {
				// Positions only grow: reaching the last is reaching all.
				target, met = r.Position, true
				return false
			}
			return true
		})
		if err != nil {
			return 0, false, err
		}
		if err := x.notCut(ctx, end, mark); err != nil {
			return 0, false, err
		}
		if met || n < most { // n < most: this is the start of the log, and none is ours
			return target, true, nil
		}
	}
	return 0, false, nil
}

// notCut returns an error if the log ends before the last applied event.
func (x *Index) notCut(ctx context.Context, end eventstore.Position, mark eventstore.Mark) error {
	if mark.Log == uuid.Nil || end >= mark.Position {
		return nil
	}
	err := x.check(ctx, mark)
	if misfit(err) || errors.Is(err, eventstore.ErrOtherEpoch) {
		x.fault(err)
	}
	return err
}

// watch reports when the index becomes stale, so that running viewers end.
func (x *Index) watch(ctx context.Context) {
	stale := true // access is denied until the first measurement
	for ctx.Err() == nil {
		left := x.cfg.MaxStaleness - x.behind()
		if left < 0 && !stale {
			stale = true
			if x.Health().State == "stale" { // otherwise the reason was already reported
				x.cfg.Logger.Error("the privilege index is stale; denying all access", "behind", x.cfg.MaxStaleness-left)
			}
			x.changed(Change{})
		}
		if left >= 0 && stale {
			stale = false
			x.cfg.Logger.Info("the privilege index is up to date", "position", x.Position())
		}
		select {
		case <-time.After(min(max(left, 0), x.cfg.MaxStaleness) + x.cfg.MaxStaleness/50):
		case <-ctx.Done():
		}
	}
}
