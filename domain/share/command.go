package share

import (
	"time"

	"latchkey/domain/privilege"
)

// Command is an intended change to a share. The set is closed. A command names the acting
// account, which has been authenticated.
type Command interface{ shareCommand() }

// Facts are what the log says about a device at the time of the command. The zero value
// is a device without an owner.
type Facts struct {
	Owner        string                // of the live device; "" if it was removed
	Capabilities map[int]privilege.Set // by channel
	// NeedsFirmware is the firmware that the device needs before it can be shared, "" if
	// what it has is new enough.
	NeedsFirmware string
}

// Offer is what the owner offers on one device.
type Offer struct {
	Device string
	Grants []Grant          // one for each channel; with nil limits: those that it has
	Terms  *privilege.Terms // nil: those that it has
	Facts  Facts
}

// Save opens the share, or adds devices to an existing one. A remark that is not empty
// replaces the existing one.
type Save struct {
	Share     string
	By        string // account
	Holder    string // the account that holds the recipient's login, "" for none
	Login     string
	Kind      string
	Recipient string           // sealed
	Remark    string           // sealed
	Terms     *privilege.Terms // nil: as they are
	Offers    []Offer
	// Unreadable is set if nobody can read the recipient of the existing share any more: it
	// belonged to the previous holder of the address, who was forgotten.
	Unreadable bool
	At         time.Time
}

// Replace saves the remark and the whole list of devices: new ones are
// invited, changed ones edited, missing ones removed.
type Replace struct {
	By     string
	Remark string           // sealed
	Terms  *privilege.Terms // nil: as they are
	Offers []Offer
	At     time.Time
}

// PutDevice invites one device or edits its grants.
type PutDevice struct {
	By    string
	Offer Offer
	At    time.Time
}

// RemoveDevice removes one device.
type RemoveDevice struct {
	By     string
	Device string
	At     time.Time
}

// Pause suspends the grants of one device, or of the whole share with Device "".
type Pause struct {
	By     string
	Device string
	At     time.Time
}

// Resume ends Pause of the same device or share: what is set now is in force. A device
// that was paused by itself stays paused when the share is resumed.
type Resume struct {
	By     string
	Device string
	At     time.Time
}

// Delete ends the share.
type Delete struct {
	By string
	At time.Time
}

// Accept accepts an invitation.
type Accept struct {
	By     string
	Holder string // the account that holds the recipient's login, "" for none
	Device string
	Facts  Facts
	At     time.Time
}

// Reject refuses an invitation, or returns an accepted device.
type Reject struct {
	By     string
	Holder string
	Device string
	At     time.Time
}

// Leave is the recipient's deletion of one device, or of all with Device "".
type Leave struct {
	By     string
	Holder string
	Device string
	At     time.Time
}

// GiveUp is the end of everything that an account has accepted in the share: it has lost
// the address that the share is with. It is issued by a policy, not by a person.
type GiveUp struct {
	Account string
	Device  string // "" for all
	At      time.Time
}

// Restate says again what an account has accepted, as it is. It is issued by a policy where
// privileges lack it: another share had given the account the same device, and ended.
type Restate struct {
	Account string
	Device  string
	At      time.Time
}

// SetDomain sets the recipient's own name of an accepted device, "" for none.
type SetDomain struct {
	By     string
	Holder string
	Device string
	Domain string
	Taken  bool // another device of the recipient has the name
	At     time.Time
}

// EndDevice removes a device because it was removed from its owner's account. It is
// issued by a policy, not by a person.
type EndDevice struct {
	Device string
	Why    Reason // "": DeviceDeleted
	At     time.Time
}

func (Save) shareCommand()         {}
func (Replace) shareCommand()      {}
func (PutDevice) shareCommand()    {}
func (RemoveDevice) shareCommand() {}
func (Pause) shareCommand()        {}
func (Resume) shareCommand()       {}
func (Delete) shareCommand()       {}
func (Accept) shareCommand()       {}
func (Reject) shareCommand()       {}
func (Leave) shareCommand()        {}
func (GiveUp) shareCommand()       {}
func (Restate) shareCommand()      {}
func (SetDomain) shareCommand()    {}
func (EndDevice) shareCommand()    {}
