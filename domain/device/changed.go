package device

import (
	"fmt"
	"slices"
	"time"

	"latchkey/domain/event"
)

// The events of this file carry all that there is to know of the device after them: a
// command reads the last event of a device and no other.

// Renamed gives a device, or channels of it, other names.
type Renamed struct {
	Device     string    `json:"device"`
	Serial     string    `json:"serial"`
	Generation int       `json:"generation"`
	Change     int       `json:"change"` // of this generation, counted from 1
	Owner      string    `json:"owner"`
	Name       string    `json:"name"` // sealed
	Channels   []Channel `json:"channels"`
	Model      string    `json:"model,omitempty"`
	Firmware   string    `json:"firmware,omitempty"`
	ProvenAt   time.Time `json:"proven_at,omitzero"`
	AddedAt    time.Time `json:"added_at"`
	At         time.Time `json:"at"`

	Transfer Transfer `json:"_transfer,omitzero"` // that waits
}

// Type returns the frozen name.
func (Renamed) Type() string { return "latchkey.device.renamed.v1" }

// Subjects returns whom and what it concerns.
func (e Renamed) Subjects() event.Subjects { return event.Subjects{Owner: e.Owner, Device: e.Device} }

// Effect returns that it changes no privilege.
func (Renamed) Effect() event.Effect { return event.NoEffect }

// Revokes returns that it takes nothing away.
func (Renamed) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e Renamed) Texts(change event.ChangeText) event.Event { return e.texts(change) }

func (e Renamed) texts(change event.ChangeText) Renamed {
	e.Name, e.Channels = change(event.FieldDevice, e.Name), channelTexts(e.Channels, change)
	if e.Transfer.Number != 0 {
		e.Transfer.To = change(event.FieldRecipient, e.Transfer.To)
	}
	return e
}

// Sentence says what happened.
func (e Renamed) Sentence() string {
	return fmt.Sprintf("owner %s renamed device %s: it is %s now", e.Owner, e.Device, e.Name)
}

func (e Renamed) apply(s *State) { s.change(e.state()) }

func (e Renamed) state() State {
	return State{
		Serial: e.Serial, Generation: e.Generation, Changes: e.Change, Live: true, Device: e.Device, Owner: e.Owner, Name: e.Name,
		Channels: slices.Clone(e.Channels), Facts: Facts{e.Model, e.Firmware, e.ProvenAt}, AddedAt: e.AddedAt, Transfer: e.Transfer,
	}
}

// FactsChanged notes what a device said of itself when it was asked. What its channels
// can do stays as it was when the device was added: what was shared stays valid.
type FactsChanged struct {
	Device     string    `json:"device"`
	Serial     string    `json:"serial"`
	Generation int       `json:"generation"`
	Change     int       `json:"change"` // of this generation, counted from 1
	Owner      string    `json:"owner"`
	Name       string    `json:"name"` // sealed
	Channels   []Channel `json:"channels"`
	Model      string    `json:"model,omitempty"`
	Firmware   string    `json:"firmware,omitempty"`
	ProvenAt   time.Time `json:"proven_at,omitzero"`
	AddedAt    time.Time `json:"added_at"`
	At         time.Time `json:"at"`

	Transfer Transfer `json:"_transfer,omitzero"` // that waits
}

// Type returns the frozen name.
func (FactsChanged) Type() string { return "latchkey.device.facts_changed.v1" }

// Subjects returns whom and what it concerns.
func (e FactsChanged) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Device: e.Device}
}

// Effect returns that it changes no privilege.
func (FactsChanged) Effect() event.Effect { return event.NoEffect }

// Revokes returns that it takes nothing away.
func (FactsChanged) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e FactsChanged) Texts(change event.ChangeText) event.Event {
	return FactsChanged(Renamed(e).texts(change))
}

// Sentence says what happened.
func (e FactsChanged) Sentence() string {
	return fmt.Sprintf("device %s of owner %s was asked what it is: model %q, firmware %q", e.Device, e.Owner, e.Model, e.Firmware)
}

func (e FactsChanged) apply(s *State) { s.change(e.state()) }

func (e FactsChanged) state() State { return Renamed(e).state() }

// change makes the state what an event says of the device, unless a later one did.
func (s *State) change(to State) {
	if s.Live && to.Device == s.Device && to.Changes > s.Changes {
		*s = to
	}
}

func channelTexts(list []Channel, change event.ChangeText) []Channel {
	list = slices.Clone(list)
	for i := range list {
		c := &list[i]
		c.Name = change(event.FieldChannel, c.Name)
	}
	return list
}
