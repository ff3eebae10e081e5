// Package audit plays the history of shares straight from the log, for people
// who must be able to say what happened. It asks no read model, and it never
// touches video.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"latchkey/domain"
	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/share"
	"latchkey/eventstore"
)

// Reader reads the log forwards, oldest first, to the end that it has at the
// time of the call.
type Reader interface {
	ReadAll(ctx context.Context, after eventstore.Position, prefix string, each func(eventstore.Recorded) error) error
}

var (
	// ErrForgotten says that a text can never be read again: its person was
	// erased.
	ErrForgotten = errors.New("forgotten")
	// ErrUnreadable says that a text cannot be read though its person was not
	// erased: its key is missing, or one of the two is damaged.
	ErrUnreadable = errors.New("unreadable")
)

// Unsealer reads sealed text. Errors: ErrForgotten, ErrUnreadable; any other ends
// the history.
type Unsealer interface {
	Unseal(ctx context.Context, field, sealed string) (string, error)
}

// Filter chooses events. Empty fields choose all.
type Filter struct {
	Share, Device, Account string
	From, To               time.Time // From is included, To is not
}

// Entry is one event of the history, its personal text opened.
type Entry struct {
	Position uint64    `json:"position"`
	Time     time.Time `json:"time"`
	Type     string    `json:"type"`
	Stream   string    `json:"stream"`
	Revision uint64    `json:"revision"`
	ID       string    `json:"id"`
	Event    any       `json:"event"`
}

// Replay gives every event that the filter chooses to each, in the order of the
// log. It keeps one event in memory. seen is told of every event that was read.
// An event that cannot be decoded ends it with an error: a history with holes
// is none.
func Replay(ctx context.Context, log Reader, text Unsealer, f Filter, seen func(uint64), each func(Entry) error) error {
	err := log.ReadAll(ctx, 0, domain.EventPrefix, func(r eventstore.Recorded) error {
		seen(uint64(r.Position))
		if !f.From.IsZero() && r.Created.Before(f.From) {
			return nil
		}
		if !f.To.IsZero() && !r.Created.Before(f.To) {
			return nil
		}
		event, err := domain.DecodeEvent(r.Type, r.Data)
		if err != nil {
			return fmt.Errorf("event %s at position %d: %w", r.ID, r.Position, err)
		}
		about := subjectsOf(event)
		if !about.match(f) {
			return nil
		}
		event, err = opened(ctx, text, event)
		if err != nil {
			return fmt.Errorf("event %s at position %d: %w", r.ID, r.Position, err)
		}
		return each(Entry{
			Position: uint64(r.Position), Time: r.Created.UTC(), Type: r.Type, Stream: r.Stream, Revision: r.Revision, ID: r.ID.String(),
			Event: event,
		})
	})
	if err != nil {
		return fmt.Errorf("replaying the history: %w", err)
	}
	return nil
}

// subjects are what an event is about.
type subjects struct {
	share, device string
	accounts      [2]string
}

func (s subjects) match(f Filter) bool {
	return (f.Share == "" || f.Share == s.share) &&
		(f.Device == "" || f.Device == s.device) &&
		(f.Account == "" || f.Account == s.accounts[0] || f.Account == s.accounts[1])
}

func subjectsOf(event any) subjects {
	switch e := event.(type) {
	case account.LoginClaimed:
		return subjects{accounts: [2]string{e.Account}}
	case account.Registered:
		return subjects{accounts: [2]string{e.Account}}
	case account.StreamKeyAdded:
		return subjects{device: e.Device, accounts: [2]string{e.Account}}
	case account.StreamKeyRevoked:
		return subjects{accounts: [2]string{e.Account}}
	case device.Added:
		return subjects{device: e.Device, accounts: [2]string{e.Owner}}
	case device.Removed:
		return subjects{device: e.Device, accounts: [2]string{e.Owner}}
	case share.Opened:
		return subjects{share: e.Share, accounts: [2]string{e.Owner}}
	case share.RemarkChanged:
		return subjects{share: e.Share, accounts: [2]string{e.Owner}}
	case share.Invited:
		return subjects{e.Share, e.Device, [2]string{e.Owner}}
	case share.Accepted:
		return subjects{e.Share, e.Device, [2]string{e.Owner, e.Account}}
	case share.Rejected:
		return subjects{e.Share, e.Device, [2]string{e.Owner, e.Account}}
	case share.PrivilegesEdited:
		return subjects{e.Share, e.Device, [2]string{e.Owner, e.Account}}
	case share.DeviceRemoved:
		return subjects{e.Share, e.Device, [2]string{e.Owner, e.Account}}
	case share.Left:
		return subjects{e.Share, e.Device, [2]string{e.Owner, e.Account}}
	case share.DomainSet:
		return subjects{e.Share, e.Device, [2]string{e.Owner, e.Account}}
	case share.Deleted:
		return subjects{share: e.Share, accounts: [2]string{e.Owner}}
	}
	return subjects{}
}

// opened is the event with its personal text readable.
func opened(ctx context.Context, text Unsealer, event any) (_ any, err error) {
	open := func(field string, sealed *string) {
		if *sealed == "" || err != nil {
			return
		}
		plain, fault := text.Unseal(ctx, field, *sealed)
		switch {
		case errors.Is(fault, ErrForgotten):
			plain = "(forgotten)"
		case errors.Is(fault, ErrUnreadable):
			plain = "(unreadable)"
		case fault != nil:
			err = fault
		}
		*sealed = plain
	}
	switch e := event.(type) {
	case account.Registered:
		open(domain.FieldAddress, &e.Address)
		open(domain.FieldName, &e.Name)
		return e, err
	case account.StreamKeyAdded:
		open(domain.FieldLabel, &e.Label)
		return e, err
	case device.Added:
		open(domain.FieldDevice, &e.Name)
		for i := range e.Channels {
			open(domain.FieldChannel, &e.Channels[i].Name)
		}
		return e, err
	case share.Opened:
		open(domain.FieldRecipient, &e.Recipient)
		open(domain.FieldRemark, &e.Remark)
		return e, err
	case share.RemarkChanged:
		open(domain.FieldRemark, &e.Remark)
		return e, err
	case share.Deleted:
		open(domain.FieldRecipient, &e.Recipient)
		open(domain.FieldRemark, &e.Remark)
		return e, err
	}
	return event, nil
}

// ErrTime is returned for a time that is not in a known form.
var ErrTime = errors.New("want a time such as 2026-01-02T15:04:05Z, 2026-01-02T15:04 or 2026-01-02")

// ParseTime reads a time; without a zone it is in zone.
func ParseTime(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: %w", text, ErrTime)
}

// WriteTimeline writes one entry as a line for people, times in zone.
func WriteTimeline(w io.Writer, e Entry, zone *time.Location) error {
	_, err := fmt.Fprintf(w, "%s  %s\n", e.Time.In(zone).Format("2006-01-02 15:04:05.000 -0700"), sentence(e.Event))
	return err
}
