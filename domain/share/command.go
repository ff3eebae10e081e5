package share

import (
	"time"

	"latchkey/domain/privilege"
)

// Command is something that somebody wants to happen to a share. The set is
// closed. Who acts is in the command, and has been authenticated.
type Command interface{ shareCommand() }

// Facts are what the log says about a device at the time of the command. The
// zero value is a device that nobody has.
type Facts struct {
	Owner        string                // of the live device; "" when it was removed
	Capabilities map[int]privilege.Set // by channel
}

// Offer is what the owner gives on one device.
type Offer struct {
	Device string
	Grants []Grant // one for each channel
	Facts  Facts
}

// Save opens the share, or adds devices to the one that there is. A remark
// that is not empty replaces the one that there is.
type Save struct {
	Share     string
	By        string // account
	Holder    string // the account that holds the recipient's login, "" for none
	Login     string
	Kind      string
	Recipient string // sealed
	Remark    string // sealed
	Offers    []Offer
	At        time.Time
}

// Replace saves the remark and the whole list of devices: new ones are
// invited, changed ones edited, missing ones removed.
type Replace struct {
	By     string
	Remark string // sealed
	Offers []Offer
	At     time.Time
}

// PutDevice invites one device or edits what is given on it.
type PutDevice struct {
	By    string
	Offer Offer
	At    time.Time
}

// RemoveDevice takes one device back.
type RemoveDevice struct {
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

// Reject refuses an invitation, or gives back what was accepted.
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

// SetDomain gives an accepted device the recipient's own name, "" for none.
type SetDomain struct {
	By     string
	Holder string
	Device string
	Domain string
	Taken  bool // another device of the recipient has the name
	At     time.Time
}

// EndDevice takes a device out because it was removed from its owner's
// account. It is a policy: nobody acts.
type EndDevice struct {
	Device string
	At     time.Time
}

func (Save) shareCommand()         {}
func (Replace) shareCommand()      {}
func (PutDevice) shareCommand()    {}
func (RemoveDevice) shareCommand() {}
func (Delete) shareCommand()       {}
func (Accept) shareCommand()       {}
func (Reject) shareCommand()       {}
func (Leave) shareCommand()        {}
func (SetDomain) shareCommand()    {}
func (EndDevice) shareCommand()    {}
