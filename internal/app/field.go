package app

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"latchkey/domain/share"
)

// Field is a place in the input of a command: names, and indexes of lists, such as
// devices[2].channels[0].privileges. "" is the input as a whole. Transports have their
// own names for them.
type Field string

// FieldIdempotencyKey is the idempotency key of a command.
const FieldIdempotencyKey Field = "idempotency_key"

// Dot is a field within f.
func (f Field) Dot(name Field) Field {
	if f == "" {
		return name
	}
	return f + "." + name
}

// Entry is an entry of the list f, counted from 0.
func (f Field) Entry(i int) Field { return f + Field("["+strconv.Itoa(i)+"]") }

// Steps returns the names and indexes of the path, in order.
func (f Field) Steps() []string {
	return strings.FieldsFunc(string(f), func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// faults collects the errors of fields.
type faults map[Field]string

func (f faults) add(at Field, reason string) {
	if _, ok := f[at]; !ok {
		f[at] = reason
	}
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return invalid(f)
}

// point sets the field of the input that a refusal is about.
func point(err error, at Field) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || at == "" {
		return err
	}
	reason := e.Message
	if fault, ok := errors.AsType[*share.Fault](err); ok {
		reason = fault.Err.Error() // at has the place
	}
	e.Fields = map[Field]string{at: reason}
	return e
}

// fieldIn returns the field of a list of devices that a fault of a share is about,
// "" if it is about none of them.
func fieldIn(devices []DeviceGrants, err error) Field {
	fault, ok := errors.AsType[*share.Fault](err)
	if !ok {
		return ""
	}
	if fault.Device == "" {
		return Field(fault.Field)
	}
	for i, d := range slices.Backward(devices) { // of a duplicate, the second
		if d.Device != fault.Device {
			continue
		}
		at := Field("devices").Entry(i)
		if within := d.field(err); within != "" {
			return at.Dot(within)
		}
		return at.Dot("device")
	}
	return ""
}

// field returns the field that a fault is about, "" for the device as a whole.
func (d DeviceGrants) field(err error) Field {
	fault, ok := errors.AsType[*share.Fault](err)
	if ok && errors.Is(fault, share.ErrNoChannels) {
		return "channels"
	}
	if ok && fault.Field != "" && fault.Channel == 0 {
		return Field(fault.Field)
	}
	if !ok || fault.Channel == 0 && !errors.Is(fault, share.ErrUnknownChannel) {
		return ""
	}
	for i, g := range slices.Backward(d.Grants) {
		if g.Channel != fault.Channel {
			continue
		}
		at := Field("channels").Entry(i)
		if fault.Field != "" {
			return at.Dot(Field(fault.Field))
		}
		if errors.Is(fault, share.ErrBeyondCapability) {
			return at.Dot("privileges")
		}
		return at.Dot("channel")
	}
	return ""
}
