package account

import (
	"fmt"
	"time"

	"latchkey/domain/event"
)

// Close closes the account for good, and ends its stream keys. Its devices, shares and
// logins follow, and then its person is forgotten.
type Close struct{ At time.Time }

func (Close) accountCommand() {}

func closeAccount(s State, c Close) ([]Event, error) {
	return append([]Event{Closed{Account: s.Account, At: c.At}}, revokeAll(s, c.At)...), nil
}

// Closed ends an account. Nothing of it can be used or changed any more.
type Closed struct {
	Account string    `json:"account"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (Closed) Type() string { return "latchkey.account.closed.v1" }

// Subjects returns whom and what it concerns.
func (e Closed) Subjects() event.Subjects { return event.Subjects{Owner: e.Account} }

// Effect returns what it does to privileges: keys, devices and shares end by events of
// their own.
func (Closed) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away: the same.
func (Closed) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Closed) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e Closed) Sentence() string { return fmt.Sprintf("account %s was closed", e.Account) }

func (e Closed) apply(s *State) { s.Registered, s.Closed = false, true }
