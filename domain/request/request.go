// Package request decides about requests for access to a device of another account. It is
// pure. There is one stream for each serial and each account that asks, whether a device
// with the serial exists or not: what is written does not tell.
package request

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"latchkey/domain/event"
)

// Pause is how long an account waits before it can ask for the same device again.
const Pause = 24 * time.Hour

// The reasons why a command is refused.
var (
	ErrNotFound       = errors.New("the access request does not exist")
	ErrIncomplete     = errors.New("an identifier is missing")
	ErrUnknownCommand = errors.New("unknown command")
)

var idPattern = regexp.MustCompile(`^[a-z0-9-]{3,64}\.[A-Za-z0-9-]{1,64}$`)

// ID returns the id of the request of an account for the device with a serial.
func ID(serial, account string) string { return serial + "." + account }

// Parse returns the parts of an id; ok is false if it is not the id of a request.
func Parse(id string) (serial, account string, ok bool) {
	if !idPattern.MatchString(id) {
		return "", "", false
	}
	return strings.Cut(id, ".")
}

// State is the last request of an account for a serial. The zero value was never asked.
type State struct {
	Serial  string // canonical
	Account string // that asks
	Device  string // "" if no account had a device with the serial
	Owner   string // account, "" as well
	AskedAt time.Time

	Dismissed bool
}

// Event is something that happened to a request. The set is closed.
type Event interface {
	event.Event
	apply(s *State)
}

// Requested asks the owner of a device for access to it. The last request counts.
type Requested struct {
	Serial  string    `json:"serial"` // canonical
	Account string    `json:"account"`
	Device  string    `json:"device"`  // "" if no account had a device with the serial
	Owner   string    `json:"owner"`   // account, "" as well
	Message string    `json:"message"` // sealed with the key of the account that asks
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (Requested) Type() string { return "latchkey.device.access_requested.v1" }

// Subjects returns whom and what it concerns.
func (e Requested) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Device: e.Device}
}

// Effect returns that it changes no privilege.
func (Requested) Effect() event.Effect { return event.NoEffect }

// Revokes returns that it takes nothing away.
func (Requested) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal text.
func (e Requested) Texts(change event.ChangeText) event.Event {
	e.Message = change(event.FieldMessage, e.Message)
	return e
}

// Sentence says what happened.
func (e Requested) Sentence() string {
	if e.Owner == "" {
		return fmt.Sprintf("account %s requested access to serial %s, which is in no account", e.Account, e.Serial)
	}
	return fmt.Sprintf("account %s requested access to device %s of owner %s (%s)", e.Account, e.Device, e.Owner, e.Message)
}

func (e Requested) apply(s *State) {
	*s = State{Serial: e.Serial, Account: e.Account, Device: e.Device, Owner: e.Owner, AskedAt: e.At}
}

// Dismissed says that the owner does not want to see the request any more. It carries
// all that there is to know of the request after it.
type Dismissed struct {
	Serial  string    `json:"serial"`
	Account string    `json:"account"` // that asked
	Device  string    `json:"device"`
	Owner   string    `json:"owner"`
	AskedAt time.Time `json:"asked_at"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (Dismissed) Type() string { return "latchkey.device.access_request_dismissed.v1" }

// Subjects returns whom and what it concerns.
func (e Dismissed) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Device: e.Device}
}

// Effect returns that it changes no privilege.
func (Dismissed) Effect() event.Effect { return event.NoEffect }

// Revokes returns that it takes nothing away.
func (Dismissed) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Dismissed) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e Dismissed) Sentence() string {
	return fmt.Sprintf("owner %s dismissed the request of account %s for access to device %s", e.Owner, e.Account, e.Device)
}

func (e Dismissed) apply(s *State) {
	*s = State{Serial: e.Serial, Account: e.Account, Device: e.Device, Owner: e.Owner, AskedAt: e.AskedAt, Dismissed: true}
}

// Command is an intended change to a request. The set is closed.
type Command interface{ requestCommand() }

// Ask asks for access.
type Ask struct {
	Serial  string // canonical
	Account string
	Device  string // that has the serial, "" for none
	Owner   string // of the device, "" for none
	Message string // sealed
	At      time.Time
}

// Dismiss stops showing the request to the owner.
type Dismiss struct {
	By string // account
	At time.Time
}

func (Ask) requestCommand()     {}
func (Dismiss) requestCommand() {}

// Decide returns the events of a command. Whoever asks again too soon changes nothing.
func Decide(s State, command Command) ([]Event, error) {
	switch c := command.(type) {
	case Ask:
		if c.Serial == "" || c.Account == "" || (c.Device == "") != (c.Owner == "") {
			return nil, ErrIncomplete
		}
		if s.Account != "" && s.Device == c.Device && c.At.Before(s.AskedAt.Add(Pause)) {
			return nil, nil
		}
		return []Event{Requested(c)}, nil
	case Dismiss:
		if c.By == "" || s.Owner != c.By {
			return nil, ErrNotFound
		}
		if s.Dismissed {
			return nil, nil
		}
		return []Event{Dismissed{Serial: s.Serial, Account: s.Account, Device: s.Device, Owner: s.Owner, AskedAt: s.AskedAt, At: c.At}}, nil
	}
	return nil, fmt.Errorf("%w %T", ErrUnknownCommand, command)
}

// Evolve returns the state after the event.
func Evolve(s State, e Event) State {
	e.apply(&s)
	return s
}

// Last returns the state after the last event of a request, which alone determines it.
func Last(e Event) State { return Evolve(State{}, e) }
