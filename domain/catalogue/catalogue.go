// Package catalogue lists every stored event, and converts events to and from their
// stored form. It has the only list of events: what an event means is defined by its own
// methods (package event).
package catalogue

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/name"
	"latchkey/domain/reclaim"
	"latchkey/domain/request"
	"latchkey/domain/share"
)

// events are all stored events. An event that gets a new version is listed in its new
// version; the old one stays as an entry that decodes the old form and upcasts it:
//
//	older("latchkey.share.invited.v1", func(e invitedV1) share.Invited { ... })
var events = []entry{
	current[account.LoginClaimed](),
	current[account.Registered](),
	current[account.StreamKeyAdded](),
	current[account.PublishingKeyAdded](),
	current[account.StreamKeyRevoked](),
	current[account.PasswordChanged](),
	current[account.LoginReleased](),
	current[account.AddressAdded](),
	current[account.AddressVerified](),
	current[account.AddressRemoved](),
	current[account.PrimaryAddressChanged](),
	current[account.ProfileChanged](),
	current[account.Closed](),
	current[account.NoticesSet](),
	current[account.WebhookSet](),
	current[account.WebhookRemoved](),
	current[device.Added](),
	current[device.Removed](),
	current[device.Renamed](),
	current[device.FactsChanged](),
	current[device.TransferOffered](),
	current[device.TransferEnded](),
	current[name.Claimed](),
	current[request.Requested](),
	current[request.Dismissed](),
	current[reclaim.Claimed](),
	current[reclaim.Ended](),
	current[share.Opened](),
	current[share.RemarkChanged](),
	current[share.Invited](),
	current[share.Accepted](),
	current[share.Rejected](),
	current[share.PrivilegesEdited](),
	current[share.DeviceRemoved](),
	current[share.Left](),
	current[share.DomainSet](),
	current[share.Paused](),
	current[share.Resumed](),
	current[share.TermsChanged](),
	current[share.Deleted](),
	current[share.RecipientForgotten](),
	current[share.Dismissed](),
}

// entry defines how events of one stored type are read.
type entry struct {
	name    string
	example event.Event // of that type, its fields zero
	decode  func(data []byte) (event.Event, error)
}

// current returns the entry of an event in its present version.
func current[E event.Event]() entry {
	var zero E
	return older(zero.Type(), func(e E) E { return e })
}

// older returns the entry of an earlier version of an event, which upcast converts to the
// present one.
func older[Old any, E event.Event](name string, upcast func(Old) E) entry {
	var zero E
	read := decoderOf[Old]()
	return entry{name: name, example: zero, decode: func(data []byte) (event.Event, error) {
		old, err := read(data)
		if err != nil {
			return nil, err
		}
		return upcast(old), nil
	}}
}

// byName indexes events by type.
var byName = func() map[string]*entry {
	m := make(map[string]*entry, len(events))
	for i := range events {
		m[events[i].name] = &events[i]
	}
	return m
}()

// Known reports whether this build can read events of a type.
func Known(name string) bool { return byName[name] != nil }

// HasEffect reports whether events of a type may have an effect on privileges; types that
// this build cannot read may.
func HasEffect(name string) bool {
	e := byName[name]
	return e == nil || e.example.Effect().Kind != event.Nothing
}

// Names lists the types of events that which accepts, given an event of the type whose
// fields are zero.
func Names(which func(event.Event) bool) []string {
	var list []string
	for _, e := range events {
		if which(e.example) {
			list = append(list, e.name)
		}
	}
	return list
}

// Encode returns the stored form of an event. Error: event.ErrUnknown, if it is not in
// the catalogue, and could not be read again.
func Encode(e event.Event) (name string, data []byte, err error) {
	name = e.Type()
	if !Known(name) {
		return "", nil, fmt.Errorf("encoding %T: %w", e, event.ErrUnknown)
	}
	data, err = json.Marshal(e)
	if err != nil {
		return "", nil, fmt.Errorf("encoding %s: %w", name, err)
	}
	return name, data, nil
}

// Decode reads a stored event into its value type (share.Invited, never a pointer). Its
// strings may share the memory of one text of at most 1 KiB. Errors: event.ErrUnknown, if
// this build does not know the type; others, if the content does not fit, such as a field
// that this build does not know and may not ignore (docs/decisions/0026).
func Decode(name string, data []byte) (event.Event, error) {
	entry := byName[name]
	if entry == nil {
		return nil, fmt.Errorf("decoding %q: %w", name, event.ErrUnknown)
	}
	e, err := entry.decode(data)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	return e, nil
}

// RevocationOf returns what a stored event revoked; ok is false if it revoked nothing.
// Error: event.ErrUnknown, if this build does not know the type, so it may be either.
func RevocationOf(id uuid.UUID, name string, data []byte) (r event.Revocation, ok bool, err error) {
	entry := byName[name]
	if entry == nil {
		return r, false, fmt.Errorf("reading event %s of type %q: %w", id, name, event.ErrUnknown)
	}
	if entry.example.Revokes() == event.NoRevocation {
		return r, false, nil
	}
	e, err := Decode(name, data)
	if err != nil {
		return r, false, fmt.Errorf("reading event %s: %w", id, err)
	}
	r = e.Revokes()
	r.Event = id
	return r, true, nil
}
