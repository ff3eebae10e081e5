package device

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// Event is something that happened to a device. The set is closed.
type Event interface {
	event.Event
	// apply changes the state by the event. An event that is delivered again changes
	// nothing more.
	apply(s *State)
}

// Channel is one camera of a device.
type Channel struct {
	Channel      int           `json:"channel"`        // 1 to privilege.MaxChannel
	Name         string        `json:"name,omitempty"` // sealed
	Capabilities privilege.Set `json:"capabilities"`
}

// Added adds a device to its owner's account and begins a generation: the time until it
// is removed. Each generation has its own device id, which is never reused.
type Added struct {
	Device     string    `json:"device"`     // the id: the normalised serial, from the second generation on with ".2", ".3"...
	Serial     string    `json:"serial"`     // as entered
	Generation int       `json:"generation"` // from 1
	Owner      string    `json:"owner"`
	Name       string    `json:"name"` // sealed
	Channels   []Channel `json:"channels"`
	At         time.Time `json:"at"`

	// What the device said of itself, and when; zero: it was not asked.
	Model    string    `json:"_model,omitempty"`
	Firmware string    `json:"_firmware,omitempty"`
	ProvenAt time.Time `json:"_proven_at,omitzero"`

	// Of a device that was handed over: how, and the id that it had before.
	How  Handover `json:"_how,omitempty"`
	From string   `json:"_from,omitempty"`
}

// Type returns the frozen name.
func (Added) Type() string { return "latchkey.device.added.v1" }

// Subjects returns whom and what it concerns.
func (e Added) Subjects() event.Subjects { return event.Subjects{Owner: e.Owner, Device: e.Device} }

// Effect returns what it does to privileges.
func (e Added) Effect() event.Effect {
	f := event.Effect{Kind: event.Added, Account: ids.Account(e.Owner), Owner: ids.Account(e.Owner), Device: ids.Device(e.Device)}
	for _, c := range e.Channels {
		f.Grants = append(f.Grants, privilege.Grant{Channel: c.Channel, Privileges: c.Capabilities})
	}
	return f
}

// Revokes returns what it revokes.
func (Added) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e Added) Texts(change event.ChangeText) event.Event {
	e.Name, e.Channels = change(event.FieldDevice, e.Name), channelTexts(e.Channels, change)
	return e
}

// Sentence describes what happened.
func (e Added) Sentence() string {
	if e.How != "" {
		return fmt.Sprintf("owner %s got device %s (%s) by %s; it was device %s before: %s", e.Owner, e.Device, e.Name, e.How, e.From, channelWords(e.Channels))
	}
	return fmt.Sprintf("owner %s added device %s (%s): %s", e.Owner, e.Device, e.Name, channelWords(e.Channels))
}

func (e Added) apply(s *State) {
	if e.Generation <= s.Generation {
		return
	}
	*s = State{
		Serial: e.Serial, Generation: e.Generation, Live: true, Device: e.Device,
		Owner: e.Owner, Name: e.Name, Channels: slices.Clone(e.Channels), Facts: Facts{e.Model, e.Firmware, e.ProvenAt}, AddedAt: e.At,
	}
}

func channelWords(list []Channel) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = fmt.Sprintf("channel %d can %v", c.Channel, c.Capabilities)
	}
	return strings.Join(words, ", ")
}

// Removed ends the device's generation; no account has any privilege on it any more.
type Removed struct {
	Device string    `json:"device"`
	Owner  string    `json:"owner"`
	At     time.Time `json:"at"`

	// Of a device that was handed over, in the same append as the Added of the new owner.
	// Who does not know these fields ends the shares, as for any device that was removed.
	How    Handover `json:"_how,omitempty"`
	To     string   `json:"_to,omitempty"`     // account
	Next   string   `json:"_next,omitempty"`   // the id that it has from now on
	Shares Shares   `json:"_shares,omitempty"` // what becomes of them

	Transfer int `json:"_transfer,omitempty"` // the number of the offer that ended with it
}

// Type returns the frozen name.
func (Removed) Type() string { return "latchkey.device.removed.v1" }

// Subjects returns whom and what it concerns.
func (e Removed) Subjects() event.Subjects { return event.Subjects{Owner: e.Owner, Device: e.Device} }

// Effect returns what it does to privileges.
func (e Removed) Effect() event.Effect {
	return event.Effect{Kind: event.Removed, Account: ids.Account(e.Owner), Owner: ids.Account(e.Owner), Device: ids.Device(e.Device)}
}

// Revokes returns what it revokes.
func (e Removed) Revokes() event.Revocation {
	return event.Revocation{Kind: event.DeviceTaken, Device: e.Device}
}

// Texts returns the event: it has no personal text.
func (e Removed) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Removed) Sentence() string {
	if e.How != "" {
		return fmt.Sprintf("device %s of owner %s went to account %s by %s; it is device %s now; its shares: %s", e.Device, e.Owner, e.To, e.How, e.Next, e.Shares)
	}
	return fmt.Sprintf("owner %s removed device %s", e.Owner, e.Device)
}

func (e Removed) apply(s *State) {
	if e.Device == s.Device {
		s.Live = false
	}
}
