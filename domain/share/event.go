package share

import (
	"fmt"
	"slices"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// Event is something that happened to a share. The set is closed. Each event that changes
// privileges has the share, the device, the account and the whole new set, so that a
// reader needs no earlier event to apply it.
type Event interface {
	event.Event
	// apply changes the state by the event. An event that is immediately delivered again
	// changes nothing more.
	apply(s *State)
}

// Grant is what is granted on one channel of a device.
type Grant = privilege.Grant

// Opened begins a share, or begins it again after Deleted.
type Opened struct {
	Share     string    `json:"share"`
	Owner     string    `json:"owner"`
	Login     string    `json:"login"`     // keyed hash of the recipient's address
	Kind      string    `json:"kind"`      // "email" or "phone"
	Recipient string    `json:"recipient"` // sealed address
	Remark    string    `json:"remark"`    // sealed, "" for none
	At        time.Time `json:"at"`

	Terms privilege.Terms `json:"terms,omitzero"`
}

// Type returns the frozen name.
func (Opened) Type() string { return "latchkey.share.opened.v1" }

// Subjects returns whom and what it concerns.
func (e Opened) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Login: e.Login, Share: e.Share}
}

// Effect returns what it does to privileges.
func (Opened) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (Opened) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e Opened) Texts(change event.ChangeText) event.Event {
	e.Recipient = change(event.FieldRecipient, e.Recipient)
	e.Remark = change(event.FieldRemark, e.Remark)
	return e
}

// Sentence describes what happened.
func (e Opened) Sentence() string {
	return fmt.Sprintf("owner %s opened share %s with %s %s%s", e.Owner, e.Share, e.Kind, e.Recipient, event.On(", remark: ", e.Remark)+event.TermsWords(e.Terms))
}

func (e Opened) apply(s *State) {
	if s.Live {
		return
	}
	*s = State{
		ID: e.Share, Owner: e.Owner, Login: e.Login, Kind: e.Kind,
		Recipient: e.Recipient, Remark: e.Remark, Terms: e.Terms, Live: true,
	}
}

// RemarkChanged replaces the remark.
type RemarkChanged struct {
	Share  string    `json:"share"`
	Owner  string    `json:"owner"`
	Remark string    `json:"remark"` // sealed, "" for none
	At     time.Time `json:"at"`
}

// Type returns the frozen name.
func (RemarkChanged) Type() string { return "latchkey.share.remark_changed.v1" }

// Subjects returns whom and what it concerns.
func (e RemarkChanged) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Share: e.Share}
}

// Effect returns what it does to privileges.
func (RemarkChanged) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (RemarkChanged) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e RemarkChanged) Texts(change event.ChangeText) event.Event {
	e.Remark = change(event.FieldRemark, e.Remark)
	return e
}

// Sentence describes what happened.
func (e RemarkChanged) Sentence() string {
	return fmt.Sprintf("owner %s changed the remark of share %s to %q", e.Owner, e.Share, e.Remark)
}

func (e RemarkChanged) apply(s *State) { s.Remark = e.Remark }

// Invited offers a device. It grants nothing until it is accepted.
type Invited struct {
	Share  string    `json:"share"`
	Owner  string    `json:"owner"`
	Login  string    `json:"login"`
	Device string    `json:"device"`
	Grants []Grant   `json:"grants"`
	At     time.Time `json:"at"`

	Terms privilege.Terms `json:"terms,omitzero"` // of the device

	From string `json:"_from,omitempty"` // the share that it was in, of a device that was handed over
}

// Type returns the frozen name.
func (Invited) Type() string { return "latchkey.share.invited.v1" }

// Subjects returns whom and what it concerns.
func (e Invited) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (Invited) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (Invited) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Invited) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Invited) Sentence() string {
	return fmt.Sprintf("owner %s invited to device %s: %s (share %s%s)", e.Owner, e.Device, event.GrantWords(e.Grants)+event.TermsWords(e.Terms), e.Share, event.On(", kept from share ", e.From))
}

