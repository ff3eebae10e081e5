package app

import (
	"slices"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// Meta says who gives a command, and under which conditions.
type Meta struct {
	Account        string // who acts, authenticated; "" for registering
	IdempotencyKey string // makes a repeat harmless; "" for none
	IfMatch        *int64 // the revision that the share must have; nil: any
}

// Result is what a command did, and for a repeat what it did then.
type Result struct {
	Position uint64 // of the command's last event in the log
	Revision int64  // of the changed stream
	Created  bool   // whether what the command names is new

	Account string            // of Register
	Share   *share.State      // of the commands on shares
	Names   map[string]string // of the commands on shares: sealed names by device id
	Device  *device.State     // of the commands on devices
	Key     *account.Key      // of AddStreamKey
	Secret  string            // of AddStreamKey

	gone []string // devices that were given and removed at the same time
}

// unlessGone refuses a command that was about a device which was removed at the
// same time.
func (r Result) unlessGone(device string, err error) (Result, error) {
	if err == nil && slices.Contains(r.gone, device) {
		return Result{}, refused(&share.Fault{Device: device, Err: share.ErrDeviceNotFound})
	}
	return r, err
}

// Registration is a new account; one of Email and Phone is set.
type Registration struct {
	Email, Phone   string
	Password, Name string
}

// NewDevice is a device to add. Its RTSP addresses may hold a user name and a
// password, as people paste them: those become the device's own.
type NewDevice struct {
	Name, Serial       string // Serial "": it gets an id of its own
	Username, Password string
	RTSPURL            string // of channel 1, unless Channels says it
	ISAPIURL, ONVIFURL string
	Channels           []NewChannel // empty: channel 1, which can do everything
}

// NewChannel is a channel of a device to add.
type NewChannel struct {
	Channel             int
	Name                string
	MainURL, SubURL     string
	Capabilities        privilege.Set
	CapabilitiesUnknown bool // the owner did not declare them: it counts as capable of everything
}

// DeviceGrants is what is given on one device.
type DeviceGrants struct {
	Device string
	Grants []share.Grant
}

// NewShare is what to share with whom; one of Email and Phone is set.
type NewShare struct {
	Email, Phone string
	Remark       string
	Devices      []DeviceGrants
}

// NewStreamKey is a stream key to make.
type NewStreamKey struct {
	Label   string
	Device  string     // "" for every device
	Expires *time.Time // nil: never; the zero time is one that is long past
}
