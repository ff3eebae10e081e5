package live

import (
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/reclaim"
	"latchkey/domain/request"
	"latchkey/domain/share"
	"latchkey/eventstore"
)

// Kind is what a notice is about. Its values are part of the API.
type Kind string

// The kinds.
const (
	ShareCreated       Kind = "share_created"
	ShareChanged       Kind = "share_changed" // the remark
	ShareDeleted       Kind = "share_deleted"
	Invited            Kind = "invited"
	Accepted           Kind = "accepted"
	Rejected           Kind = "rejected"
	PrivilegesChanged  Kind = "privileges_changed"
	DeviceWithdrawn    Kind = "device_withdrawn" // the owner took it out of the share
	DeviceLeft         Kind = "device_left"      // the recipient gave it up
	DomainChanged      Kind = "domain_changed"
	Dismissed          Kind = "dismissed" // an invitation, by its recipient
	RecipientForgotten Kind = "recipient_forgotten"
	Paused             Kind = "paused"
	Resumed            Kind = "resumed"
	TermsChanged       Kind = "terms_changed" // when it is valid, or how
	DeviceAdded        Kind = "device_added"
	DeviceChanged      Kind = "device_changed" // its names, or what it can do
	DeviceRemoved      Kind = "device_removed"
	AccessRequested    Kind = "access_requested"
	RequestDismissed   Kind = "access_request_dismissed"
	TransferOffered    Kind = "transfer_offered"
	TransferEnded      Kind = "transfer_ended" // withdrawn or rejected; after an acceptance: device_removed and device_added
	DeviceClaimed      Kind = "reclaim_claimed"
	ReclaimEnded       Kind = "reclaim_ended" // the owner objected, or it was withdrawn or completed
	StreamKeyAdded     Kind = "stream_key_added"
	StreamKeyRevoked   Kind = "stream_key_revoked"
	PasswordChanged    Kind = "password_changed"
	ProfileChanged     Kind = "profile_changed"
	NoticesChanged     Kind = "notices_changed" // which of them the account is sent
	WebhookChanged     Kind = "webhook_changed"
	WebhookRemoved     Kind = "webhook_removed"
)

// Notice is something that happened to an account.
type Notice struct {
	Position eventstore.Position
	Kind     Kind
	At       time.Time // when it was written to the log
	Share    string    // "" if it is about none
	Device   string    // "" if it is about none
}

// item is a notice, and whom it is for.
type item struct {
	Notice
	owner     string // account, "" for none
	recipient string // account, "" if it is not known
	login     string // keyed hash of the recipient's address, "" for none
	claims    string // the account whose logins changed: its listeners begin again
}

// itemOf returns what an event is to accounts. An event that nobody is to be notified of
// is false: one that is not listed here is not told to anybody.
func itemOf(r *eventstore.Recorded, e event.Event) (item, bool) {
	kind, both := kindOf(e)
	s := e.Subjects()
	it := item{Notice: Notice{Position: r.Position, Kind: kind, At: r.Created, Share: s.Share, Device: s.Device}, owner: s.Owner}
	switch e.(type) {
	case account.LoginClaimed, account.LoginReleased, account.AddressVerified, account.AddressRemoved:
		return item{Notice: it.Notice, claims: s.Owner}, true
	}
	if both {
		it.recipient, it.login = s.Recipient, s.Login
	}
	if kind == Dismissed { // the owner need not know that it was seen
		it.owner = ""
	}
	return it, kind != ""
}

// kindOf returns the kind of the notice about an event, "" for none, and whether the
// recipient of the share gets it as the owner does.
func kindOf(e event.Event) (kind Kind, both bool) {
	switch e.(type) {
	case share.Opened:
		return ShareCreated, false
	case share.RemarkChanged:
		return ShareChanged, false
	case share.Deleted: // its devices are withdrawn from the recipient before
		return ShareDeleted, false
	case share.Invited:
		return Invited, true
	case share.Accepted:
		return Accepted, true
	case share.Rejected:
		return Rejected, true
	case share.PrivilegesEdited:
		return PrivilegesChanged, true
	case share.DeviceRemoved:
		return DeviceWithdrawn, true
	case share.Left:
		return DeviceLeft, true
	case share.DomainSet:
		return DomainChanged, true
	case share.Dismissed:
		return Dismissed, true
	case share.RecipientForgotten:
		return RecipientForgotten, false
	case share.Paused:
		return Paused, true
	case share.Resumed:
		return Resumed, true
	case share.TermsChanged:
		return TermsChanged, true
	case device.Added:
		return DeviceAdded, false
	case device.Removed:
		return DeviceRemoved, false
	case device.Renamed, device.FactsChanged:
		return DeviceChanged, false
	case request.Requested: // whether anybody has the device or not, who asks hears nothing
		return AccessRequested, false
	case request.Dismissed:
		return RequestDismissed, false
	case device.TransferOffered:
		return TransferOffered, true
	case device.TransferEnded:
		return TransferEnded, true
	case reclaim.Claimed:
		return DeviceClaimed, true
	case reclaim.Ended:
		return ReclaimEnded, true
	case account.StreamKeyAdded, account.PublishingKeyAdded:
		return StreamKeyAdded, false
	case account.StreamKeyRevoked:
		return StreamKeyRevoked, false
	case account.PasswordChanged:
		return PasswordChanged, false
	case account.ProfileChanged, account.PrimaryAddressChanged:
		return ProfileChanged, false
	case account.NoticesSet:
		return NoticesChanged, false
	case account.WebhookSet:
		return WebhookChanged, false
	case account.WebhookRemoved:
		return WebhookRemoved, false
	}
	return "", false
}

// isFor reports whether the notice is for an account with these logins.
func (it *item) isFor(account string, logins []string) bool {
	if it.owner == account || it.recipient == account {
		return true
	}
	if it.recipient != "" || it.login == "" {
		return false
	}
	for _, l := range logins {
		if l == it.login {
			return true
		}
	}
	return false
}
