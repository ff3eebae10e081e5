package share

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// Paused suspends the grants of one device, or of the whole share, with immediate effect.
// Everything is kept: grants, names and the answers to invitations.
type Paused struct {
	Share  string        `json:"share"`
	Owner  string        `json:"owner"`
	Login  string        `json:"login"`
	Device string        `json:"device,omitempty"` // empty: the whole share
	Given  []event.Given `json:"given"`            // the accepted devices that it suspends
	At     time.Time     `json:"at"`
}

// Type returns the frozen name.
func (Paused) Type() string { return "latchkey.share.paused.v1" }

// Subjects returns whom and what it concerns.
func (e Paused) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: recipientOf(e.Given), Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e Paused) Effect() event.Effect {
	each := slices.Clone(e.Given)
	for i := range each {
		each[i].Paused = true
	}
	return event.Effect{Kind: event.GrantedEach, Owner: ids.Account(e.Owner), Share: ids.Share(e.Share), Each: each}
}

// Revokes returns what it takes away.
func (e Paused) Revokes() event.Revocation {
	return event.Revocation{Kind: event.SharePaused, Share: e.Share, Device: e.Device}
}

// Texts returns the event: it has no personal text.
func (e Paused) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Paused) Sentence() string {
	return fmt.Sprintf("owner %s paused %sshare %s%s", e.Owner, deviceOf(e.Device), e.Share, givenWords(e.Given))
}

func (e Paused) apply(s *State) { s.setPaused(e.Device, true) }

// Resumed ends the pause of one device, or of the whole share.
type Resumed struct {
	Share  string        `json:"share"`
	Owner  string        `json:"owner"`
	Login  string        `json:"login"`
	Device string        `json:"device,omitempty"` // empty: the whole share
	Given  []event.Given `json:"given"`            // the devices that are in force from now on
	At     time.Time     `json:"at"`

	Terms privilege.Terms `json:"terms,omitzero"` // of the share
}

// Type returns the frozen name.
func (Resumed) Type() string { return "latchkey.share.resumed.v1" }

// Subjects returns whom and what it concerns.
func (e Resumed) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: recipientOf(e.Given), Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e Resumed) Effect() event.Effect {
	return event.Effect{Kind: event.GrantedEach, Owner: ids.Account(e.Owner), Share: ids.Share(e.Share), Each: e.Given, ShareTerms: e.Terms}
}

// Revokes returns what it takes away.
func (Resumed) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Resumed) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Resumed) Sentence() string {
	return fmt.Sprintf("owner %s resumed %sshare %s%s", e.Owner, deviceOf(e.Device), e.Share, givenWords(e.Given))
}

func (e Resumed) apply(s *State) { s.setPaused(e.Device, false) }

// setPaused sets whether a device is paused, or the share if there is no device.
func (s *State) setPaused(device string, paused bool) {
	if device == "" {
		s.Paused = paused
		return
	}
	s.with(device, func(d *Device) { d.Paused = paused && d.Active() })
}

// recipientOf returns the account that has the devices, "" for none.
func recipientOf(given []event.Given) string {
	if len(given) == 0 {
		return ""
	}
	return given[0].Account
}

func deviceOf(device string) string {
	if device == "" {
		return ""
	}
	return "device " + device + " of "
}

func givenWords(given []event.Given) string {
	var words strings.Builder
	for _, g := range given {
		fmt.Fprintf(&words, "; account %s on device %s: %s", g.Account, g.Device, event.GrantWords(g.Grants))
	}
	return words.String()
}

func whilePaused(paused bool) string {
	if paused {
		return " while it is paused"
	}
	return ""
}

// Held reports whether the grants of the device are suspended: it is paused, or the whole
// share is.
func (s State) Held(d Device) bool { return s.Paused || d.Paused }

// given lists the accepted devices for which the function returns true.
func (s State) given(which func(Device) bool) []event.Given {
	list := []event.Given{}
	for _, d := range s.Devices {
		if d.Status == StatusAccepted && which(d) {
			list = append(list, event.Given{Device: d.Device, Account: d.Account, Grants: d.Grants, Terms: d.Terms, AcceptedAt: s.acceptedAt(d)})
		}
	}
	return list
}

func pause(s State, c Pause) ([]Event, error) {
	paused, err := whetherPaused(s, c.By, c.Device)
	if err != nil || paused {
		return nil, err
	}
	concerned := func(d Device) bool { return c.Device == "" || d.Device == c.Device }
	return []Event{Paused{Share: s.ID, Owner: s.Owner, Login: s.Login, Device: c.Device, Given: s.given(concerned), At: c.At}}, nil
}

func resume(s State, c Resume) ([]Event, error) {
	paused, err := whetherPaused(s, c.By, c.Device)
	if err != nil || !paused {
		return nil, err
	}
	e := Resumed{Share: s.ID, Owner: s.Owner, Login: s.Login, Device: c.Device, Terms: s.Terms, At: c.At}
	after := Evolve(s, e)
	e.Given = after.given(func(d Device) bool { return !after.Held(d) && (c.Device == "" || d.Device == c.Device) })
	return []Event{e}, nil
}

// whetherPaused reports whether a device is paused, or the share if there is no device.
// Only its owner may ask.
func whetherPaused(s State, by, device string) (bool, error) {
	if err := byOwner(s, by); err != nil {
		return false, err
	}
	if device == "" {
		return s.Paused, nil
	}
	d, ok := s.Find(device)
	if !ok || !d.Active() {
		return false, ErrNotInShare
	}
	return d.Paused, nil
}
