package device

import (
	"fmt"
	"slices"
	"time"

	"latchkey/domain/event"
)

// TransferOffered offers the device to whoever holds an address. It carries all that there
// is to know of the device after it, as Renamed does.
type TransferOffered struct {
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

	Transfer Transfer `json:"transfer,omitzero"`
}

// Type returns the frozen name.
func (TransferOffered) Type() string { return "latchkey.device.transfer_offered.v1" }

// Subjects returns whom and what it concerns.
func (e TransferOffered) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Login: e.Transfer.Login, Device: e.Device}
}

// Effect returns that it changes no privilege.
func (TransferOffered) Effect() event.Effect { return event.NoEffect }

// Revokes returns that it takes nothing away.
func (TransferOffered) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e TransferOffered) Texts(change event.ChangeText) event.Event {
	return TransferOffered(Renamed(e).texts(change))
}

// Sentence says what happened.
func (e TransferOffered) Sentence() string {
	return fmt.Sprintf("owner %s offered device %s to %s %s, to be handed over until %s; its shares: %s",
		e.Owner, e.Device, e.Transfer.Kind, e.Transfer.To, e.Transfer.Until.UTC().Format(time.RFC3339), e.Transfer.Shares)
}

func (e TransferOffered) apply(s *State) { s.change(e.state()) }

func (e TransferOffered) state() State { return Renamed(e).state() }

// TransferEnded ends an offer that was not accepted. It carries all that there is to know
// of the device after it, as Renamed does.
type TransferEnded struct {
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

	Login  string `json:"login"`  // that it was offered to
	Number int    `json:"number"` // of the offer
	Why    Ending `json:"why"`
}

// Type returns the frozen name.
func (TransferEnded) Type() string { return "latchkey.device.transfer_ended.v1" }

// Subjects returns whom and what it concerns.
func (e TransferEnded) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Login: e.Login, Device: e.Device}
}

// Effect returns that it changes no privilege.
func (TransferEnded) Effect() event.Effect { return event.NoEffect }

// Revokes returns that the device cannot be taken over any more by the offer.
func (e TransferEnded) Revokes() event.Revocation {
	return event.Revocation{Kind: event.OfferTaken, Device: e.Device, Key: TransferID(e.Device, e.Number)}
}

// Texts changes its personal texts.
func (e TransferEnded) Texts(change event.ChangeText) event.Event {
	e.Name, e.Channels = change(event.FieldDevice, e.Name), channelTexts(e.Channels, change)
	return e
}

// Sentence says what happened.
func (e TransferEnded) Sentence() string {
	return fmt.Sprintf("the offer of owner %s to hand device %s over was %s", e.Owner, e.Device, e.Why)
}

func (e TransferEnded) apply(s *State) { s.change(e.state()) }

func (e TransferEnded) state() State {
	return State{
		Serial: e.Serial, Generation: e.Generation, Changes: e.Change, Live: true, Device: e.Device, Owner: e.Owner, Name: e.Name,
		Channels: slices.Clone(e.Channels), Facts: Facts{e.Model, e.Firmware, e.ProvenAt}, AddedAt: e.AddedAt,
	}
}
