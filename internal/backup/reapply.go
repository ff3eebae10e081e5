package backup

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/eventstore"
	"latchkey/internal/journal"
)

// ErrNoJournal is returned if nothing records what was revoked since the end of the log
// that is put in place.
var ErrNoJournal = errors.New("no record of what was revoked since")

// Without selects what to do if no journal of revocations reaches far enough.
type Without uint8

const (
	// Refuse returns ErrNoJournal.
	Refuse Without = iota
	// TakeBack revokes everything that was granted to others, as it may have been revoked
	// already. Owners must share again.
	TakeBack
	// Trust relies on the operator's word that nothing was revoked.
	Trust
)

// UseCases are the commands that repeat revocations.
type UseCases interface {
	Reapply(ctx context.Context, r event.Revocation) (changed bool, err error)
}

// Forgetter erases persons.
type Forgetter interface {
	Forget(ctx context.Context, person string) error
}

// Journals are the journals of the processes that served a log.
type Journals []*journal.Contents

// reach reports whether a journal was still written when the log had an event at a
// position.
func (js Journals) reach(id eventstore.Identity, position eventstore.Position) bool {
	return slices.ContainsFunc(js, func(j *journal.Contents) bool { return j.Reaches(id, position) })
}

// epoch returns the last epoch of a log in the journals, 0 for none.
func (js Journals) epoch(log uuid.UUID) (last uint64) {
	for _, j := range js {
		for _, m := range j.Marks {
			if m.Log == log {
				last = max(last, m.Epoch)
			}
		}
	}
	return last
}

// lost returns the revocations that the journals have and a log does not. Those of
// earlier epochs were repeated when the log's epoch began. Passwords that were replaced
// before the vault was written are not lost; vault is its mark.
func (js Journals) lost(id eventstore.Identity, in *inventory, vault eventstore.Mark) []event.Revocation {
	var list []event.Revocation
	seen := map[uuid.UUID]bool{}
	for _, j := range js {
		for _, e := range j.Entries {
			r, ok := e.Revocation()
			if !ok || e.Log != id.Log || e.Epoch < id.Epoch || in.revoked[e.Event] || seen[e.Event] {
				continue
			}
			if r.Kind == event.PasswordTaken && (e.Epoch < vault.Epoch || e.Epoch == vault.Epoch && e.Position <= vault.Position) {
				continue
			}
			seen[e.Event] = true
			list = append(list, r)
		}
	}
	return list
}

// erased returns the persons of a log who were erased, at any time.
func (js Journals) erased(log uuid.UUID) []string {
	persons := map[string]bool{}
	for _, j := range js {
		for _, e := range j.Entries {
			if person := e.Erased(); person != "" && e.Log == log {
				persons[person] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(persons))
}

// everything returns revocations of all that was granted to others, and of the offers of
// devices.
func (v *inventory) everything() []event.Revocation {
	cause := uuid.New()
	var list []event.Revocation
	for _, id := range slices.Sorted(maps.Keys(v.shares)) {
		list = append(list, event.Revocation{Kind: event.ShareEmptied, Event: cause, Share: id})
	}
	for _, name := range slices.Sorted(maps.Keys(v.keys)) {
		list = append(list, event.Revocation{Kind: event.StreamKeyTaken, Event: cause, Account: v.keys[name], Key: name})
	}
	for _, serial := range slices.Sorted(maps.Keys(v.offers)) {
		if of, _, ok := device.ParseTransfer(v.offers[serial]); ok {
			list = append(list, event.Revocation{Kind: event.OfferTaken, Event: cause, Device: of, Key: v.offers[serial]})
		}
	}
	return list
}

// repeated is the result of repeating revocations in a log and a vault.
type repeated struct {
	Repeated int // revocations that changed something
	Erased   int // persons who were erased
}

// repeat repeats revocations and erasures. It is idempotent.
func repeat(ctx context.Context, uc UseCases, v Forgetter, list []event.Revocation, persons []string) (done repeated, err error) {
	for _, r := range list {
		changed, err := uc.Reapply(ctx, r)
		if err != nil {
			return done, err
		}
		if changed {
			done.Repeated++
		}
	}
	for _, person := range persons {
		if err := v.Forget(ctx, person); err != nil {
			return done, err
		}
		done.Erased++
	}
	return done, nil
}
