package share

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxDevices is the maximum number of invited or accepted devices of a share.
	MaxDevices = 256
	// MaxListed is the maximum number of devices listed by a share, including those that
	// were rejected or left.
	MaxListed = 2 * MaxDevices
)

// The reasons why a command is refused.
var (
	ErrNotFound         = errors.New("the share does not exist")
	ErrNotOwner         = errors.New("only the owner of the share may do this")
	ErrNotRecipient     = errors.New("only the recipient of the share may do this")
	ErrOwnLogin         = errors.New("you cannot share with your own address")
	ErrDeviceNotFound   = errors.New("this device is not in the account of the owner")
	ErrDeviceTwice      = errors.New("a device is listed twice")
	ErrTooManyDevices   = errors.New("the share has too many devices")
	ErrAlreadyShared    = errors.New("the device is already shared with this recipient")
	ErrNotInShare       = errors.New("the device is not in the share")
	ErrNotInvited       = errors.New("the device is no longer offered")
	ErrNotAccepted      = errors.New("the device has not been accepted")
	ErrNoChannels       = errors.New("no channel is listed")
	ErrChannelTwice     = errors.New("a channel is listed twice")
	ErrUnknownChannel   = errors.New("the device has no such channel")
	ErrFirmwareTooOld   = errors.New("the firmware of the device does not support sharing")
	ErrBeyondCapability = errors.New("the channel does not support this privilege")
	ErrBadDomain        = errors.New("not a valid device domain")
	ErrDomainTaken      = errors.New("another device has this domain")
	ErrUnknownCommand   = errors.New("unknown command")
)

// Fault is an error about a device or a channel of a command. Err is one of the errors
// above.
type Fault struct {
	Device  string
	Channel int    // 0: the device as a whole
	Field   string // of the terms or the limits, a path such as limits[0].until; "" for none
	Err     error
}

// Error names the device and channel, and the error.
func (f *Fault) Error() string {
	if f.Field != "" {
		return fmt.Sprintf("%s %v", f.Field, f.Err)
	}
	if f.Channel == 0 {
		return fmt.Sprintf("device %s: %v", f.Device, f.Err)
	}
	return fmt.Sprintf("device %s, channel %d: %v", f.Device, f.Channel, f.Err)
}

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

// Decide returns the events of a command, none if it changes nothing. It depends on its
// arguments only.
func Decide(s State, command Command) ([]Event, error) {
	switch c := command.(type) {
	case Save:
		return save(s, c)
	case EndDevice:
		return endDevice(s, c), nil
	case GiveUp:
		return giveUp(s, c), nil
	case Restate:
		return restate(s, c), nil
	case Reapply:
		return reapply(s, c), nil
	case Forget:
		return forget(s, c)
	case TakeOver:
		return takeOver(s, c)
	}
	if !s.Live {
		return nil, ErrNotFound
	}
	switch c := command.(type) {
	case Replace:
		return replace(s, c)
	case PutDevice:
		return putDevice(s, c)
	case RemoveDevice:
		return removeDevice(s, c)
	case Pause:
		return pause(s, c)
	case Resume:
		return resume(s, c)
	case Delete:
		return deleteShare(s, c)
	case Accept:
		return accept(s, c)
	case Reject:
		return reject(s, c)
	case Leave:
		return leave(s, c)
	case SetDomain:
		return setDomain(s, c)
	case Dismiss:
		return dismiss(s, c)
	}
	return nil, fmt.Errorf("%w %T", ErrUnknownCommand, command)
}

func endDevice(s State, c EndDevice) []Event {
	d, ok := s.Find(c.Device)
	if !ok || !s.Live || !d.Listed() {
		return nil
	}
	return []Event{removed(s, d, cmp.Or(c.Why, DeviceDeleted), c.At)}
}

func removed(s State, d Device, why Reason, at time.Time) Event {
	return DeviceRemoved{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Account: d.Account,
		Device: d.Device, Reason: why, At: at,
	}
}