func (e Invited) apply(s *State) {
	s.with(e.Device, func(d *Device) {
		*d = Device{Device: e.Device, Status: StatusInvited, Grants: slices.Clone(e.Grants), Terms: e.Terms, InvitedAt: e.At}
	})
}

// Accepted makes the grants of the invitation effective for the account, unless the
// device is paused.
type Accepted struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account"` // the recipient
	Device  string    `json:"device"`
	Grants  []Grant   `json:"grants"`
	Paused  bool      `json:"paused,omitempty"` // the grants are in force when it is resumed
	At      time.Time `json:"at"`

	ShareTerms privilege.Terms `json:"share_terms,omitzero"`
	Terms      privilege.Terms `json:"terms,omitzero"` // of the device

	From string `json:"_from,omitempty"` // the share in which it was accepted, of a device that was handed over
}

// Type returns the frozen name.
func (Accepted) Type() string { return "latchkey.share.accepted.v1" }

// Subjects returns whom and what it concerns.
func (e Accepted) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e Accepted) Effect() event.Effect {
	return event.Effect{
		Kind: event.Granted, Account: ids.Account(e.Account), Owner: ids.Account(e.Owner), Device: ids.Device(e.Device),
		Share: ids.Share(e.Share), Grants: e.Grants, Paused: e.Paused, ShareTerms: e.ShareTerms, Terms: e.Terms, AcceptedAt: e.At,
	}
}

// Revokes returns what it revokes.
func (Accepted) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Accepted) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Accepted) Sentence() string {
	if e.From != "" {
		return fmt.Sprintf("account %s keeps device %s, handed over with its shares%s: %s (share %s, kept from share %s)",
			e.Account, e.Device, whilePaused(e.Paused), event.GrantWords(e.Grants)+event.TermsWords(e.ShareTerms, e.Terms), e.Share, e.From)
	}
	return fmt.Sprintf("account %s accepted device %s%s: %s (share %s)", e.Account, e.Device, whilePaused(e.Paused), event.GrantWords(e.Grants)+event.TermsWords(e.ShareTerms, e.Terms), e.Share)
}

func (e Accepted) apply(s *State) {
	s.with(e.Device, func(d *Device) {
		d.Status, d.Account, d.Grants, d.AnsweredAt = StatusAccepted, e.Account, slices.Clone(e.Grants), e.At
		d.Terms, d.AnsweredBy = e.Terms, e.Account
	})
}

// Rejected refuses an invitation, or returns an accepted device.
type Rejected struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account"`
	Device  string    `json:"device"`
	At      time.Time `json:"at"`

	// Unaccepted is set if the account had not accepted the device: nothing is taken from it.
	Unaccepted bool `json:"_unaccepted,omitempty"`
}

// Type returns the frozen name.
func (Rejected) Type() string { return "latchkey.share.rejected.v1" }

// Subjects returns whom and what it concerns.
func (e Rejected) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e Rejected) Effect() event.Effect {
	return event.Effect{
		Kind: event.Cleared, Account: ids.Account(e.Account), Owner: ids.Account(e.Owner), Device: ids.Device(e.Device),
		Unaccepted: e.Unaccepted,
	}
}

// Revokes returns what it revokes.
func (e Rejected) Revokes() event.Revocation {
	return event.Revocation{Kind: event.ShareDeviceTaken, Share: e.Share, Device: e.Device}
}

// Texts returns the event: it has no personal text.
func (e Rejected) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Rejected) Sentence() string {
	return fmt.Sprintf("account %s rejected device %s (share %s)", e.Account, e.Device, e.Share)
}

func (e Rejected) apply(s *State) {
	s.with(e.Device, func(d *Device) { d.end(StatusRejected); d.AnsweredAt, d.AnsweredBy = e.At, e.Account })
}

