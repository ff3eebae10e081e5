package account

import (
	"fmt"
	"time"

	"latchkey/domain/event"
)

// PasswordChanged records that the account has another password. It contains nothing
// derived from the password.
type PasswordChanged struct {
	Account string    `json:"account"`
	By      string    `json:"_by,omitempty"` // see ChangePassword
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (PasswordChanged) Type() string { return "latchkey.account.password_changed.v1" }

// Subjects returns whom and what it concerns.
func (e PasswordChanged) Subjects() event.Subjects { return event.Subjects{Owner: e.Account} }

// Effect returns what it does to privileges.
func (PasswordChanged) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it revokes: the password before. The stream keys have their own
// events, and sessions end under every vault that is put back.
func (e PasswordChanged) Revokes() event.Revocation {
	return event.Revocation{Kind: event.PasswordTaken, Account: e.Account}
}

// Texts returns the event: it has no personal text.
func (e PasswordChanged) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e PasswordChanged) Sentence() string {
	switch e.By {
	case ByCode:
		return fmt.Sprintf("account %s set a new password, with a code that was sent to an address of it", e.Account)
	case ByOperator:
		return fmt.Sprintf("the operator set a new password of account %s", e.Account)
	case ByRestore:
		return fmt.Sprintf("the password of account %s was made void, as a backup had brought it back", e.Account)
	}
	return fmt.Sprintf("account %s changed its password", e.Account)
}

func (e PasswordChanged) apply(s *State) { s.PasswordAt = e.At }
