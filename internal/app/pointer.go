package app

import (
	"errors"
	"slices"
	"strconv"

	"latchkey/domain/share"
)

// point says which field of the request a refusal is about.
func point(err error, at string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || at == "" {
		return err
	}
	reason := e.Message
	if fault, ok := errors.AsType[*share.Fault](err); ok {
		reason = fault.Err.Error() // where it is, at says
	}
	e.Fields = map[string]string{at: reason}
	return e
}

// pointerIn gives the field of a list of devices that a fault of a share is
// about, "" where it is about none of them.
func pointerIn(devices []DeviceGrants, err error) string {
	fault, ok := errors.AsType[*share.Fault](err)
	if !ok {
		return ""
	}
	for i, d := range slices.Backward(devices) { // of what is given twice, the second
		if d.Device != fault.Device {
			continue
		}
		at := "/devices/" + strconv.Itoa(i)
		if within := d.pointer(err); within != "" {
			return at + within
		}
		return at + "/device"
	}
	return ""
}

// pointer gives the field that a fault is about, "" for the device as a whole.
func (d DeviceGrants) pointer(err error) string {
	fault, ok := errors.AsType[*share.Fault](err)
	if ok && errors.Is(fault, share.ErrNoChannels) {
		return "/channels"
	}
	if !ok || fault.Channel == 0 && !errors.Is(fault, share.ErrUnknownChannel) {
		return ""
	}
	for i, g := range slices.Backward(d.Grants) {
		if g.Channel != fault.Channel {
			continue
		}
		at := "/channels/" + strconv.Itoa(i)
		if errors.Is(fault, share.ErrBeyondCapability) {
			return at + "/privileges"
		}
		return at + "/channel"
	}
	return ""
}
