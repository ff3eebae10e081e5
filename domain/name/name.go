// Package name decides which device an account means by a device domain, the name that it
// chose. It is pure. A claim reserves the name for one device of the account; whether the
// device has the name is decided by its share, in package share.
package name

import (
	"errors"
	"fmt"
	"time"

	"latchkey/domain/event"
)

// ClaimLease is how long a claim is kept whose device has not got the name yet: far
// longer than any command takes.
const ClaimLease = time.Minute

// The reasons why a command is refused.
var (
	ErrTaken          = errors.New("another device has this domain")
	ErrIncomplete     = errors.New("an identifier is missing")
	ErrUnknownCommand = errors.New("unknown command")
)

// State is the last claim on a name of an account. The zero value has no claim.
type State struct {
	Account, Domain string
	Share, Device   string
	Revision        int64 // of the share when the claim was made
	At              time.Time
}

// Event is something that happened to a name. The set is closed.
type Event interface {
	event.Event
	apply(s *State)
}

// Claimed reserves the name for a device of the account. The last one counts. The device
// gets the name by a share.DomainSet that follows the revision; if the share has another
// event there, or none, the claim has no effect.
type Claimed struct {
	Account  string    `json:"account"`
	Domain   string    `json:"domain"`
	Share    string    `json:"share"`
	Device   string    `json:"device"`
	Revision int64     `json:"revision"` // of the share
	At       time.Time `json:"at"`
}

// Type returns the frozen name.
func (Claimed) Type() string { return "latchkey.device_domain.claimed.v1" }

// Subjects returns whom and what it concerns.
func (e Claimed) Subjects() event.Subjects {
	return event.Subjects{Recipient: e.Account, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (Claimed) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (Claimed) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Claimed) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Claimed) Sentence() string {
	return fmt.Sprintf("account %s claimed the name %q for device %s (share %s)", e.Account, e.Domain, e.Device, e.Share)
}

func (e Claimed) apply(s *State) {
	*s = State{Account: e.Account, Domain: e.Domain, Share: e.Share, Device: e.Device, Revision: e.Revision, At: e.At}
}

// Command is an intended change to a name. The set is closed.
type Command interface{ nameCommand() }

// Claim takes the name for a device.
type Claim struct {
	Account, Domain string
	Share, Device   string
	Revision        int64 // of the share now
	Held            bool  // the device of the previous claim has the name, or may still get it
	At              time.Time
}

func (Claim) nameCommand() {}

// Decide returns the events of a command.
func Decide(s State, command Command) ([]Event, error) {
	c, ok := command.(Claim)
	if !ok {
		return nil, fmt.Errorf("%w %T", ErrUnknownCommand, command)
	}
	if c.Account == "" || c.Domain == "" || c.Share == "" || c.Device == "" {
		return nil, ErrIncomplete
	}
	if c.Held && !s.Of(c.Device) {
		return nil, ErrTaken
	}
	return []Event{Claimed{
		Account: c.Account, Domain: c.Domain, Share: c.Share, Device: c.Device, Revision: c.Revision, At: c.At,
	}}, nil
}

// Of reports whether the claim is for that device, or there is no claim.
func (s State) Of(device string) bool { return s.Device == "" || s.Device == device }

// Pending reports whether the device may still get the name, given the revision of its
// share.
func (s State) Pending(revision int64, now time.Time) bool {
	return revision <= s.Revision && now.Before(s.At.Add(ClaimLease))
}

// Evolve returns the state after the event.
func Evolve(s State, e Event) State {
	e.apply(&s)
	return s
}
