// Package device decides who has a device: its owner, from when it is added until it is
// removed. It is pure. A device's address and credentials are secret and never in an
// event; what others may do with it belongs in package share.
package device

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"latchkey/domain/privilege"
)

// The reasons why a command is refused.
var (
	ErrTaken          = errors.New("the device belongs to another account: you can request access to it from its owner, or reclaim it if you have it and know its password")
	ErrAlreadyAdded   = errors.New("the device is already in this account")
	ErrNotFound       = errors.New("the device does not exist")
	ErrNoOwner        = errors.New("a device needs a serial and an owner")
	ErrNoChannels     = errors.New("a device needs at least one channel")
	ErrBadChannel     = errors.New("a channel number is out of range")
	ErrNoSuchChannel  = errors.New("the device has no such channel")
	ErrChannelTwice   = errors.New("a channel is listed twice")
	ErrBadCapability  = errors.New("a capability is unknown")
	ErrUnknownCommand = errors.New("unknown command")
)

// State is a device after its events. The zero value was never added.
type State struct {
	Serial     string // as entered
	Generation int    // how often it was added
	Changes    int    // of this generation
	Live       bool   // in an account now
	Device     string // the id of the latest generation; it never returns once removed
	Owner      string // of the latest generation
	Name       string // sealed
	Channels   []Channel
	Facts      Facts
	AddedAt    time.Time
	Transfer   Transfer // that waits, or has expired
}

// Command is an intended change to a device. The set is closed.
type Command interface{ deviceCommand() }

// Add adds the device to an account.
type Add struct {
	Serial   string // normalised: the id follows from it
	Written  string // the serial as entered; "" for the same
	Owner    string
	Name     string // sealed
	Channels []Channel
	Facts    Facts
	At       time.Time
}

// Remove takes the device out of its owner's account.
type Remove struct {
	Device string
	By     string // account
	At     time.Time
}

func (Add) deviceCommand()    {}
func (Remove) deviceCommand() {}

// Decide returns the events of a command.
func Decide(s State, command Command) ([]Event, error) {
	switch c := command.(type) {
	case Add:
		return add(s, c)
	case Remove:
		if !s.isOf(c.Device, c.By) {
			return nil, ErrNotFound
		}
		return []Event{Removed{Device: s.Device, Owner: s.Owner, At: c.At, Transfer: s.Transfer.Number}}, nil
	case Rename:
		return rename(s, c)
	case NoteFacts:
		return noteFacts(s, c)
	case OfferTransfer:
		return offerTransfer(s, c)
	case EndTransfer:
		return endTransfer(s, c)
	case AcceptTransfer:
		return acceptTransfer(s, c)
	case Reclaim:
		return reclaim(s, c)
	}
	return nil, fmt.Errorf("%w %T", ErrUnknownCommand, command)
}

func add(s State, c Add) ([]Event, error) {
	if c.Serial == "" || c.Owner == "" {
		return nil, ErrNoOwner
	}
	if s.Live && s.Owner == c.Owner {
		return nil, ErrAlreadyAdded
	}
	if s.Live {
		return nil, ErrTaken
	}
	channels, err := checkChannels(c.Channels)
	if err != nil {
		return nil, err
	}
	generation := s.Generation + 1
	return []Event{Added{
		Device: ID(c.Serial, generation), Serial: cmp.Or(c.Written, c.Serial), Generation: generation,
		Owner: c.Owner, Name: c.Name, Channels: channels, At: c.At,
		Model: c.Facts.Model, Firmware: c.Facts.Firmware, ProvenAt: c.Facts.ProvenAt,
	}}, nil
}

// checkChannels returns the channels in order.
func checkChannels(list []Channel) ([]Channel, error) {
	if len(list) == 0 {
		return nil, ErrNoChannels
	}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b Channel) int { return a.Channel - b.Channel })
	for i, c := range sorted {
		if c.Channel < 1 || c.Channel > privilege.MaxChannel {
			return nil, fmt.Errorf("channel %d: %w", c.Channel, ErrBadChannel)
		}
		if i > 0 && sorted[i-1].Channel == c.Channel {
			return nil, fmt.Errorf("channel %d: %w", c.Channel, ErrChannelTwice)
		}
		if !c.Capabilities.Valid() {
			return nil, fmt.Errorf("channel %d: %w", c.Channel, ErrBadCapability)
		}
	}
	return sorted, nil
}

// Last returns the state after the last event of a device, which alone determines it: an
// addition or a change has everything, and a removal has the generation and the owner.
// Earlier events are history.
func Last(event Event) State {
	switch e := event.(type) {
	case Added:
		return Evolve(State{}, e)
	case Renamed:
		return e.state()
	case FactsChanged:
		return e.state()
	case TransferOffered:
		return e.state()
	case TransferEnded:
		return e.state()
	case Removed:
		return State{Device: e.Device, Owner: e.Owner, Generation: generationOf(e.Device)}
	}
	return State{}
}

// Evolve returns the state after the event. An event that is delivered again changes
// nothing more.
func Evolve(s State, e Event) State {
	e.apply(&s)
	return s
}
