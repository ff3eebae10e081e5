package reclaim

import (
	"fmt"
	"time"

	"latchkey/domain/event"
)

// Event is something that happened to a claim. The set is closed.
type Event interface {
	event.Event
	apply(s *State)
}

// Claimed claims a device for an account that has proven that it has it. The last one
// counts.
type Claimed struct {
	Serial  string    `json:"serial"` // canonical
	Account string    `json:"account"`
	Device  string    `json:"device"`
	Owner   string    `json:"owner"`
	Ready   time.Time `json:"ready"` // it can be completed from then on
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (Claimed) Type() string { return "latchkey.device.reclaim_claimed.v1" }

// Subjects returns whom and what it concerns.
func (e Claimed) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Device: e.Device}
}

// Effect returns that it changes no privilege.
func (Claimed) Effect() event.Effect { return event.NoEffect }

// Revokes returns that it takes nothing away.
func (Claimed) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Claimed) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e Claimed) Sentence() string {
	return fmt.Sprintf("account %s proved the password of device %s of owner %s and claims it; the owner can object until it is completed, from %s on",
		e.Account, e.Device, e.Owner, e.Ready.UTC().Format(time.RFC3339))
}

func (e Claimed) apply(s *State) {
	*s = State{Serial: e.Serial, Account: e.Account, Device: e.Device, Owner: e.Owner, At: e.At, Ready: e.Ready}
}

// Ended ends a claim. It carries all that there is to know of the claim after it.
type Ended struct {
	Serial  string    `json:"serial"`
	Account string    `json:"account"`
	Device  string    `json:"device"`
	Owner   string    `json:"owner"`
	Claimed time.Time `json:"claimed"`
	Ready   time.Time `json:"ready"`
	Why     Why       `json:"why"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (Ended) Type() string { return "latchkey.device.reclaim_ended.v1" }

// Subjects returns whom and what it concerns.
func (e Ended) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Device: e.Device}
}

// Effect returns that it changes no privilege: what the device's new owner gets is in the
// device's own stream.
func (Ended) Effect() event.Effect { return event.NoEffect }

// Revokes returns that it takes nothing away.
func (Ended) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Ended) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e Ended) Sentence() string {
	switch e.Why {
	case Objected:
		return fmt.Sprintf("owner %s objected to the claim of account %s to device %s", e.Owner, e.Account, e.Device)
	case Completed:
		return fmt.Sprintf("account %s proved the password of device %s of owner %s again, who had not objected: the claim is completed", e.Account, e.Device, e.Owner)
	}
	return fmt.Sprintf("the claim of account %s to device %s of owner %s was %s", e.Account, e.Device, e.Owner, e.Why)
}

func (e Ended) apply(s *State) {
	*s = State{Serial: e.Serial, Account: e.Account, Device: e.Device, Owner: e.Owner, At: e.Claimed, Ready: e.Ready, Ended: e.Why, EndedAt: e.At}
}
