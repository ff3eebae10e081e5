package index

import (
	"context"
	"strings"
	"time"

	"latchkey/domain"
	"latchkey/eventstore"
)

// How many events of the end of the log are looked at. A checkpoint comes after
// 32 foreign events at the latest, so the first number is enough unless a flood
// of them is under way.
var tails = []int{128, 4096}

// measure finds out, again and again, that the index is up to date as of a time:
// it notes the time, looks at the end of the log, and waits until the index has
// applied the last event of ours that is there.
func (x *Index) measure(ctx context.Context) {
	every := x.cfg.MaxStaleness / 5
	for ctx.Err() == nil {
		at := x.cfg.Now().Sub(x.base)
		if err := x.reach(ctx); err != nil {
			x.cfg.Logger.Debug("the privilege index could not be measured", "error", err)
		} else {
			x.fresh.Store(int64(at))
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
}

// reach returns when the index has applied everything of ours that the log held
// when it was called.
func (x *Index) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, x.cfg.MaxStaleness)
	defer cancel()
	for {
		target, met, err := x.lookBack(ctx)
		if err != nil {
			return err
		}
		if met {
			return x.waitFor(ctx, target)
		}
		// More foreign events than we look at: a checkpoint is under way.
		if err := x.waitFor(ctx, x.position.Load()+1); err != nil {
			return err
		}
	}
}

// lookBack reads the log backwards until it meets what the index has reached,
// and answers the last position of ours that it lacks.
func (x *Index) lookBack(ctx context.Context) (target uint64, met bool, err error) {
	for _, most := range tails {
		target = 0
		reached := x.position.Load()
		n := 0
		err := x.cfg.Log.Tail(ctx, most, func(r eventstore.Recorded) bool {
			n++
			if uint64(r.Position) <= reached {
				met = true
				return false
			}
			if target == 0 && strings.HasPrefix(r.Type, domain.EventPrefix) {
				// Positions only grow: reaching the last is reaching all.
				target, met = uint64(r.Position), true
				return false
			}
			return true
		})
		if err != nil {
			return 0, false, err
		}
		if met || n < most { // n < most: the log begins here, and none is ours
			return target, true, nil
		}
	}
	return 0, false, nil
}

// watch tells of the index becoming stale, so that running viewers end.
func (x *Index) watch(ctx context.Context) {
	stale := true // until the first measurement nobody is let in
	for ctx.Err() == nil {
		left := x.cfg.MaxStaleness - x.behind()
		if left < 0 && !stale {
			stale = true
			x.cfg.Logger.Error("the privilege index is stale; nobody may do anything", "behind", x.cfg.MaxStaleness-left)
			x.changed(Change{})
		}
		if left >= 0 && stale {
			stale = false
			x.cfg.Logger.Info("the privilege index is up to date", "position", x.position.Load())
		}
		select {
		case <-time.After(max(left, 0) + x.cfg.MaxStaleness/50):
		case <-ctx.Done():
		}
	}
}
