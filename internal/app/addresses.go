package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"latchkey/domain/account"
	"latchkey/domain/event"
	"latchkey/internal/position"
)

const (
	// codeTTL is how long a code is valid, and codeAttempts how often one may be tried.
	codeTTL      = 15 * time.Minute
	codeAttempts = 5
	// codeDigits is how many digits a code has.
	codeDigits = 8
)

// Codes keeps codes that prove that somebody reads what is sent to an address.
type Codes interface {
	// NewCode makes a code of so many digits, which replaces the one before of the same
	// purpose.
	NewCode(ctx context.Context, purpose string, digits int, ttl time.Duration, attempts int) (string, error)
	// UseCode reports whether a code is right. Each use takes one of its attempts, and one
	// that is right is gone.
	UseCode(ctx context.Context, purpose, code string) (bool, error)
	DropCode(ctx context.Context, purpose string) error
}

// Messenger sends messages to people.
type Messenger interface {
	// Send keeps a message until it was sent. One with an id that was there before is the
	// same.
	Send(ctx context.Context, n Notice) error
}

// Notice is a message to a person.
type Notice struct {
	ID       string // follows from the cause
	Account  string // that it is for
	Kind     string // of the address: "email" or "phone"
	To       string // the address
	Language string // "" for the default
	What     string // what it says: one of the constants
	Code     string
	Until    time.Time // it is of no use afterwards
	Ready    time.Time // of NoticeReclaim: when the device can be taken over
}

// What a Notice says.
const (
	NoticeVerify = "verify" // a code to verify the address
	NoticeReset  = "reset"  // a code to set a new password
	NoticeTaken  = "taken"  // somebody wants to add the address, which another account has
	NoticeKnown  = "known"  // somebody wants to register with the address, which an account has
	// NoticeNothing is not sent. It is kept as the others are, so that the time does not tell
	// whether there is something to send.
	NoticeNothing = ""

	NoticeTransfer  = "transfer"  // a device is offered to the address, to be handed over
	NoticeReclaim   = "reclaim"   // somebody claims a device of the account's
	NoticeReclaimed = "reclaimed" // a device of the account's went to who claimed it
)

// AddressView is an address of an account, in clear.
type AddressView struct {
	account.Address
	Plain      string
	Unreadable bool
	Primary    bool // the account is shown with it
}

// Profile are the account's own settings, in clear.
type Profile struct {
	Name, UserName, Language string
	Verified                 bool // at least one address is, or need not be
}

// proven reports whether an account may receive what is shared with one of its logins: it
// has verified the address, or need not, and has not removed it.
func (s *core) proven(ctx context.Context, id, login string) (bool, error) {
	there, err := load(ctx, s, accountKind, accountStream(id))
	if err != nil {
		return false, err
	}
	a, ok := there.state.FindAddress(login)
	return ok && (a.Verified || !s.verify), nil
}

// Addresses lists the addresses of an account.
func (a *Accounts) Addresses(ctx context.Context, id string) ([]AddressView, error) {
	state, err := a.core.accountNow(ctx, id)
	if err != nil {
		return nil, err
	}
	list := make([]AddressView, len(state.Addresses))
	for i, address := range state.Addresses {
		list[i] = a.view(ctx, state, address)
	}
	return list, nil
}

func (a *Accounts) view(ctx context.Context, of account.State, address account.Address) AddressView {
	plain, err := a.core.sealer.Unseal(ctx, event.FieldAddress, address.Text)
	return AddressView{Address: address, Plain: plain, Unreadable: err != nil, Primary: address.Login == of.Login}
}

// Profile returns the settings of an account.
func (a *Accounts) Profile(ctx context.Context, id string) (Profile, error) {
	state, err := a.core.accountNow(ctx, id)
	if err != nil {
		return Profile{}, err
	}
	p := Profile{
		Name: a.core.known(ctx, event.FieldName, state.Name), UserName: a.core.known(ctx, event.FieldUserName, state.UserName),
		Language: state.Language, Verified: !a.core.verify,
	}
	for _, address := range state.Addresses {
		p.Verified = p.Verified || address.Verified
	}
	return p, nil
}

