// Package reclaim decides about claims to a device of another account by whoever has the
// device itself and knows its password. It is pure: whether a claimant has proven that is
// not decided here. There is one stream for each serial and each account that claims.
package reclaim

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

const (
	// Pause is how long an account waits after an objection before it can claim the same
	// device again.
	Pause = 30 * 24 * time.Hour
	// Again is how long an account waits after it has withdrawn a claim before it can claim
	// the same device again: its owner is told of each claim.
	Again = 24 * time.Hour
	// Lasts is how long a claim can be completed once its waiting time is over: the owner
	// need not fear it for ever.
	Lasts = 7 * 24 * time.Hour
)

// The reasons why a command is refused.
var (
	ErrNotFound       = errors.New("the claim does not exist, or has ended")
	ErrIncomplete     = errors.New("an identifier is missing")
	ErrObjected       = errors.New("the owner of the device has objected; you can claim it again 30 days after that")
	ErrTooSoon        = errors.New("you have withdrawn your claim to this device; you can claim it again a day after that")
	ErrWaiting        = errors.New("the owner of the device can still object; complete the claim after its waiting time")
	ErrLapsed         = errors.New("the claim was not completed in time; make another one")
	ErrTaken          = errors.New("the claim has been completed")
	ErrUnknownCommand = errors.New("unknown command")
)

// Why is how a claim ended.
type Why string

// The endings. A claim also ends with the owner's time with the device.
const (
	Objected  Why = "objected"
	Withdrawn Why = "withdrawn" // by whoever made it
	Completed Why = "completed" // the device is the claimant's
)

// State is the last claim of an account to a serial. The zero value was never made.
type State struct {
	Serial  string // canonical
	Account string // that claims
	Device  string // as the owner has it: one generation
	Owner   string // account
	At      time.Time
	Ready   time.Time // it can be completed from then on

	Ended   Why // "": it waits
	EndedAt time.Time
}

// Waits reports whether the claim is for a device as it is now, and has neither ended nor
// lapsed.
func (s State) Waits(device string, now time.Time) bool {
	return s.Account != "" && s.Ended == "" && s.Device == device && now.Before(s.Lapses())
}

// Lapses is when the claim cannot be completed any more.
func (s State) Lapses() time.Time { return s.Ready.Add(Lasts) }

// Command is an intended change to a claim. The set is closed.
type Command interface{ reclaimCommand() }

// Claim claims a device. The claimant has just proven that they have it.
type Claim struct {
	Serial  string // canonical
	Account string
	Device  string
	Owner   string
	Wait    time.Duration // until it can be completed
	At      time.Time
}

// End ends a claim: the owner objects, or the claimant withdraws it.
type End struct {
	By string // account
	At time.Time
}

// Complete ends a claim with success. The claimant has just proven again that they have the
// device, which is still the one that was claimed.
type Complete struct {
	By     string // account
	Device string // as its owner has it now
	At     time.Time
}

func (Claim) reclaimCommand()    {}
func (End) reclaimCommand()      {}
func (Complete) reclaimCommand() {}

// Decide returns the events of a command. Claiming again what waits changes nothing.
func Decide(s State, command Command) ([]Event, error) {
	switch c := command.(type) {
	case Claim:
		return claim(s, c)
	case End:
		return end(s, c)
	case Complete:
		return complete(s, c)
	}
	return nil, fmt.Errorf("%w %T", ErrUnknownCommand, command)
}

func claim(s State, c Claim) ([]Event, error) {
	switch {
	case c.Serial == "" || c.Account == "" || c.Device == "" || c.Owner == "" || c.Owner == c.Account || c.Wait <= 0:
		return nil, ErrIncomplete
	case s.Waits(c.Device, c.At):
		return nil, nil
	case s.Ended == Objected && c.At.Before(s.EndedAt.Add(Pause)):
		return nil, ErrObjected
	case s.Ended == Withdrawn && c.At.Before(s.EndedAt.Add(Again)):
		return nil, ErrTooSoon
	}
	return []Event{Claimed{Serial: c.Serial, Account: c.Account, Device: c.Device, Owner: c.Owner, Ready: c.At.Add(c.Wait), At: c.At}}, nil
}

func end(s State, c End) ([]Event, error) {
	if c.By == "" || c.By != s.Owner && c.By != s.Account {
		return nil, ErrNotFound
	}
	why := Withdrawn
	if c.By == s.Owner {
		why = Objected
	}
	switch s.Ended {
	case "":
		return []Event{s.ended(why, c.At)}, nil
	case why:
		return nil, nil
	case Completed:
		return nil, ErrTaken
	}
	return nil, ErrNotFound
}

func complete(s State, c Complete) ([]Event, error) {
	switch {
	case c.By == "" || c.By != s.Account || s.Device != cmp.Or(c.Device, "?"):
		return nil, ErrNotFound
	case s.Ended == Completed: // it was cut off before the device was theirs
		return nil, nil
	case s.Ended == Objected:
		return nil, ErrObjected
	case s.Ended != "":
		return nil, ErrNotFound
	case c.At.Before(s.Ready):
		return nil, ErrWaiting
	case !c.At.Before(s.Lapses()):
		return nil, ErrLapsed
	}
	return []Event{s.ended(Completed, c.At)}, nil
}

func (s State) ended(why Why, at time.Time) Event {
	return Ended{Serial: s.Serial, Account: s.Account, Device: s.Device, Owner: s.Owner, Claimed: s.At, Ready: s.Ready, Why: why, At: at}
}

// Evolve returns the state after the event.
func Evolve(s State, e Event) State {
	e.apply(&s)
	return s
}

// Last returns the state after the last event of a claim, which alone determines it.
func Last(e Event) State { return Evolve(State{}, e) }
