package share

import (
	"fmt"
	"time"

	"latchkey/domain/event"
)

// Dismiss is the recipient's wish not to be shown an invitation as new any more. The
// invitation stays.
type Dismiss struct {
	By     string
	Holder string // the account that holds the recipient's login, "" for none
	Device string
	At     time.Time
}

func (Dismiss) shareCommand() {}

func dismiss(s State, c Dismiss) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	d, ok := s.Find(c.Device)
	switch {
	case !ok:
		return nil, ErrNotInShare
	case d.Status != StatusInvited:
		return nil, ErrNotInvited
	case !d.DismissedAt.IsZero():
		return nil, nil
	}
	return []Event{Dismissed{Share: s.ID, Owner: s.Owner, Login: s.Login, Account: c.By, Device: c.Device, At: c.At}}, nil
}

// Dismissed is an invitation that its recipient has seen and not decided. It changes
// nothing about the invitation.
type Dismissed struct {
	Share   string    `json:"share"`
	Owner   string    `json:"owner"`
	Login   string    `json:"login"`
	Account string    `json:"account"` // the recipient
	Device  string    `json:"device"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (Dismissed) Type() string { return "latchkey.share.dismissed.v1" }

// Subjects returns whom and what it concerns.
func (e Dismissed) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: e.Account, Login: e.Login, Share: e.Share, Device: e.Device}
}

// Effect returns what it does to privileges.
func (Dismissed) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (Dismissed) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e Dismissed) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e Dismissed) Sentence() string {
	return fmt.Sprintf("account %s dismissed the invitation to device %s without deciding (share %s)", e.Account, e.Device, e.Share)
}

func (e Dismissed) apply(s *State) {
	s.with(e.Device, func(d *Device) {
		if d.Status == StatusInvited {
			d.DismissedAt = e.At
		}
	})
}
