package account

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"latchkey/domain/event"
)

// MaxAddresses is how many addresses an account may have, verified or not.
const MaxAddresses = 10

// Why a command about an address or the profile is refused.
var (
	ErrAddressNotFound  = errors.New("the account has no such address")
	ErrLastAddress      = errors.New("this is the last verified address of the account: verify another one first")
	ErrTooManyAddresses = fmt.Errorf("an account has at most %d addresses", MaxAddresses)
)

// Address is an address of an account. Its login names it.
type Address struct {
	Login    string // keyed hash
	Kind     string // "email" or "phone"
	Text     string // sealed
	Verified bool
	AddedAt  time.Time
}

// FindAddress returns the address with a login.
func (s State) FindAddress(login string) (Address, bool) {
	for _, a := range s.Addresses {
		if a.Login == login {
			return a, true
		}
	}
	return Address{}, false
}

// AddAddress adds an address that is not verified yet.
type AddAddress struct {
	Login string
	Kind  string
	Text  string // sealed
	At    time.Time
}

// VerifyAddress says that the address was proven to be the account's. Its login must be
// claimed for the account before.
type VerifyAddress struct {
	Login string
	At    time.Time
}

// RemoveAddress removes an address, but not the last verified one, nor the one that the
// account was registered with while none is.
type RemoveAddress struct {
	Login string
	Any   bool // addresses need no proof: an unverified one is as good as another
	At    time.Time
}

// SetProfile changes what is not nil.
type SetProfile struct {
	Name      *string // sealed
	UserName  *string // sealed; "" for none
	UserLogin string  // keyed hash of the user name, claimed for the account before
	Language  *string // such as "de"; "" for the default
	At        time.Time
}

// Release frees a login that the account holds. It is decided over the login's stream.
type Release struct {
	Account string
	At      time.Time
}

func (AddAddress) accountCommand()    {}
func (VerifyAddress) accountCommand() {}
func (RemoveAddress) accountCommand() {}
func (SetProfile) accountCommand()    {}
func (Release) accountCommand()       {}

func addAddress(s State, c AddAddress) ([]Event, error) {
	if c.Login == "" || c.Kind == "" || c.Text == "" {
		return nil, ErrIncomplete
	}
	if _, ok := s.FindAddress(c.Login); ok {
		return nil, nil
	}
	if len(s.Addresses) >= MaxAddresses {
		return nil, ErrTooManyAddresses
	}
	return []Event{AddressAdded{Account: s.Account, Login: c.Login, Kind: c.Kind, Address: c.Text, At: c.At}}, nil
}

func verifyAddress(s State, c VerifyAddress) ([]Event, error) {
	a, ok := s.FindAddress(c.Login)
	if !ok {
		return nil, ErrAddressNotFound
	}
	if a.Verified {
		return nil, nil
	}
	return []Event{AddressVerified{Account: s.Account, Login: c.Login, At: c.At}}, nil
}

func removeAddress(s State, c RemoveAddress) ([]Event, error) {
	a, ok := s.FindAddress(c.Login)
	if !ok {
		return nil, ErrAddressNotFound
	}
	other := slices.IndexFunc(s.Addresses, func(o Address) bool { return (o.Verified || c.Any) && o.Login != c.Login })
	if other < 0 && (a.Verified || c.Login == s.Login) {
		return nil, ErrLastAddress
	}
	e := AddressRemoved{Account: s.Account, Login: c.Login, At: c.At}
	if c.Login == s.Login {
		next := s.Addresses[other]
		e.NextLogin, e.NextKind, e.NextAddress = next.Login, next.Kind, next.Text
	}
	return []Event{e}, nil
}

func setProfile(s State, c SetProfile) ([]Event, error) {
	e := ProfileChanged{Account: s.Account, Name: s.Name, UserName: s.UserName, UserLogin: s.UserLogin, Language: s.Language, At: c.At}
	if c.Name != nil {
		e.Name = *c.Name
	}
	if c.UserName != nil {
		e.UserName, e.UserLogin = *c.UserName, c.UserLogin
	}
	if c.Language != nil {
		e.Language = *c.Language
	}
	if e.Name == s.Name && e.UserLogin == s.UserLogin && e.Language == s.Language {
		return nil, nil
	}
	return []Event{e}, nil
}

// Proving reports whether the account of a login has proven the address and may not have
// noted it yet.
func (s State) Proving(now time.Time) bool {
	return s.Proven && now.Before(s.ClaimedAt.Add(ClaimLease))
}

func release(s State, c Release) ([]Event, error) {
	if s.Account == "" || s.Account != c.Account {
		return nil, nil
	}
	return []Event{LoginReleased{Login: s.Login, Account: s.Account, At: c.At}}, nil
}

// LoginReleased frees a login: another account may claim it.
type LoginReleased struct {
	Login   string    `json:"login"`
	Account string    `json:"account"` // that had it
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (LoginReleased) Type() string { return "latchkey.login.released.v1" }

// Subjects returns whom and what it concerns.
func (e LoginReleased) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Account, Login: e.Login}
}

// Effect returns what it does to privileges.
func (LoginReleased) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away.
func (LoginReleased) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e LoginReleased) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e LoginReleased) Sentence() string {
	return fmt.Sprintf("account %s released login %s", e.Account, e.Login)
}

