package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// Numbers are assigned once, and removed entries stay in memory, for the life of the
// contents. So they are reloaded from time to time, aside: the old ones decide meanwhile,
// and every event goes to them at once. Events missing from the rows are applied to the
// new contents before these replace the old, whose numbers then are meaningless. For that
// time both are in memory.

const (
	// renewEvery is the minimum time between two loads, and renewMost the minimum while
	// loads do not help.
	renewEvery = time.Minute
	renewMost  = time.Hour
	// renewWithin limits one load, including the wait for the read model.
	renewWithin = 10 * time.Minute
	// mostAside is the maximum size of the events in that time, in bytes.
	mostAside = 64 << 20
)

// Full reports whether no more accounts and devices can be known. Commands must not write
// events that need a number then: see TakesNumber.
func (x *Index) Full() bool { return x.holds.Load().names.few() }

// TakesNumber reports whether an event of that type may need a number for an
// account or a device.
func TakesNumber(eventType string) bool {
	switch eventType {
	case device.Added{}.Type(), share.Accepted{}.Type(), account.StreamKeyAdded{}.Type(), account.PublishingKeyAdded{}.Type():
		return true
	}
	return false
}

// aside is the events that may be missing from contents being loaded.
type aside struct {
	list    []effectAt
	size    int // bytes, roughly
	tooMany bool
}

type effectAt struct {
	position eventstore.Position
	effect   event.Effect
}

// gather stores an event for contents that are being loaded. The caller holds writing.
func (x *Index) gather(position eventstore.Position, e *event.Effect) {
	if x.aside == nil || x.aside.tooMany {
		return
	}
	x.aside.size += e.Size()
	if x.aside.size > mostAside {
		x.aside.list, x.aside.tooMany = nil, true
		return
	}
	x.aside.list = append(x.aside.list, effectAt{position, e.Clone()})
}

// renew reloads the contents when much of them is gone, or when numbers are, or were,
// missing.
func (x *Index) renew(ctx context.Context) {
	wait, next := renewEvery, x.cfg.Now()
	for pause.For(ctx, renewEvery) {
		if !x.mostlyGone() && (!x.wanting() || x.cfg.Now().Before(next)) {
			continue
		}
		if err := x.loadAside(ctx); err != nil && ctx.Err() == nil {
			x.cfg.Logger.Warn("the privileges could not be reloaded; keeping the old ones", "error", err)
		}
		if wait = min(2*wait, renewMost); !x.wanting() {
			wait = renewEvery
		}
		next = x.cfg.Now().Add(wait)
	}
}

// wanting reports whether the read model may have what is missing here.
func (x *Index) wanting() bool {
	c := x.holds.Load()
	return c.lacks.Load() || c.names.few()
}

// mostlyGone reports whether a 256th of all numbers was assigned to removed entries, and
// these are half of all entries, or numbers are needed.
func (x *Index) mostlyGone() bool {
	x.writing.Lock()
	defer x.writing.Unlock()
	return x.dead >= int(max(x.cfg.Numbers>>8, 1)) && (2*x.dead >= x.names.size() || x.names.few())
}

// errOutrun is returned when loaded contents are useless.
var errOutrun = errors.New("the index changed too much in the meantime")

// loadAside builds new contents and replaces the old ones.
func (x *Index) loadAside(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewWithin)
	defer cancel()
	b, life, least := x.beginAside()
	defer x.endAside(b)
	fresh, position, mark, err := x.read(ctx, least)
	for ; errors.Is(err, errOldRows); fresh, position, mark, err = x.read(ctx, least) {
		if !pause.For(ctx, retryEvery) {
			return err
		}
	}
	if err != nil {
		return err
	}
	if now := x.seen(); now.Log != uuid.Nil && mark.Log != uuid.Nil && now.Identity != mark.Identity {
		return fmt.Errorf("%w: the rows belong to another log", errOutrun)
	}
	// What the rows revoked must be in force here, too, and reported, before they are
	// used.
	if err := x.waitFor(ctx, lastOf(position, mark)); err != nil {
		return err
	}
	return x.swap(b, life, fresh, position)
}

// lastOf returns the position of the last event of ours in the rows, as far as known.
func lastOf(position eventstore.Position, mark eventstore.Mark) eventstore.Position {
	if mark.Event != uuid.Nil {
		return mark.Position
	}
	return position
}

// beginAside starts collecting events. Rows that include all earlier ones have reached
// the position least.
func (x *Index) beginAside() (b *aside, life uint64, least eventstore.Position) {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.aside = &aside{}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.aside, x.life, x.effected
}

func (x *Index) endAside(b *aside) {
	x.writing.Lock()
	defer x.writing.Unlock()
	if x.aside == b {
		x.aside = nil
	}
}

// swap applies to new contents the events missing from their rows, and puts them in
// force. An index that closed, or was loaded, since b was begun keeps its contents.
func (x *Index) swap(b *aside, life uint64, fresh *contents, position eventstore.Position) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	same := x.life == life && x.pulse.state.Load() == stateLive
	x.mu.Unlock()
	if !same || x.aside != b || b.tooMany {
		return errOutrun
	}
	for i := range b.list {
		if e := &b.list[i]; e.position > position {
			if err := fresh.effect(&e.effect); err != nil {
				return fmt.Errorf("the event at position %d: %w", e.position, err)
			}
		}
	}
	fresh.changes = nil // they were reported when the old contents had them
	before, after := x.names.size(), fresh.names.size()
	x.hold(fresh)
	x.changed(Change{}) // a read model without a number for an account grants it less
	x.cfg.Logger.Info("the privileges were reloaded", "position", position, "before", before, "after", after, "full", fresh.names.few())
	return nil
}
