package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/event"
	"latchkey/internal/position"
)

// registerWithin limits a registration, far below account.ClaimLease: when a claim is
// taken over, its owner has given up.
const registerWithin = time.Minute

// Accounts registers accounts and finds them by their addresses.
type Accounts struct {
	core      *core
	passwords Passwords
	codes     Codes
	messenger Messenger
	// allowances bound messages to holders of addresses; nil: they are not bounded.
	allowances Allowances

	mode        Mode
	invitations Invitations

	devices  *Devices
	holdings HoldingsOf
	eraser   Eraser
	webhooks Webhooks // nil for none
}

// Registration is a new account; one of Email and Phone is set.
type Registration struct {
	Email, Phone   string
	Password, Name string
	Language       string // of messages; "" for the default
	// Vouched is set if whoever runs the service registers the account: the address needs
	// no code.
	Vouched bool
	// Invitation is the token of an invitation, where one is needed.
	Invitation string
	// First is set for the first account of a service: Invitation is that for the set-up, and
	// another one is refused.
	First bool
}

// Mode is who may register.
type Mode string

// The modes. What whoever runs the service registers needs none of them.
const (
	Open    Mode = "open"    // everybody
	Invited Mode = "invited" // whoever has an invitation
	Closed  Mode = "closed"  // nobody but the first one, who sets the service up
)

// Invitations keeps invitations to register.
type Invitations interface {
	// ClaimInvitation claims an invitation for an attempt to register an address, which may
	// claim it again; others may not until it is given back, or lapses. setup: it is that
	// for the first account of the service.
	ClaimInvitation(ctx context.Context, token, address, attempt string) (valid, setup bool, err error)
	// SettleInvitation uses up what was claimed, or gives it back.
	SettleInvitation(ctx context.Context, token, address, attempt string, used bool) error
}

// admit refuses whoever may not register. The address of whoever sets the service up
// needs no proof: they read what the service prints. An invitation is claimed for the
// attempt.
func (a *Accounts) admit(ctx context.Context, r *Registration, address, attempt string) error {
	if r.Vouched || a.mode == Open && !r.First {
		r.Invitation = "" // it is not used
		return nil
	}
	valid, setup := false, false
	if r.Invitation != "" && a.invitations != nil {
		var err error
		if valid, setup, err = a.invitations.ClaimInvitation(ctx, r.Invitation, address, attempt); err != nil {
			return unavailable(fmt.Errorf("using an invitation: %w", err))
		}
	}
	admitted := setup || valid && a.mode == Invited && !r.First
	if valid && !admitted {
		a.settle(ctx, *r, address, attempt, false)
	}
	switch {
	case admitted:
		r.Vouched = setup
		return nil
	case r.First:
		return &Error{Code: "setup_link_invalid", Kind: Forbidden, Message: "This link does not set the service up, or not any more. If there is no account yet, the newest link is in what the service printed at its last start."}
	case a.mode != Invited:
		return &Error{Code: "registration_closed", Kind: Forbidden, Message: "This service takes no registrations. Ask whoever runs it for an account."}
	}
	return &Error{Code: "invitation_required", Kind: Forbidden, Message: "This service needs an invitation to register, which can be used once and for a day. Ask somebody who has an account for one."}
}

// Register creates an account with a login that is not in use.
//
// The login's stream is claimed first, which makes the address unique; then the account's
// stream is begun. A claim whose account was never created can be finished by anyone who
// knows its password; after account.ClaimLease, anyone may take the login for another
// account.
func (a *Accounts) Register(ctx context.Context, m Meta, r Registration) (Registered, error) {
	f := faults{}
	kind, address := f.oneAddress("", r.Email, r.Phone)
	f.password("password", r.Password, address, r.Name)
	f.text("name", r.Name, maxName)
	if err := f.err(); err != nil {
		return Registered{}, err
	}
	attempt := uuid.NewString()
	if err := a.admit(ctx, &r, kind+":"+address, attempt); err != nil {
		return Registered{}, err
	}
	done, err := a.registerAdmitted(ctx, m, r, kind, address)
	if e, ok := errors.AsType[*Error](err); err == nil || ok && e.Kind != Unavailable { // else it may go on, or the claim lapses
		a.settle(ctx, r, kind+":"+address, attempt, err == nil)
	}
	return done, err
}

// settle uses an invitation up, or gives it back after a refusal.
func (a *Accounts) settle(ctx context.Context, r Registration, address, attempt string, used bool) {
	if r.Invitation == "" || a.invitations == nil {
		return
	}
	if err := a.invitations.SettleInvitation(context.WithoutCancel(ctx), r.Invitation, address, attempt, used); err != nil {
		a.core.logger.WarnContext(ctx, "an invitation was not settled; its claim lapses", "error", err)
	}
}