// PrivilegesEdited replaces the grants of a device, with immediate effect if it has been
// accepted and is not paused.
type PrivilegesEdited struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account,omitempty"` // empty while it is not accepted
	Device  string    `json:"device"`
	Grants  []Grant   `json:"grants"`
	Paused  bool      `json:"paused,omitempty"` // the grants are in force when it is resumed
	At      time.Time `json:"at"`

	ShareTerms privilege.Terms `json:"share_terms,omitzero"`
	Terms      privilege.Terms `json:"terms,omitzero"`       // of the device
	AcceptedAt time.Time       `json:"accepted_at,omitzero"` // only if playback is limited to the time since then
}

// Type returns the frozen name.
func (PrivilegesEdited) Type() string { return "latchkey.share.privileges_edited.v1" }

// Subjects returns whom and what it concerns.
func (e PrivilegesEdited) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e PrivilegesEdited) Effect() event.Effect {
	return event.Effect{
		Kind: event.Granted, Account: ids.Account(e.Account), Owner: ids.Account(e.Owner), Device: ids.Device(e.Device),
		Share: ids.Share(e.Share), Grants: e.Grants, Paused: e.Paused, Unaccepted: e.Account == "",
		ShareTerms: e.ShareTerms, Terms: e.Terms, AcceptedAt: e.AcceptedAt,
	}
}

// Revokes returns what it revokes.
func (e PrivilegesEdited) Revokes() event.Revocation {
	return event.Revocation{Kind: event.ShareDeviceTaken, Share: e.Share, Device: e.Device}
}

// Texts returns the event: it has no personal text.
func (e PrivilegesEdited) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e PrivilegesEdited) Sentence() string {
	return fmt.Sprintf("owner %s edited the privileges on device %s%s%s: %s (share %s)",
		e.Owner, e.Device, event.On(" of account ", e.Account), whilePaused(e.Paused), event.GrantWords(e.Grants)+event.TermsWords(e.ShareTerms, e.Terms), e.Share)
}

func (e PrivilegesEdited) apply(s *State) {
	s.with(e.Device, func(d *Device) {
		if d.Active() {
			d.Grants, d.Terms, d.EditedAt = slices.Clone(e.Grants), e.Terms, e.At
		}
	})
}

// DeviceRemoved removes a device from the share: by its owner, by the deletion of the
// share, or because the device itself was removed.
type DeviceRemoved struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account,omitempty"` // empty when it was not accepted
	Device  string    `json:"device"`
	Reason  Reason    `json:"reason"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (DeviceRemoved) Type() string { return "latchkey.share.device_removed.v1" }

// Subjects returns whom and what it concerns.
func (e DeviceRemoved) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e DeviceRemoved) Effect() event.Effect {
	return event.Effect{
		Kind: event.Cleared, Account: ids.Account(e.Account), Owner: ids.Account(e.Owner), Device: ids.Device(e.Device),
		Unaccepted: e.Account == "",
	}
}

// Revokes returns what it revokes.
func (e DeviceRemoved) Revokes() event.Revocation {
	return event.Revocation{Kind: event.ShareDeviceTaken, Share: e.Share, Device: e.Device}
}

// Texts returns the event: it has no personal text.
func (e DeviceRemoved) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e DeviceRemoved) Sentence() string {
	return fmt.Sprintf("device %s was taken out of share %s%s: %s", e.Device, e.Share, event.On(", from account ", e.Account), reasons[e.Reason])
}

func (e DeviceRemoved) apply(s *State) {
	s.with(e.Device, func(d *Device) { d.end(StatusRemoved) })
}

// Left is the recipient's own deletion of a device shared with them.
type Left struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account"`
	Device  string    `json:"device"`
	At      time.Time `json:"at"`

	// Unaccepted is set if the account had not accepted the device: nothing is taken from it.
	Unaccepted bool `json:"_unaccepted,omitempty"`
}

// Type returns the frozen name.
func (Left) Type() string { return "latchkey.share.left.v1" }

