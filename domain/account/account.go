// Package account decides about accounts: who has an address, who is registered, and
// which stream keys they have. It is pure. Passwords and the secrets of stream keys are
// in the vault and never in an event.
package account

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"latchkey/domain/ids"
)

const (
	// MaxKeys is the number of unexpired stream keys that an account may have if the
	// command sets no other limit.
	MaxKeys = 100
	// ClaimLease is how long a claim that did not become an account keeps its login.
	ClaimLease = 10 * time.Minute
)

// The reasons why a command is refused.
var (
	ErrLoginTaken     = errors.New("this address is already in use")
	ErrRegistered     = errors.New("the account is registered already")
	ErrNotRegistered  = errors.New("the account does not exist")
	ErrIncomplete     = errors.New("an identifier is missing")
	ErrKeyExists      = errors.New("the account already has a stream key with this name")
	ErrKeyNotFound    = errors.New("the stream key does not exist")
	ErrKeyExpired     = errors.New("a stream key must expire in the future")
	ErrTooManyKeys    = errors.New("the account has too many stream keys")
	ErrUnknownCommand = errors.New("unknown command")
)

// State is what the events of a stream amount to: a login's stream has its holder, an
// account's stream has the rest.
type State struct {
	Account    string
	Login      string // keyed hash of the address
	ClaimedAt  time.Time
	Proven     bool // of a login: its account had proven the address when it claimed it
	Registered bool
	Kind       string // "email" or "phone"
	Address    string // sealed
	Name       string // sealed
	Keys       []Key  // those not revoked
	Addresses  []Address
	UserName   string // sealed
	UserLogin  string // keyed hash of the user name
	Language   string // of messages; "" for the default
	Closed     bool
	// PasswordAt is when the password was last changed; zero: it is the first one.
	PasswordAt time.Time
	Notices    Notices // that the account wants to be sent
	Webhook    string  // id; "" for none
}

// Key is a stream key.
type Key struct {
	Name    string
	Label   string    // sealed
	Device  string    // "" for every device
	Expires time.Time // zero: never
	AddedAt time.Time
}

// Find returns the stream key of that name.
func (s State) Find(key string) (Key, bool) {
	for _, k := range s.Keys {
		if k.Name == key {
			return k, true
		}
	}
	return Key{}, false
}

// Command is an intended change. The set is closed.
type Command interface{ accountCommand() }

// Claim takes a login for an account. It is decided over the login's stream.
type Claim struct {
	Login     string
	Account   string
	Abandoned bool // the account that holds the login was never registered
	Lost      bool // nobody can log in to that account any more: its password is lost
	Proven    bool // the account has just proven that the address is its own
	At        time.Time
}

// Register creates the account. It is decided over the account's stream, after the login
// was claimed for it, unless it only applies for the login.
type Register struct {
	Account  string
	Login    string
	Kind     string
	Address  string // sealed
	Name     string // sealed
	Language string // of messages; "" for the default
	Applied  bool   // the login was not claimed: it is the account's once it is proven
	At       time.Time
}

// AddKey creates a stream key.
type AddKey struct {
	Key     string
	Label   string     // sealed
	Device  string     // "" for every device
	Channel int        // of the device that it publishes to; 0: it watches
	Expires *time.Time // nil: never
	Most    int        // limit on unexpired keys; 0: MaxKeys
	At      time.Time
}

// RevokeKey ends a stream key.
type RevokeKey struct {
	Key string
	At  time.Time
}

// ChangePassword records that the account has another password, and ends every stream key
// of the account, including expired ones, and its webhook. The password itself is in the vault.
type ChangePassword struct {
	By string // "": by the previous password
	At time.Time
}

// How a password is changed without the previous one.
const (
	ByCode     = "code"     // by a code that was sent to an address
	ByOperator = "operator" // on the machine of the service
	ByRestore  = "restore"  // it is void: a backup had brought it back
)

// RevokeKeys ends every stream key of the account, and its webhook.
type RevokeKeys struct{ At time.Time }

func (ChangePassword) accountCommand() {}
func (RevokeKeys) accountCommand()     {}
func (Claim) accountCommand()          {}
func (Register) accountCommand()       {}
func (AddKey) accountCommand()         {}
func (RevokeKey) accountCommand()      {}