// AddressAdded is the answer of Accounts.AddAddress.
type AddressAdded struct {
	Position position.Position
	Address  AddressView
}

// AddAddress adds an address to the caller's account and sends it a code. The answer is
// the same whether another account has the address or not; whoever reads it is told.
// Where no proof is asked for, the address is the account's at once, if it is free.
func (a *Accounts) AddAddress(ctx context.Context, m Meta, email, phone string) (AddressAdded, error) {
	if a.core.verify {
		defer evenly(ctx, time.Now(), addingTakes)
	}
	f := faults{}
	kind, plain := f.oneAddress("", email, phone)
	if err := f.err(); err != nil {
		return AddressAdded{}, err
	}
	c, err := a.core.begin(m, "add address", kind, plain)
	if err != nil {
		return AddressAdded{}, err
	}
	text, err := a.core.seal(ctx, c.Account, event.FieldAddress, plain)
	if err != nil {
		return AddressAdded{}, err
	}
	login := a.core.sealer.LoginHash(kind, plain)
	done, err := run(ctx, a.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.AddAddress{Login: login, Kind: kind, Text: text, At: c.at})
	})
	if err != nil {
		return AddressAdded{}, err
	}
	added := AddressAdded{Position: done.position}
	if address, ok := done.latest.FindAddress(login); ok && !address.Verified {
		if !a.core.verify {
			verified, err := a.prove(ctx, c, login)
			if err != nil {
				return AddressAdded{}, errors.Join(err, a.withdraw(ctx, c, login))
			}
			added.Position, done.latest = verified.position, verified.state
		} else if err := a.sendVerification(ctx, c, done.latest, login); err != nil {
			return AddressAdded{}, err
		}
	}
	address, ok := done.latest.FindAddress(login)
	if !ok {
		return AddressAdded{}, refused(account.ErrAddressNotFound)
	}
	added.Address = a.view(ctx, done.latest, address)
	return added, nil
}

// withdraw takes an address back that could not become the account's.
func (a *Accounts) withdraw(ctx context.Context, c command, login string) error {
	c.IdempotencyKey = ""
	_, err := run(ctx, a.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.RemoveAddress{Login: login, Any: !a.core.verify, At: c.at})
	})
	return err
}

// purposeOf names the code that verifies a login for an account.
func purposeOf(id, login string) string { return "verify " + id + " " + login }

// SendCode sends a new code to an address of the caller's that is not verified.
func (a *Accounts) SendCode(ctx context.Context, m Meta, login string) error {
	c, err := a.core.begin(m, "send code", login)
	if err != nil {
		return err
	}
	state, err := a.core.accountNow(ctx, c.Account)
	if err != nil {
		return err
	}
	address, ok := state.FindAddress(login)
	switch {
	case !ok:
		return refused(account.ErrAddressNotFound)
	case address.Verified:
		return nil
	}
	return a.sendVerification(ctx, c, state, login)
}

// sendVerification sends a code to an address, or tells whoever reads it that the address
// is another account's already.
func (a *Accounts) sendVerification(ctx context.Context, c command, of account.State, login string) error {
	address, _ := of.FindAddress(login)
	plain, err := a.core.sealer.Unseal(ctx, event.FieldAddress, address.Text)
	if err != nil {
		return unavailable(fmt.Errorf("reading an address: %w", err))
	}
	taken, err := a.takenBy(ctx, of.Account, address.Kind, plain, login)
	if err != nil {
		return err
	}
	n := Notice{
		ID: "code-" + c.id(login, 0).String(), Account: of.Account, Kind: address.Kind, To: plain, Language: of.Language,
		What: NoticeVerify, Until: a.core.now().Add(codeTTL),
	}
	// The code is made in any case, so that the time does not tell.
	if n.Code, err = a.codes.NewCode(ctx, purposeOf(of.Account, login), codeDigits, codeTTL, codeAttempts); err != nil {
		return unavailable(fmt.Errorf("making a code: %w", err))
	}
	if tell := a.mayTell(ctx, login); taken {
		n.What, n.Code = NoticeNothing, ""
		switch {
		case tell && login == of.Login:
			n.What = NoticeKnown
		case tell:
			n.What = NoticeTaken
		}
	}
	if err := a.messenger.Send(ctx, n); err != nil {
		return unavailable(fmt.Errorf("sending a code: %w", err))
	}
	return nil
}