func (e LoginReleased) apply(s *State) {
	s.Account, s.Login, s.ClaimedAt, s.Proven = "", e.Login, e.At, false
}

// AddressAdded adds an address to an account. It proves nothing until it is verified.
type AddressAdded struct {
	Account string    `json:"account"`
	Login   string    `json:"login"`
	Kind    string    `json:"kind"`    // "email" or "phone"
	Address string    `json:"address"` // sealed
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (AddressAdded) Type() string { return "latchkey.account.address_added.v1" }

// Subjects returns whom and what it concerns.
func (e AddressAdded) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Account, Login: e.Login}
}

// Effect returns what it does to privileges.
func (AddressAdded) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away.
func (AddressAdded) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e AddressAdded) Texts(change event.ChangeText) event.Event {
	e.Address = change(event.FieldAddress, e.Address)
	return e
}

// Sentence says what happened.
func (e AddressAdded) Sentence() string {
	return fmt.Sprintf("account %s added the %s %s, login %s, not verified", e.Account, e.Kind, e.Address, e.Login)
}

func (e AddressAdded) apply(s *State) {
	if _, ok := s.FindAddress(e.Login); !ok {
		s.Addresses = append(slices.Clone(s.Addresses), Address{Login: e.Login, Kind: e.Kind, Text: e.Address, AddedAt: e.At})
	}
}

// AddressVerified says that an address was proven to be the account's.
type AddressVerified struct {
	Account string    `json:"account"`
	Login   string    `json:"login"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (AddressVerified) Type() string { return "latchkey.account.address_verified.v1" }

// Subjects returns whom and what it concerns.
func (e AddressVerified) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Account, Login: e.Login}
}

// Effect returns what it does to privileges: what was shared with the address must still
// be accepted.
func (AddressVerified) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away.
func (AddressVerified) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e AddressVerified) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e AddressVerified) Sentence() string {
	return fmt.Sprintf("account %s verified login %s", e.Account, e.Login)
}

func (e AddressVerified) apply(s *State) {
	s.Addresses = slices.Clone(s.Addresses)
	for i := range s.Addresses {
		if s.Addresses[i].Login == e.Login {
			s.Addresses[i].Verified = true
		}
	}
}

// AddressRemoved removes an address from an account. If it was the one that the account
// is shown with, another one takes its place.
type AddressRemoved struct {
	Account     string    `json:"account"`
	Login       string    `json:"login"`
	NextLogin   string    `json:"next_login,omitempty"`
	NextKind    string    `json:"next_kind,omitempty"`
	NextAddress string    `json:"next_address,omitempty"` // sealed
	At          time.Time `json:"at"`
}

// Type returns the frozen name.
func (AddressRemoved) Type() string { return "latchkey.account.address_removed.v1" }

// Subjects returns whom and what it concerns.
func (e AddressRemoved) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Account, Login: e.Login}
}

// Effect returns what it does to privileges: what was accepted stays the account's.
func (AddressRemoved) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away: to log in, and to receive shares, by the address.
func (e AddressRemoved) Revokes() event.Revocation {
	return event.Revocation{Kind: event.AddressTaken, Account: e.Account, Key: e.Login}
}

// Texts changes its personal texts.
func (e AddressRemoved) Texts(change event.ChangeText) event.Event {
	e.NextAddress = change(event.FieldAddress, e.NextAddress)
	return e
}

// Sentence says what happened.
func (e AddressRemoved) Sentence() string {
	return fmt.Sprintf("account %s removed the address of login %s", e.Account, e.Login)
}

func (e AddressRemoved) apply(s *State) {
	s.Addresses = slices.DeleteFunc(slices.Clone(s.Addresses), func(a Address) bool { return a.Login == e.Login })
	if e.NextLogin != "" {
		s.Login, s.Kind, s.Address = e.NextLogin, e.NextKind, e.NextAddress
	}
}

// ProfileChanged has the name, the user name and the language of an account as they are
// from now on.
type ProfileChanged struct {
	Account   string    `json:"account"`
	Name      string    `json:"name,omitempty"`       // sealed
	UserName  string    `json:"user_name,omitempty"`  // sealed
	UserLogin string    `json:"user_login,omitempty"` // keyed hash of the user name
	Language  string    `json:"_language,omitempty"`
	At        time.Time `json:"at"`
}

// Type returns the frozen name.
func (ProfileChanged) Type() string { return "latchkey.account.profile_changed.v1" }

// Subjects returns whom and what it concerns.
func (e ProfileChanged) Subjects() event.Subjects { return event.Subjects{Owner: e.Account} }

// Effect returns what it does to privileges.
func (ProfileChanged) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away.
func (ProfileChanged) Revokes() event.Revocation { return event.NoRevocation }

// Texts changes its personal texts.
func (e ProfileChanged) Texts(change event.ChangeText) event.Event {
	e.Name = change(event.FieldName, e.Name)
	e.UserName = change(event.FieldUserName, e.UserName)
	return e
}

// Sentence says what happened.
func (e ProfileChanged) Sentence() string {
	return fmt.Sprintf("account %s has the name %s%s", e.Account, e.Name, event.On(" and the user name ", e.UserName))
}

func (e ProfileChanged) apply(s *State) {
	s.Name, s.UserName, s.UserLogin, s.Language = e.Name, e.UserName, e.UserLogin, e.Language
}
