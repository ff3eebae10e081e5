package account

import "time"

// Event is something that happened to an account. The set is closed: the
// events of this package and no others.
type Event interface{ accountEvent() }

// LoginClaimed opens the stream of a login: its name makes the address unique.
// It is written before the account's own stream exists. The last one counts: a
// claim whose account never came can pass to another account.
type LoginClaimed struct {
	Login   string    `json:"login"` // keyed hash of the address
	Account string    `json:"account"`
	At      time.Time `json:"at"`
}

// Registered opens the stream of an account.
type Registered struct {
	Account string    `json:"account"`
	Login   string    `json:"login"`   // keyed hash of the address
	Kind    string    `json:"kind"`    // "email" or "phone"
	Address string    `json:"address"` // sealed
	Name    string    `json:"name"`    // sealed
	At      time.Time `json:"at"`
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

// StreamKeyRevoked ends a stream key for good.
type StreamKeyRevoked struct {
	Account string    `json:"account"`
	Key     string    `json:"key"`
	At      time.Time `json:"at"`
}

func (LoginClaimed) accountEvent()     {}
func (Registered) accountEvent()       {}
func (StreamKeyAdded) accountEvent()   {}
func (StreamKeyRevoked) accountEvent() {}
