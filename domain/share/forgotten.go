package share

import (
	"errors"
	"fmt"
	"time"

	"latchkey/domain/event"
)

// The reasons why a recipient is not forgotten.
var (
	ErrNoRecipient = errors.New("you have shared with no such recipient")
	ErrStillShared = errors.New("you still share with this recipient; delete the share first")
)

// Forget takes the recipient of a deleted share out of its owner's lists.
type Forget struct {
	By string
	At time.Time
}

func (Forget) shareCommand() {}

// forget refuses while the share is live: its recipient is then in use.
func forget(s State, c Forget) ([]Event, error) {
	switch {
	case s.ID == "" || c.By == "" || c.By != s.Owner || s.Forgotten && !s.Live:
		return nil, ErrNoRecipient
	case s.Live:
		return nil, ErrStillShared
	}
	return []Event{RecipientForgotten{Share: s.ID, Owner: s.Owner, Login: s.Login, At: c.At}}, nil
}

// RecipientForgotten takes the recipient of a deleted share out of its owner's lists,
// until the owner shares with them again.
type RecipientForgotten struct {
	Share string    `json:"share"`
	Owner string    `json:"owner"`
	Login string    `json:"login"`
	At    time.Time `json:"at"`
}

// Type returns the frozen name.
func (RecipientForgotten) Type() string { return "latchkey.share.recipient_forgotten.v1" }

// Subjects returns whom and what it concerns.
func (e RecipientForgotten) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Login: e.Login, Share: e.Share}
}

// Effect returns what it does to privileges.
func (RecipientForgotten) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes.
func (RecipientForgotten) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e RecipientForgotten) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e RecipientForgotten) Sentence() string {
	return fmt.Sprintf("owner %s took the recipient of the deleted share %s out of their lists", e.Owner, e.Share)
}

func (e RecipientForgotten) apply(s *State) {
	if !s.Live {
		s.Forgotten = true
	}
}
