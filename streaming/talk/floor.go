package talk

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/domain/ids"
)

// Silence is after how long without sound the floor is free.
const Silence = 30 * time.Second

// ErrBusy is returned while somebody else has the floor. It names nobody.
var ErrBusy = errors.New("somebody else is talking on this channel")

// Reason is why a turn ended that its talker has not left.
type Reason string

// The reasons.
const (
	Silent    Reason = "silent"    // nothing was said for a while
	Preempted Reason = "preempted" // the owner of the device wants to talk
	Replaced  Reason = "replaced"  // the same account talks from somewhere else
)

// Talker is who wants to talk, on which channel.
type Talker struct {
	Account ids.Account
	Device  ids.Device
	Channel int
}

// Owners knows in which account a device is.
type Owners interface {
	Owns(account ids.Account, device ids.Device) bool
}

// Floor gives turns. It is safe for concurrent use.
type Floor struct {
	owners Owners

	mu    sync.Mutex
	turns map[channel]*Turn
}

type channel struct {
	device ids.Device
	number int
}

// New returns a floor on which nobody talks.
func New(owners Owners) *Floor {
	return &Floor{owners: owners, turns: map[channel]*Turn{}}
}

// Turn is the right to talk on a channel, until it ends.
type Turn struct {
	floor  *Floor
	talker Talker
	owner  bool
	lost   func(Reason)

	last  atomic.Int64 // when something was said, in ns since the start of the turn
	over  atomic.Bool
	began time.Time
	timer *time.Timer // guarded by the floor's mu
}

// Take gives the floor to a talker, who must leave it; or returns ErrBusy. The owner of the
// device takes it from others, and an account from itself. lost is called once if the turn
// ends otherwise, after Speak has begun to refuse; it must not block.
func (f *Floor) Take(t Talker, lost func(Reason)) (*Turn, error) {
	turn := &Turn{floor: f, talker: t, owner: f.owners.Owns(t.Account, t.Device), lost: lost, began: time.Now()}
	f.mu.Lock()
	before := f.turns[t.channel()]
	reason := Preempted
	switch {
	case before == nil:
	case before.talker.Account == t.Account:
		reason = Replaced
	case !turn.owner:
		f.mu.Unlock()
		return nil, ErrBusy
	}
	if before != nil {
		f.end(before)
	}
	f.turns[t.channel()] = turn
	turn.timer = time.AfterFunc(Silence, turn.listen)
	f.mu.Unlock()
	if before != nil {
		before.lost(reason)
	}
	return turn, nil
}

// Busy reports whether Take would return ErrBusy now.
func (f *Floor) Busy(t Talker) bool {
	owner := f.owners.Owns(t.Account, t.Device)
	f.mu.Lock()
	defer f.mu.Unlock()
	has := f.turns[t.channel()]
	return has != nil && has.talker.Account != t.Account && !owner
}

// On returns which account has the floor of a channel; false if none has.
func (f *Floor) On(device ids.Device, number int) (ids.Account, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	has := f.turns[channel{device, number}]
	if has == nil {
		return "", false
	}
	return has.talker.Account, true
}

func (t Talker) channel() channel { return channel{t.Device, t.Channel} }

// end ends a turn. The caller holds mu.
func (f *Floor) end(t *Turn) {
	t.over.Store(true)
	t.timer.Stop()
	delete(f.turns, t.talker.channel())
}

// Speak reports whether a piece of sound may be passed on now: no longer once the turn has
// ended. It is called for each, and does not lock.
func (t *Turn) Speak() bool {
	if t.over.Load() {
		return false
	}
	t.last.Store(int64(time.Since(t.began)))
	return true
}

// Leave ends the turn. Leaving again, and leaving a turn that has ended, does nothing.
func (t *Turn) Leave() {
	t.floor.mu.Lock()
	defer t.floor.mu.Unlock()
	if !t.over.Load() {
		t.floor.end(t)
	}
}

// listen ends a turn in which nothing was said for a while.
func (t *Turn) listen() {
	t.floor.mu.Lock()
	if t.over.Load() {
		t.floor.mu.Unlock()
		return
	}
	if left := Silence - (time.Since(t.began) - time.Duration(t.last.Load())); left > 0 {
		t.timer.Reset(left)
		t.floor.mu.Unlock()
		return
	}
	t.floor.end(t)
	t.floor.mu.Unlock()
	t.lost(Silent)
}