// Subjects returns whom and what it concerns.
func (e Left) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e Left) Effect() event.Effect {
	return event.Effect{
		Kind: event.Cleared, Account: ids.Account(e.Account), Owner: ids.Account(e.Owner), Device: ids.Device(e.Device),
		Unaccepted: e.Unaccepted,
	}
}

// Revokes returns what it revokes.
func (e Left) Revokes() event.Revocation {
	return event.Revocation{Kind: event.ShareDeviceTaken, Share: e.Share, Device: e.Device}
}

// Texts returns the event: it has no personal text.
func (e Left) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Left) Sentence() string {
	return fmt.Sprintf("account %s left device %s (share %s)", e.Account, e.Device, e.Share)
}

func (e Left) apply(s *State) {
	s.with(e.Device, func(d *Device) { d.end(StatusLeft); d.AnsweredBy = e.Account })
}

// DomainSet gives an accepted device the recipient's own short name, "" for
// none.
type DomainSet struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Account string    `json:"account"`
	Device  string    `json:"device"`
	Domain  string    `json:"domain"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (DomainSet) Type() string { return "latchkey.share.domain_set.v1" }

// Subjects returns whom and what it concerns.
func (e DomainSet) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (e DomainSet) Effect() event.Effect {
	return event.Effect{
		Kind: event.Named, Account: ids.Account(e.Account), Owner: ids.Account(e.Owner), Device: ids.Device(e.Device),
		Domain: e.Domain,
	}
}

// Revokes returns what it revokes.
func (DomainSet) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e DomainSet) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e DomainSet) Sentence() string {
	return fmt.Sprintf("account %s calls device %s %q (share %s)", e.Account, e.Device, e.Domain, e.Share)
}

func (e DomainSet) apply(s *State) {
	s.with(e.Device, func(d *Device) {
		if d.Status == StatusAccepted {
			d.Domain = e.Domain
		}
	})
}

// Deleted ends the share. It follows, in the same append, a DeviceRemoved for each device
// that was still in the share.
type Deleted struct {
	Share     string    `json:"share"`
	Owner     string    `json:"owner"`
	Login     string    `json:"login"`
	Kind      string    `json:"kind"`
	Recipient string    `json:"recipient"` // sealed address
	Remark    string    `json:"remark"`    // sealed
	At        time.Time `json:"at"`
}

// Type returns the frozen name.
func (Deleted) Type() string { return "latchkey.share.deleted.v1" }

// Subjects returns whom and what it concerns.
func (e Deleted) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Login: e.Login, Share: e.Share}
}

// Effect returns what it does to privileges.
func (Deleted) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (e Deleted) Revokes() event.Revocation {
	return event.Revocation{Kind: event.ShareEnded, Share: e.Share}
}

// Texts changes its personal texts.
func (e Deleted) Texts(change event.ChangeText) event.Event {
	e.Recipient = change(event.FieldRecipient, e.Recipient)
	e.Remark = change(event.FieldRemark, e.Remark)
	return e
}

// Sentence describes what happened.
func (e Deleted) Sentence() string {
	return fmt.Sprintf("owner %s deleted share %s with %s %s", e.Owner, e.Share, e.Kind, e.Recipient)
}

func (Deleted) apply(s *State) { s.Live = false }

// Reason is why a device was removed from a share.
type Reason string

// The reasons of DeviceRemoved.
const (
	ByOwner       Reason = "owner"
	ShareDeleted  Reason = "share_deleted"
	DeviceDeleted Reason = "device_deleted"
	HandedOver    Reason = "handed_over" // to another account
	Restored      Reason = "restored"    // it was revoked before, in a part of the log that a restore lost
)

var reasons = map[Reason]string{
	ByOwner:       "by its owner",
	ShareDeleted:  "the share was deleted",
	DeviceDeleted: "the device was removed",
	HandedOver:    "the device went to another account",
	Restored:      "it had been taken back before the log was restored",
}
