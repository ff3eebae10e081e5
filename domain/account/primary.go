package account

import (
	"errors"
	"fmt"
	"time"

	"latchkey/domain/event"
)

// ErrUnverified refuses to show an account with an address that it has not proven.
var ErrUnverified = errors.New("verify this address first: others are shown it")

// MakePrimary chooses the address that the account is shown with.
type MakePrimary struct {
	Login string
	Any   bool // addresses need no proof
	At    time.Time
}

func (MakePrimary) accountCommand() {}

func makePrimary(s State, c MakePrimary) ([]Event, error) {
	a, ok := s.FindAddress(c.Login)
	switch {
	case !ok:
		return nil, ErrAddressNotFound
	case !a.Verified && !c.Any:
		return nil, ErrUnverified
	case c.Login == s.Login:
		return nil, nil
	}
	return []Event{PrimaryAddressChanged{Account: s.Account, Login: a.Login, Kind: a.Kind, Address: a.Text, At: c.At}}, nil
}

// PrimaryAddressChanged records the address that the account is shown with from now on.
type PrimaryAddressChanged struct {
	Account string    `json:"account"`
	Login   string    `json:"login"`
	Kind    string    `json:"kind"`    // "email" or "phone"
	Address string    `json:"address"` // sealed
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (PrimaryAddressChanged) Type() string { return "latchkey.account.primary_address_changed.v1" }

// Subjects returns whom and what it concerns.
func (e PrimaryAddressChanged) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Account, Login: e.Login}
}

// Effect returns what it does to privileges.
func (PrimaryAddressChanged) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (PrimaryAddressChanged) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e PrimaryAddressChanged) Texts(change event.ChangeText) event.Event {
	e.Address = change(event.FieldAddress, e.Address)
	return e
}

// Sentence describes what happened.
func (e PrimaryAddressChanged) Sentence() string {
	return fmt.Sprintf("account %s is shown with the %s %s, login %s", e.Account, e.Kind, e.Address, e.Login)
}

func (e PrimaryAddressChanged) apply(s *State) {
	s.Login, s.Kind, s.Address = e.Login, e.Kind, e.Address
}