// VerifyAddress takes the code that was sent to an address of the caller's.
func (a *Accounts) VerifyAddress(ctx context.Context, m Meta, login, code string) (Done, error) {
	c, err := a.core.begin(m, "verify address", login)
	if err != nil {
		return Done{}, err
	}
	there, err := load(ctx, a.core, accountKind, accountStream(c.Account))
	if err != nil {
		return Done{}, err
	}
	state, err := a.core.held(ctx, there.state)
	if err != nil {
		return Done{}, err
	}
	address, ok := state.FindAddress(login)
	if !ok {
		return Done{}, refused(account.ErrAddressNotFound)
	}
	if address.Verified {
		return Done{Position: there.position()}, nil
	}
	right, err := a.codes.UseCode(ctx, purposeOf(c.Account, login), typedCode(code))
	if err != nil {
		return Done{}, unavailable(fmt.Errorf("checking a code: %w", err))
	}
	if !right {
		return Done{}, wrongCode()
	}
	done, err := a.prove(ctx, c, login)
	return Done{Position: done.position}, err
}

// typedCode returns a code without what people put between its digits.
func typedCode(code string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '-' {
			return -1
		}
		return r
	}, code)
}

func wrongCode() error {
	return &Error{Code: "wrong_code", Kind: Forbidden, Message: "The code is wrong, was used, or is too old. Ask for a new one."}
}

// prove makes a login the account's: it claims the login, and then notes in the account
// that the address is verified. Of two accounts that do so at once, the first claim wins:
// the other one is refused while the note may still come. A claim whose note never came is
// one of an account that has not verified the login, and lapses after account.ClaimLease.
func (a *Accounts) prove(ctx context.Context, c command, login string) (outcome[account.State, account.Event], error) {
	if err := a.claimProven(ctx, c, login); err != nil {
		return outcome[account.State, account.Event]{}, err
	}
	c.IdempotencyKey = "" // its events are those of the command; verifying twice is verifying once
	if err := a.passwords.EndApplications(ctx, login); err != nil {
		a.core.logger.WarnContext(ctx, "applications for an address that was proven have not ended; each opens its own account only", "error", err)
	}
	return run(ctx, a.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		if holder, err := a.core.holder(ctx, login); err != nil || holder != c.Account {
			return nil, cmp.Or(err, refused(account.ErrLoginTaken))
		}
		return account.Decide(there.state, account.VerifyAddress{Login: login, At: a.core.now()})
	})
}

// claimProven claims a login for an account that has proven it, from whoever has not.
func (a *Accounts) claimProven(ctx context.Context, c command, login string) error {
	return a.core.inTurn(ctx, loginStream(login), "", func() error {
		there, err := load(ctx, a.core, loginKind, loginStream(login))
		if err != nil {
			return err
		}
		claim := account.Claim{Login: login, Account: c.Account, Proven: a.core.verify, At: a.core.now()}
		if holder := there.state.Account; holder != "" && holder != c.Account {
			if claim.Lost, err = a.mayTake(ctx, holder, login, a.core.verify && !there.state.Proving(claim.At)); err != nil {
				return err
			}
		}
		events, err := account.Decide(there.state, claim)
		if err != nil {
			return refused(err)
		}
		_, err = a.append(ctx, applicant{command: c}.again(), there, events)
		return err
	})
}

// mayTake reports whether a login may be taken from the account that holds it: nobody can
// log in to that one any more or, if unproven may be taken, it has not verified the login.
func (a *Accounts) mayTake(ctx context.Context, holder, login string, unproven bool) (bool, error) {
	if unproven {
		if proven, err := a.core.proven(ctx, holder, login); err != nil || !proven {
			return err == nil, err
		}
	}
	return a.lost(ctx, holder)
}

// MakePrimary chooses the address that the caller's account is shown with.
func (a *Accounts) MakePrimary(ctx context.Context, m Meta, login string) (Done, error) {
	c, err := a.core.begin(m, "make address primary", login)
	if err != nil {
		return Done{}, err
	}
	done, err := run(ctx, a.core, c, onAccount(c.Account), a.core.onHeld(ctx, account.MakePrimary{Login: login, Any: !a.core.verify, At: c.at}))
	return Done{Position: done.position}, err
}