func (a *Accounts) registerAdmitted(ctx context.Context, m Meta, r Registration, kind, address string) (Registered, error) {
	m.Account = ""
	c, err := a.core.beginAnonymous(m, "register", kind, address, r.Name)
	if err != nil {
		return Registered{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, registerWithin)
	defer cancel()
	who := applicant{
		command: c, kind: kind, address: address, login: a.core.sealer.LoginHash(kind, address), name: r.Name, password: r.Password,
		language: r.Language,
	}
	if !a.core.verify || r.Vouched {
		if err := a.refuseEarlier(ctx, kind, r.Email, address); err != nil {
			return Registered{}, err
		}
	}
	// Where an address must be proven, whoever registers only applies for it, whether it has
	// an account or not.
	register := a.register
	if a.core.verify && !r.Vouched {
		register = a.apply
	}
	var done Registered
	err = a.core.inTurn(ctx, loginStream(who.login), "", func() (err error) {
		done, err = register(ctx, who)
		return err
	})
	if err != nil || !a.core.verify {
		return done, err
	}
	return a.toProve(ctx, who, done, r.Vouched)
}

// toProve sends a code to the address of a new account, or notes that it needs none. The
// account exists by then: what fails here the person asks for again.
func (a *Accounts) toProve(ctx context.Context, who applicant, done Registered, vouched bool) (Registered, error) {
	c := who.again()
	c.Account = done.Account
	if vouched {
		proven, err := a.prove(ctx, c, who.login)
		done.Position = max(done.Position, proven.position)
		return done, err
	}
	there, err := load(ctx, a.core, accountKind, accountStream(done.Account))
	if err != nil {
		return done, err
	}
	if address, ok := there.state.FindAddress(who.login); !ok || address.Verified {
		return done, nil // a repeat
	}
	if err := a.sendVerification(ctx, c, there.state, who.login); err != nil {
		a.core.logger.WarnContext(ctx, "the code for a new account was not sent; it can be asked for again", "account", done.Account, "error", err)
	}
	return done, nil
}

// refuseEarlier refuses to register an address that has an account under an
// earlier spelling: one mailbox, one account.
func (a *Accounts) refuseEarlier(ctx context.Context, kind, raw, address string) error {
	_, holder, err := a.core.earlierLogin(ctx, kind, raw, address)
	if err == nil && holder != "" {
		err = refused(account.ErrLoginTaken)
	}
	return err
}

// applicant is somebody who registers.
type applicant struct {
	command
	kind, address, login string
	name, password       string
	language             string
}

// again is the command with new event ids: those of its idempotency key may already be in
// the login's stream.
func (who applicant) again() command {
	return command{Meta: Meta{Account: who.Account}, request: who.request, at: who.at, seed: uuid.New()}
}

// register is one try.
func (a *Accounts) register(ctx context.Context, who applicant) (Registered, error) {
	login, err := load(ctx, a.core, loginKind, loginStream(who.login))
	if err != nil {
		return Registered{}, err
	}
	if login.state.Account == "" {
		id, err := a.claim(ctx, who, who.command, login, false)
		if err != nil {
			return Registered{}, err
		}
		return a.open(ctx, who, id, false)
	}
	there, err := loadFor(ctx, a.core, accountKind, accountStream(login.state.Account), who.command)
	if err != nil {
		return Registered{}, err
	}
	if !there.state.Registered {
		id, err := a.resume(ctx, who, login)
		if err != nil {
			return Registered{}, err
		}
		return a.open(ctx, who, id, false)
	}
	// Where proofs are asked for, whoever runs the service vouches for this one.
	lost, err := a.mayTake(ctx, there.state.Account, who.login, a.core.verify)
	if err != nil {
		return Registered{}, err
	}
	if !lost {
		return a.registeredBefore(ctx, who, there)
	}
	id, err := a.claim(ctx, who, who.again(), login, true)
	if err != nil {
		return Registered{}, err
	}
	return a.open(ctx, who, id, false)
}

// claim takes the login for a new account. The password is set first, for a new id: no
// two applicants ever set the password of the same account, whichever of them wins.
func (a *Accounts) claim(ctx context.Context, who applicant, c command, login stream[account.State], lost bool) (id string, err error) {
	id = a.core.newID()
	claim := account.Claim{Login: who.login, Account: id, Abandoned: login.state.Account != "", Lost: lost, At: who.at}
	events, err := account.Decide(login.state, claim)
	if err != nil {
		return "", refused(err)
	}
	if err := a.passwords.SetPassword(ctx, id, who.password); err != nil {
		return "", unavailable(fmt.Errorf("setting a password: %w", err))
	}
	_, err = a.append(ctx, c, login, events)
	return id, err
}

// resume continues from a claim that did not become an account: an applicant who knows
// its password renews it, anyone else claims the login again. Both write an event, so
// that only one of several concurrent applicants continues.
func (a *Accounts) resume(ctx context.Context, who applicant, login stream[account.State]) (id string, err error) {
	id = login.state.Account
	knows, err := a.passwords.VerifyPassword(ctx, id, who.password)
	if err != nil {
		return "", unavailable(fmt.Errorf("checking a password: %w", err))
	}
	if !knows {
		has, err := a.passwords.HasPassword(ctx, id)
		if err != nil {
			return "", unavailable(fmt.Errorf("looking up a password: %w", err))
		}
		return a.claim(ctx, who, who.again(), login, !has)
	}
	events, err := account.Decide(login.state, account.Claim{Login: who.login, Account: id, At: who.at})
	if err != nil {
		return "", refused(err)
	}
	_, err = a.append(ctx, who.again(), login, events)
	return id, err
}

// lost reports whether the vault has nothing of an account that the log has: an older
// copy of the vault was put back, a part of it was lost, or its person was erased. Nobody
// can log in to the account any more. It keeps what it has, and its address is free for
// another account: that of an erased person may be somebody else's number by now.
func (a *Accounts) lost(ctx context.Context, id string) (lost bool, err error) {
	has, err := a.passwords.HasPassword(ctx, id)
	if err == nil && !has {
		lost, err = a.withoutKey(ctx, id)
	}
	if err != nil {
		return false, unavailable(fmt.Errorf("looking up an account's login: %w", err))
	}
	return lost, nil
}

// withoutKey reports whether all text about a person is unreadable.
func (a *Accounts) withoutKey(ctx context.Context, person string) (bool, error) {
	known, err := a.core.sealer.Knows(ctx, person)
	if err != nil || !known {
		return err == nil, err
	}
	return a.core.sealer.Erased(ctx, person)
}

// open begins the stream of the account that has claimed the login, or applies for it.
func (a *Accounts) open(ctx context.Context, who applicant, id string, applies bool) (Registered, error) {
	address, err := a.core.seal(ctx, id, event.FieldAddress, who.address)
	if err != nil {
		return Registered{}, err
	}
	name, err := a.core.seal(ctx, id, event.FieldName, who.name)
	if err != nil {
		return Registered{}, err
	}
	events, err := account.Decide(account.State{}, account.Register{
		Account: id, Login: who.login, Kind: who.kind, Address: address, Name: name, Language: who.language, Applied: applies, At: who.at,
	})
	if err != nil {
		return Registered{}, refused(err)
	}
	position, err := a.append(ctx, who.command, stream[account.State]{name: accountStream(id)}, events)
	if err != nil {
		return Registered{}, err
	}
	return Registered{Position: position, Account: id}, nil
}

// append writes the events of a registration to a stream as it was loaded.
func (a *Accounts) append(ctx context.Context, c command, there stream[account.State], events []account.Event) (position position.Position, err error) {
	list, err := pending(c, there, events, account.Evolve)
	if err != nil {
		return 0, err
	}
	return a.core.appendOnce(ctx, c, there.name, there.revision(), list)
}

// registeredBefore returns the result of a repeated registration to a caller who knows
// the password; for all others the login is taken.
func (a *Accounts) registeredBefore(ctx context.Context, who applicant, there stream[account.State]) (Registered, error) {
	from, to, found, err := who.repeated(there.name, there.events)
	if err != nil {
		return Registered{}, err
	}
	if !found {
		return Registered{}, refused(account.ErrLoginTaken)
	}
	knows, err := a.passwords.VerifyPassword(ctx, there.state.Account, who.password)
	if err != nil {
		return Registered{}, unavailable(fmt.Errorf("checking a password: %w", err))
	}
	if !knows {
		return Registered{}, refused(account.ErrLoginTaken)
	}
	done, err := replay(there, from, to, account.Evolve)
	return Registered{Position: done.position, Account: there.state.Account}, err
}

// ByLogin returns the account of an address, "" if it has none or is not an address. kind
// is "email" or "phone".
func (a *Accounts) ByLogin(ctx context.Context, kind, address string) (string, error) {
	if kind == userNameKind {
		return a.byUserName(ctx, address)
	}
	normal, reason := normaliseAddress(kind, address)
	_, earlier, err := a.core.earlierLogin(ctx, kind, address, normal)
	if err != nil || reason != "" {
		return earlier, err
	}
	id, err := a.core.registeredHolder(ctx, a.core.sealer.LoginHash(kind, normal))
	return cmp.Or(id, earlier), err
}

// byUserName returns the account that has a user name.
func (a *Accounts) byUserName(ctx context.Context, name string) (string, error) {
	login := a.core.sealer.LoginHash(userNameKind, normaliseName(name))
	id, err := a.core.registeredHolder(ctx, login)
	if err != nil || id == "" {
		return "", err
	}
	there, err := load(ctx, a.core, accountKind, accountStream(id))
	if err != nil || there.state.UserLogin != login {
		return "", err
	}
	return id, nil
}
