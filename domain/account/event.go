package account

import (
	"fmt"
	"slices"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/ids"
)

// Event is something that happened to an account. The set is closed: the events of
// this package and no others.
type Event interface {
	event.Event
	// apply changes the state by the event. An event that is immediately delivered again
	// changes nothing more.
	apply(s *State)
}

// LoginClaimed opens the stream of a login: its name makes the address unique. It is
// written before the account's own stream exists. The last one counts: a claim whose
// account was never created can pass to another account.
type LoginClaimed struct {
	Login   string    `json:"login"` // keyed hash of the address
	Account string    `json:"account"`
	Proven  bool      `json:"_proven,omitempty"` // the account has just proven the address
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (LoginClaimed) Type() string { return "latchkey.login.claimed.v1" }

// Subjects returns whom and what it concerns.
func (e LoginClaimed) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Account, Login: e.Login}
}

// Effect returns what it does to privileges.
func (LoginClaimed) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (LoginClaimed) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e LoginClaimed) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e LoginClaimed) Sentence() string {
	return fmt.Sprintf("account %s claimed login %s", e.Account, e.Login)
}

func (e LoginClaimed) apply(s *State) {
	s.Account, s.Login, s.ClaimedAt, s.Proven = e.Account, e.Login, e.At, e.Proven
}

// Registered opens the stream of an account.
type Registered struct {
	Account  string    `json:"account"`
	Login    string    `json:"login"`   // keyed hash of the address
	Kind     string    `json:"kind"`    // "email" or "phone"
	Address  string    `json:"address"` // sealed
	Name     string    `json:"name"`    // sealed
	Language string    `json:"_language,omitempty"`
	Applied  bool      `json:"applied,omitempty"` // the login is not the account's until it is proven
	At       time.Time `json:"at"`
}

// Type returns the frozen name.
func (Registered) Type() string { return "latchkey.account.registered.v1" }

// Subjects returns whom and what it concerns.
func (e Registered) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Account, Login: e.Login}
}

// Effect returns what it does to privileges.
func (Registered) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (Registered) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e Registered) Texts(change event.ChangeText) event.Event {
	e.Address = change(event.FieldAddress, e.Address)
	e.Name = change(event.FieldName, e.Name)
	return e
}

// Sentence describes what happened.
func (e Registered) Sentence() string {
	return fmt.Sprintf("account %s registered: %s, %s %s", e.Account, e.Name, e.Kind, e.Address)
}

func (e Registered) apply(s *State) {
	s.Account, s.Login, s.Registered = e.Account, e.Login, true
	s.Kind, s.Address, s.Name, s.Language = e.Kind, e.Address, e.Name, e.Language
	if _, ok := s.FindAddress(e.Login); !ok {
		s.Addresses = append(slices.Clone(s.Addresses), Address{Login: e.Login, Kind: e.Kind, Text: e.Address, AddedAt: e.At})
	}
}

// StreamKeyAdded binds the name of a stream key to the account. Its secret is
// in the vault.
type StreamKeyAdded struct {
	Account string    `json:"account"`
	Key     string    `json:"key"`              // the key's name, unique among all keys
	Label   string    `json:"label,omitempty"`  // sealed; what its owner calls it
	Device  string    `json:"device,omitempty"` // opens this device only
	Expires time.Time `json:"expires,omitzero"` // zero: never
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (StreamKeyAdded) Type() string { return "latchkey.stream_key.added.v1" }

// Subjects returns whom and what it concerns.
func (e StreamKeyAdded) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Account, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e StreamKeyAdded) Effect() event.Effect {
	key := event.StreamKey{Name: ids.Key(e.Key), Account: ids.Account(e.Account), Device: ids.Device(e.Device), Expires: e.Expires}
	return event.Effect{Kind: event.KeyAdded, Account: key.Account, Key: key}
}

// Revokes returns what it revokes.
func (StreamKeyAdded) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e StreamKeyAdded) Texts(change event.ChangeText) event.Event {
	e.Label = change(event.FieldLabel, e.Label)
	return e
}

// Sentence describes what happened.
func (e StreamKeyAdded) Sentence() string {
	return fmt.Sprintf("account %s made stream key %s%s%s", e.Account, e.Key, event.On(" for device ", e.Device), until(e.Expires))
}

func (e StreamKeyAdded) apply(s *State) {
	if _, ok := s.Find(e.Key); !ok {
		key := Key{Name: e.Key, Label: e.Label, Device: e.Device, Expires: e.Expires, AddedAt: e.At}
		s.Keys = append(slices.Clone(s.Keys), key)
	}
}

// PublishingKeyAdded binds the name of a publishing key to the account and to one channel
// of a device of it. With such a key streams are published, and nothing is watched. It is
// revoked as a stream key is.
type PublishingKeyAdded struct {
	Account string    `json:"account"`
	Key     string    `json:"key"` // its name, which says the channel as well
	Label   string    `json:"label,omitempty"`
	Device  string    `json:"device"`
	Channel int       `json:"channel"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (PublishingKeyAdded) Type() string { return "latchkey.publishing_key.added.v1" }

// Subjects returns whom and what it concerns.
func (e PublishingKeyAdded) Subjects() event.Subjects { return e.asKey().Subjects() }

// Effect returns what it does to privileges: the key is valid, and its name keeps it from
// watching.
func (e PublishingKeyAdded) Effect() event.Effect { return e.asKey().Effect() }

// Revokes returns what it revokes.
func (PublishingKeyAdded) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e PublishingKeyAdded) Texts(change event.ChangeText) event.Event {
	e.Label = change(event.FieldLabel, e.Label)
	return e
}

// Sentence describes what happened.
func (e PublishingKeyAdded) Sentence() string {
	return fmt.Sprintf("account %s made publishing key %s for channel %d of device %s%s", e.Account, e.Key, e.Channel, e.Device, until(e.Expires))
}

func (e PublishingKeyAdded) apply(s *State) { e.asKey().apply(s) }

func (e PublishingKeyAdded) asKey() StreamKeyAdded {
	return StreamKeyAdded{Account: e.Account, Key: e.Key, Label: e.Label, Device: e.Device, Expires: e.Expires, At: e.At}
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + t.UTC().Format(time.RFC3339)
}

// StreamKeyRevoked ends a stream key for good.
type StreamKeyRevoked struct {
	Account string    `json:"account"`
	Key     string    `json:"key"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (StreamKeyRevoked) Type() string { return "latchkey.stream_key.revoked.v1" }

// Subjects returns whom and what it concerns.
func (e StreamKeyRevoked) Subjects() event.Subjects { return event.Subjects{Owner: e.Account} }

// Effect returns what it does to privileges.
func (e StreamKeyRevoked) Effect() event.Effect {
	key := event.StreamKey{Name: ids.Key(e.Key), Account: ids.Account(e.Account)}
	return event.Effect{Kind: event.KeyRevoked, Account: key.Account, Key: key}
}

// Revokes returns what it revokes.
func (e StreamKeyRevoked) Revokes() event.Revocation {
	return event.Revocation{Kind: event.StreamKeyTaken, Account: e.Account, Key: e.Key}
}

// Texts returns the event: it has no personal text.
func (e StreamKeyRevoked) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e StreamKeyRevoked) Sentence() string {
	return fmt.Sprintf("account %s revoked stream key %s", e.Account, e.Key)
}

func (e StreamKeyRevoked) apply(s *State) {
	s.Keys = slices.DeleteFunc(slices.Clone(s.Keys), func(k Key) bool { return k.Name == e.Key })
}