// release frees a login that the account holds.
func (a *Accounts) release(ctx context.Context, c command, login string) (position.Position, error) {
	if login == "" {
		return 0, nil
	}
	var at position.Position
	err := a.core.inTurn(ctx, loginStream(login), "", func() error {
		there, err := load(ctx, a.core, loginKind, loginStream(login))
		if err != nil {
			return err
		}
		events, err := account.Decide(there.state, account.Release{Account: c.Account, At: a.core.now()})
		if err != nil || len(events) == 0 {
			return err
		}
		at, err = a.append(ctx, applicant{command: c}.again(), there, events)
		return err
	})
	return at, err
}

// ProfileChange changes what is not nil.
type ProfileChange struct {
	Name, UserName, Language *string
}

// nameKindOf is the kind of a user name, among those of addresses.
const userNameKind = "name"

var userName = regexp.MustCompile(`^[a-z][a-z0-9._-]{2,31}$`)

// SetProfile changes the caller's name, user name and language. A user name is claimed as
// a login first; the one before is freed afterwards.
func (a *Accounts) SetProfile(ctx context.Context, m Meta, p ProfileChange) (Done, error) {
	f := faults{}
	if p.Name != nil {
		f.text("name", *p.Name, maxName)
	}
	if p.UserName != nil && *p.UserName != "" && !userName.MatchString(*p.UserName) {
		f.add("user_name", "must be 3 to 32 characters of a-z, 0-9, dot, hyphen and underscore, and begin with a letter")
	}
	if err := f.err(); err != nil {
		return Done{}, err
	}
	c, err := a.core.begin(m, "set profile", p)
	if err != nil {
		return Done{}, err
	}
	set := account.SetProfile{Language: p.Language, At: c.at}
	if set.Name, err = a.sealIf(ctx, c.Account, event.FieldName, p.Name); err != nil {
		return Done{}, err
	}
	if set.UserName, err = a.sealIf(ctx, c.Account, event.FieldUserName, p.UserName); err != nil {
		return Done{}, err
	}
	if p.UserName != nil && *p.UserName != "" {
		set.UserLogin = a.core.sealer.LoginHash(userNameKind, *p.UserName)
		if err := a.claimName(ctx, c, set.UserLogin); err != nil {
			return Done{}, err
		}
	}
	before := ""
	done, err := run(ctx, a.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		before = there.state.UserLogin
		return account.Decide(there.state, set)
	})
	if err != nil {
		return Done{}, err
	}
	if before != "" && before != done.latest.UserLogin {
		position, err := a.release(ctx, c, before)
		if err != nil {
			return Done{}, err
		}
		done.position = max(done.position, position)
	}
	return Done{Position: done.position}, nil
}

func (a *Accounts) sealIf(ctx context.Context, id, field string, plain *string) (*string, error) {
	if plain == nil {
		return nil, nil
	}
	sealed, err := a.core.seal(ctx, id, field, *plain)
	return &sealed, err
}

// claimName claims a user name. One whose account does not have it in its profile, after a
// command that was cut off, is free after account.ClaimLease.
func (a *Accounts) claimName(ctx context.Context, c command, login string) error {
	return a.core.inTurn(ctx, loginStream(login), "", func() error {
		there, err := load(ctx, a.core, loginKind, loginStream(login))
		if err != nil {
			return err
		}
		claim := account.Claim{Login: login, Account: c.Account, At: a.core.now()}
		if holder := there.state.Account; holder != "" && holder != c.Account {
			has, err := load(ctx, a.core, accountKind, accountStream(holder))
			if err != nil {
				return err
			}
			claim.Abandoned = has.state.UserLogin != login
		}
		events, err := account.Decide(there.state, claim)
		if errors.Is(err, account.ErrLoginTaken) {
			return &Error{Code: "user_name_taken", Kind: Conflict, Message: "Another account has this user name.", Cause: err}
		}
		if err != nil {
			return refused(err)
		}
		_, err = a.append(ctx, applicant{command: c}.again(), there, events)
		return err
	})
}
