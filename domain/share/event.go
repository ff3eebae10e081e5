package share

import (
	"time"

	"latchkey/domain/privilege"
)

// Event is something that happened to a share. The set is closed. Each event
// that changes what somebody may do names the share, the device, the account
// and the whole new set, so that a reader needs no earlier event to apply it.
type Event interface{ shareEvent() }

// Grant is what is given on one channel of a device.
type Grant struct {
	Channel    int           `json:"channel"`
	Privileges privilege.Set `json:"privileges"`
}

// Opened begins a share, or begins it anew after Deleted.
type Opened struct {
	Share     string    `json:"share"`
	Owner     string    `json:"owner"`
	Login     string    `json:"login"`     // keyed hash of the recipient's address
	Kind      string    `json:"kind"`      // "email" or "phone"
	Recipient string    `json:"recipient"` // sealed address
	Remark    string    `json:"remark"`    // sealed, "" for none
	At        time.Time `json:"at"`
}

// RemarkChanged replaces the remark.
type RemarkChanged struct {
	Share  string    `json:"share"`
	Owner  string    `json:"owner"`
	Remark string    `json:"remark"` // sealed, "" for none
	At     time.Time `json:"at"`
}

// Invited offers a device. It grants nothing until it is accepted.
type Invited struct {
	Share  string    `json:"share"`
	Owner  string    `json:"owner"`
	Login  string    `json:"login"`
	Device string    `json:"device"`
	Grants []Grant   `json:"grants"`
	At     time.Time `json:"at"`
}

// Accepted makes the grants of the invitation effective for the account.
type Accepted struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account"` // the recipient
	Device  string    `json:"device"`
	Grants  []Grant   `json:"grants"`
	At      time.Time `json:"at"`
}

// Rejected refuses an invitation, or gives back a device that was accepted.
type Rejected struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account"`
	Device  string    `json:"device"`
	At      time.Time `json:"at"`
}

// PrivilegesEdited replaces the grants of a device, at once where it has been
// accepted.
type PrivilegesEdited struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account,omitempty"` // empty while it is not accepted
	Device  string    `json:"device"`
	Grants  []Grant   `json:"grants"`
	At      time.Time `json:"at"`
}

// DeviceRemoved takes a device out of the share: by its owner, by the deletion
// of the share, or because the device itself was removed.
type DeviceRemoved struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account,omitempty"` // empty when it was not accepted
	Device  string    `json:"device"`
	Reason  Reason    `json:"reason"`
	At      time.Time `json:"at"`
}

// Left is the recipient's own deletion of a device shared with them.
type Left struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account"`
	Device  string    `json:"device"`
	At      time.Time `json:"at"`
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

// Deleted ends the share. A DeviceRemoved for each device that was still in it
// stands before it in the same append.
type Deleted struct {
	Share     string    `json:"share"`
	Owner     string    `json:"owner"`
	Login     string    `json:"login"`
	Kind      string    `json:"kind"`
	Recipient string    `json:"recipient"` // sealed address
	Remark    string    `json:"remark"`    // sealed
	At        time.Time `json:"at"`
}

// Reason says why a device left a share.
type Reason string

// The reasons of DeviceRemoved.
const (
	ByOwner       Reason = "owner"
	ShareDeleted  Reason = "share_deleted"
	DeviceDeleted Reason = "device_deleted"
	Restored      Reason = "restored" // it was taken back before, in a part of the log that a restore lost
)

func (Opened) shareEvent()           {}
func (RemarkChanged) shareEvent()    {}
func (Invited) shareEvent()          {}
func (Accepted) shareEvent()         {}
func (Rejected) shareEvent()         {}
func (PrivilegesEdited) shareEvent() {}
func (DeviceRemoved) shareEvent()    {}
func (Left) shareEvent()             {}
func (DomainSet) shareEvent()        {}
func (Deleted) shareEvent()          {}
