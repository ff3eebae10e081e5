// Package audit replays the history of shares straight from the log, for people who must
// be able to say what happened. It uses no read model, and never touches video.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/eventstore"
)

// Reader reads the log forwards, oldest first, to the end that it has at the
// time of the call.
type Reader interface {
	ReadAll(ctx context.Context, after eventstore.Position, prefix string, each func(eventstore.Recorded) error) error
}

var (
	// ErrForgotten is returned for a text that can never be read again: its person was
	// erased.
	ErrForgotten = errors.New("forgotten")
	// ErrUnreadable is returned for a text that cannot be read although its person was
	// not erased: its key is missing, or text or key is damaged.
	ErrUnreadable = errors.New("unreadable")
)

// Unsealer reads sealed text. Errors: ErrForgotten, ErrUnreadable; any other ends
// the history.
type Unsealer interface {
	Unseal(ctx context.Context, field, sealed string) (string, error)
}

// Filter selects events. Empty fields match all.
type Filter struct {
	Share, Device, Account string
	From, To               time.Time // From is inclusive, To exclusive
}

// Entry is one event of the history, with its personal text opened.
type Entry struct {
	Position eventstore.Position `json:"position"`
	Time     time.Time           `json:"time"`
	Type     string              `json:"type"`
	Stream   string              `json:"stream"`
	Revision uint64              `json:"revision"`
	ID       string              `json:"id"`
	Event    event.Event         `json:"event"`
}

// Replay calls each for every event that the filter selects, in the order of the log. It
// keeps one event in memory. seen is called for every event that was read. An event that
// cannot be decoded ends the replay with an error: a history with gaps is worthless.
func Replay(ctx context.Context, log Reader, text Unsealer, f Filter, seen func(eventstore.Position), each func(Entry) error) error {
	err := log.ReadAll(ctx, 0, event.Prefix, func(r eventstore.Recorded) error {
		seen(r.Position)
		if !f.From.IsZero() && r.Created.Before(f.From) {
			return nil
		}
		if !f.To.IsZero() && !r.Created.Before(f.To) {
			return nil
		}
		e, err := catalogue.Decode(r.Type, r.Data)
		if err != nil {
			return fmt.Errorf("event %s at position %d: %w", r.ID, r.Position, err)
		}
		if !f.chosen(e.Subjects()) {
			return nil
		}
		e, err = opened(ctx, text, e)
		if err != nil {
			return fmt.Errorf("event %s at position %d: %w", r.ID, r.Position, err)
		}
		return each(Entry{
			Position: r.Position, Time: r.Created.UTC(), Type: r.Type, Stream: r.Stream, Revision: r.Revision, ID: r.ID.String(),
			Event: e,
		})
	})
	if err != nil {
		return fmt.Errorf("replaying the history: %w", err)
	}
	return nil
}

// chosen reports whether the filter selects an event about the subjects.
func (f Filter) chosen(about event.Subjects) bool {
	return (f.Share == "" || f.Share == about.Share) &&
		(f.Device == "" || f.Device == about.Device) &&
		(f.Account == "" || about.Concerns(f.Account))
}

// opened returns the event with its personal text readable.
func opened(ctx context.Context, text Unsealer, e event.Event) (_ event.Event, err error) {
	e = e.Texts(func(field, sealed string) string {
		if sealed == "" || err != nil {
			return sealed
		}
		plain, fault := text.Unseal(ctx, field, sealed)
		switch {
		case errors.Is(fault, ErrForgotten):
			return "(forgotten)"
		case errors.Is(fault, ErrUnreadable):
			return "(unreadable)"
		case fault != nil:
			err = fault
		}
		return plain
	})
	return e, err
}

// ErrTime is returned for a time in an unknown format.
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
	_, err := fmt.Fprintf(w, "%s  %s\n", e.Time.In(zone).Format("2006-01-02 15:04:05.000 -0700"), e.Event.Sentence())
	return err
}
