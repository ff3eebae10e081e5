package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/name"
	"latchkey/domain/share"
)

// EventPrefix begins the type of every event of ours, so that a subscription
// can be filtered by it.
const EventPrefix = "latchkey."

// ErrUnknownEvent is returned for an event type that this build cannot read.
// Whoever decides about permissions must then deny, never skip.
var ErrUnknownEvent = errors.New("unknown event type")

// catalogue holds every stored event: its frozen name and its Go type.
var catalogue = map[string]reflect.Type{
	"latchkey.login.claimed.v1":           reflect.TypeFor[account.LoginClaimed](),
	"latchkey.account.registered.v1":      reflect.TypeFor[account.Registered](),
	"latchkey.stream_key.added.v1":        reflect.TypeFor[account.StreamKeyAdded](),
	"latchkey.stream_key.revoked.v1":      reflect.TypeFor[account.StreamKeyRevoked](),
	"latchkey.device.added.v1":            reflect.TypeFor[device.Added](),
	"latchkey.device_domain.claimed.v1":   reflect.TypeFor[name.Claimed](),
	"latchkey.device.removed.v1":          reflect.TypeFor[device.Removed](),
	"latchkey.share.opened.v1":            reflect.TypeFor[share.Opened](),
	"latchkey.share.remark_changed.v1":    reflect.TypeFor[share.RemarkChanged](),
	"latchkey.share.invited.v1":           reflect.TypeFor[share.Invited](),
	"latchkey.share.accepted.v1":          reflect.TypeFor[share.Accepted](),
	"latchkey.share.rejected.v1":          reflect.TypeFor[share.Rejected](),
	"latchkey.share.privileges_edited.v1": reflect.TypeFor[share.PrivilegesEdited](),
	"latchkey.share.device_removed.v1":    reflect.TypeFor[share.DeviceRemoved](),
	"latchkey.share.left.v1":              reflect.TypeFor[share.Left](),
	"latchkey.share.domain_set.v1":        reflect.TypeFor[share.DomainSet](),
	"latchkey.share.deleted.v1":           reflect.TypeFor[share.Deleted](),
}

var typeNames = func() map[reflect.Type]string {
	names := make(map[reflect.Type]string, len(catalogue))
	for name, t := range catalogue {
		names[t] = name
	}
	return names
}()

// EncodeEvent gives the frozen name and the JSON of an event of the catalogue.
func EncodeEvent(event any) (name string, data []byte, err error) {
	name, ok := typeNames[reflect.TypeOf(event)]
	if !ok {
		return "", nil, fmt.Errorf("encoding %T: %w", event, ErrUnknownEvent)
	}
	data, err = json.Marshal(event)
	if err != nil {
		return "", nil, fmt.Errorf("encoding %s: %w", name, err)
	}
	return name, data, nil
}

// DecodeEvent reads a stored event into its value type (share.Invited, never a
// pointer). An unknown type is ErrUnknownEvent; an unknown field is an error
// too: it may be one that restricts.
func DecodeEvent(name string, data []byte) (any, error) {
	t, ok := catalogue[name]
	if !ok {
		return nil, fmt.Errorf("decoding %q: %w", name, ErrUnknownEvent)
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' { // null would be an event of zero values
		return nil, fmt.Errorf("decoding %s: not a JSON object", name)
	}
	v := reflect.New(t)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v.Interface()); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decoding %s: more than one JSON value", name)
	}
	return v.Elem().Interface(), nil
}