// Decide returns the events of a command.
func Decide(s State, command Command) ([]Event, error) {
	switch c := command.(type) {
	case Claim:
		return claim(s, c)
	case Register:
		return register(s, c)
	case AddKey:
		return addKey(s, c)
	case ChangePassword:
		if !s.Registered {
			return nil, ErrNotRegistered
		}
		return append([]Event{PasswordChanged{Account: s.Account, By: c.By, At: c.At}}, revokeAll(s, c.At)...), nil
	case RevokeKeys:
		return revokeAll(s, c.At), nil
	case Release:
		return release(s, c)
	case AddAddress:
		return ifRegistered(s, c, addAddress)
	case VerifyAddress:
		return ifRegistered(s, c, verifyAddress)
	case RemoveAddress:
		return ifRegistered(s, c, removeAddress)
	case MakePrimary:
		return ifRegistered(s, c, makePrimary)
	case Close:
		return ifRegistered(s, c, closeAccount)
	case SetProfile:
		return ifRegistered(s, c, setProfile)
	case SetNotices:
		return ifRegistered(s, c, setNotices)
	case SetWebhook:
		return ifRegistered(s, c, setWebhook)
	case RemoveWebhook:
		return ifRegistered(s, c, removeWebhook)
	case RevokeKey:
		if _, ok := s.Find(c.Key); !ok || !s.Registered {
			return nil, ErrKeyNotFound
		}
		return []Event{StreamKeyRevoked{Account: s.Account, Key: c.Key, At: c.At}}, nil
	}
	return nil, fmt.Errorf("%w %T", ErrUnknownCommand, command)
}

func ifRegistered[C Command](s State, c C, decide func(State, C) ([]Event, error)) ([]Event, error) {
	if !s.Registered {
		return nil, ErrNotRegistered
	}
	return decide(s, c)
}

// revokeAll ends every stream key, and the webhook: whoever had a session may have made
// them.
func revokeAll(s State, at time.Time) []Event {
	var events []Event
	if s.Webhook != "" {
		events = append(events, WebhookRemoved{Account: s.Account, Webhook: s.Webhook, At: at})
	}
	for _, k := range s.Keys {
		events = append(events, StreamKeyRevoked{Account: s.Account, Key: k.Name, At: at})
	}
	return events
}

// claim lets an account claim its login again: this renews a claim that never became an
// account. Another account gets it once ClaimLease is over, or at once if the vault has
// lost the first account's password.
func claim(s State, c Claim) ([]Event, error) {
	if c.Login == "" || c.Account == "" {
		return nil, ErrIncomplete
	}
	lapsed := c.Lost || c.Abandoned && !c.At.Before(s.ClaimedAt.Add(ClaimLease))
	if s.Account != "" && s.Account != c.Account && !lapsed {
		return nil, ErrLoginTaken
	}
	return []Event{LoginClaimed{Login: c.Login, Account: c.Account, Proven: c.Proven, At: c.At}}, nil
}

func register(s State, c Register) ([]Event, error) {
	if c.Account == "" || c.Login == "" || c.Kind == "" || c.Address == "" {
		return nil, ErrIncomplete
	}
	if s.Registered {
		return nil, ErrRegistered
	}
	return []Event{Registered{
		Account: c.Account, Login: c.Login, Kind: c.Kind, Address: c.Address, Name: c.Name, Language: c.Language, Applied: c.Applied, At: c.At,
	}}, nil
}

func addKey(s State, c AddKey) ([]Event, error) {
	if !s.Registered {
		return nil, ErrNotRegistered
	}
	if c.Key == "" || c.Channel != ids.Key(c.Key).Publishes() || c.Channel != 0 && c.Device == "" {
		return nil, ErrIncomplete
	}
	if _, ok := s.Find(c.Key); ok {
		return nil, ErrKeyExists
	}
	var expires time.Time // of the event, where zero means never: no accepted time is zero
	if c.Expires != nil {
		if expires = *c.Expires; expires.IsZero() || !expires.After(c.At) {
			return nil, ErrKeyExpired
		}
	}
	live := 0
	for _, k := range s.Keys {
		if k.Expires.IsZero() || k.Expires.After(c.At) {
			live++
		}
	}
	if live >= cmp.Or(c.Most, MaxKeys) {
		return nil, ErrTooManyKeys
	}
	if c.Channel != 0 {
		return []Event{PublishingKeyAdded{
			Account: s.Account, Key: c.Key, Label: c.Label, Device: c.Device, Channel: c.Channel, Expires: expires, At: c.At,
		}}, nil
	}
	return []Event{StreamKeyAdded{
		Account: s.Account, Key: c.Key, Label: c.Label, Device: c.Device, Expires: expires, At: c.At,
	}}, nil
}

// Evolve returns the state after the event. It does not modify its arguments, and an
// event that is immediately delivered again changes nothing more.
func Evolve(s State, e Event) State {
	e.apply(&s)
	return s
}
