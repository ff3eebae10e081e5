package app

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/event"
)

// registerWithin bounds a registration, far below account.ClaimLease: when a
// claim is taken over, whoever made it has given up.
const registerWithin = time.Minute

// Register makes an account with a login that nobody has.
//
// The login's stream is claimed first, which makes the address unique; then the
// account's stream is begun. A claim whose account never came is finished by
// whoever knows its password; after account.ClaimLease anybody may take the login,
// for another account.
func (s *Service) Register(ctx context.Context, m Meta, r Registration) (Result, error) {
	f := faults{}
	kind, address := f.oneAddress("", r.Email, r.Phone)
	f.password("/password", r.Password, address, r.Name)
	f.text("/name", r.Name, maxName)
	if err := f.err(); err != nil {
		return Result{}, err
	}
	m.Account = ""
	c, err := s.beginAnonymous(m, "register", kind, address, r.Name)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, registerWithin)
	defer cancel()
	a := applicant{command: c, kind: kind, address: address, name: r.Name, password: r.Password, login: s.sealer.LoginHash(kind, address)}
	if err := s.refuseEarlier(ctx, kind, r.Email, address); err != nil {
		return Result{}, err
	}
	var result Result
	err = s.inTurn(ctx, loginStream(a.login), "", func() (err error) {
		result, err = s.register(ctx, a)
		return err
	})
	return result, err
}

// applicant is somebody who registers.
type applicant struct {
	command
	kind, address, login string
	name, password       string
}

// register is one try.
func (s *Service) register(ctx context.Context, a applicant) (Result, error) {
	claim, err := s.loadLogin(ctx, a.login)
	if err != nil {
		return Result{}, err
	}
	if claim.state.Account == "" {
		id, err := s.claim(ctx, a, a.command, claim, false)
		if err != nil {
			return Result{}, err
		}
		return s.open(ctx, a, id)
	}
	there, err := s.loadAccount(ctx, claim.state.Account)
	if err != nil {
		return Result{}, err
	}
	id, err := "", error(nil)
	if there.state.Registered {
		lost, lostErr := s.lost(ctx, there.state.Account)
		if lostErr != nil {
			return Result{}, lostErr
		}
		if !lost {
			return s.registeredBefore(ctx, a, there)
		}
		id, err = s.claim(ctx, a, a.again(), claim, true)
	} else {
		id, err = s.resume(ctx, a, claim)
	}
	if err != nil {
		return Result{}, err
	}
	return s.open(ctx, a, id)
}

// claim takes the login for a new account. The password is set first, for an id
// that nobody else has: no two applicants ever set the password of one account,
// whoever of them wins.
func (s *Service) claim(ctx context.Context, a applicant, c command, login stream[account.State], lost bool) (id string, err error) {
	id = s.newID()
	claim := account.Claim{Login: a.login, Account: id, Abandoned: login.state.Account != "", Lost: lost, At: a.at}
	events, err := account.Decide(login.state, claim)
	if err != nil {
		return "", refused(err)
	}
	if err := s.passwords.SetPassword(ctx, id, a.password); err != nil {
		return "", unavailable(fmt.Errorf("setting a password: %w", err))
	}
	return id, s.appendClaim(ctx, c, login, events)
}

// resume goes on from a claim that did not become an account: whoever knows its
// password renews it, anybody else claims the login again. Either is written, so
// that of several who find the claim one goes on.
func (s *Service) resume(ctx context.Context, a applicant, login stream[account.State]) (id string, err error) {
	id = login.state.Account
	knows, err := s.passwords.VerifyPassword(ctx, id, a.password)
	if err != nil {
		return "", unavailable(fmt.Errorf("checking a password: %w", err))
	}
	if !knows {
		has, err := s.passwords.HasPassword(ctx, id)
		if err != nil {
			return "", unavailable(fmt.Errorf("looking for a password: %w", err))
		}
		return s.claim(ctx, a, a.again(), login, !has)
	}
	events, err := account.Decide(login.state, account.Claim{Login: a.login, Account: id, At: a.at})
	if err != nil {
		return "", refused(err)
	}
	return id, s.appendClaim(ctx, a.again(), login, events)
}

// again is the command with event ids of its own: those of its Idempotency-Key may
// be in the login's stream already.
func (a applicant) again() command {
	return command{Meta: Meta{Account: a.Account}, request: a.request, at: a.at, seed: uuid.New()}
}

// lost reports whether the vault has nothing of an account that the log has: an
// older copy of the vault was put back, a part of it was lost, or its person was
// erased. Nobody can log in to the account any more. It keeps what it has, and its
// address is free for another account: that of an erased person may be somebody
// else's number by now.
func (s *Service) lost(ctx context.Context, id string) (lost bool, err error) {
	has, err := s.passwords.HasPassword(ctx, id)
	if err == nil && !has {
		lost, err = s.withoutKey(ctx, id)
	}
	if err != nil {
		return false, unavailable(fmt.Errorf("looking for what an account logs in with: %w", err))
	}
	return lost, nil
}

// withoutKey reports whether no text about a person can be read any more.
func (s *Service) withoutKey(ctx context.Context, person string) (bool, error) {
	known, err := s.sealer.Knows(ctx, person)
	if err != nil || !known {
		return err == nil, err
	}
	return s.sealer.Erased(ctx, person)
}

func (s *Service) appendClaim(ctx context.Context, c command, login stream[account.State], events []account.Event) error {
	list, err := pending(c, login.name, login.state, events, account.Evolve)
	if err != nil {
		return err
	}
	_, err = s.appendOnce(ctx, c, login.name, login.revision(), list)
	return err
}

// open begins the stream of the account that the login is claimed for.
func (s *Service) open(ctx context.Context, a applicant, id string) (Result, error) {
	address, err := s.seal(ctx, id, event.FieldAddress, a.address)
	if err != nil {
		return Result{}, err
	}
	name, err := s.seal(ctx, id, event.FieldName, a.name)
	if err != nil {
		return Result{}, err
	}
	events, err := account.Decide(account.State{}, account.Register{
		Account: id, Login: a.login, Kind: a.kind, Address: address, Name: name, At: a.at,
	})
	if err != nil {
		return Result{}, refused(err)
	}
	list, err := pending(a.command, accountStream(id), account.State{}, events, account.Evolve)
	if err != nil {
		return Result{}, err
	}
	position, err := s.appendOnce(ctx, a.command, accountStream(id), -1, list)
	if err != nil {
		return Result{}, err
	}
	return Result{Position: position, Created: true, Account: id}, nil
}

// registeredBefore answers a repeat to whoever knows the password; to all
// others the login is taken.
func (s *Service) registeredBefore(ctx context.Context, a applicant, there stream[account.State]) (Result, error) {
	from, to, found, err := a.repeated(there.name, there.events)
	if err != nil {
		return Result{}, err
	}
	if !found {
		return Result{}, refused(account.ErrLoginTaken)
	}
	knows, err := s.passwords.VerifyPassword(ctx, there.state.Account, a.password)
	if err != nil {
		return Result{}, unavailable(fmt.Errorf("checking a password: %w", err))
	}
	if !knows {
		return Result{}, refused(account.ErrLoginTaken)
	}
	done, err := replay(there, from, to, account.Evolve)
	return Result{Position: done.position, Revision: done.revision, Created: true, Account: there.state.Account}, err
}

// AccountByLogin gives the account of an address, "" where nobody has it and
// where it is none. kind is "email" or "phone".
func (s *Service) AccountByLogin(ctx context.Context, kind, address string) (string, error) {
	normal, reason := normaliseAddress(kind, address)
	_, earlier, err := s.earlierLogin(ctx, kind, address, normal)
	if err != nil || reason != "" {
		return earlier, err
	}
	id, err := s.registeredHolder(ctx, s.sealer.LoginHash(kind, normal))
	return cmp.Or(id, earlier), err
}

// holder returns the account that a login is claimed for, "" for none. The last
// event of the login's stream says it.
func (s *Service) holder(ctx context.Context, login string) (string, error) {
	stored, ok, err := s.log.Last(ctx, loginStream(login))
	if err != nil {
		return "", unavailable(fmt.Errorf("reading whose a login is: %w", err))
	}
	if !ok {
		return "", nil
	}
	event, err := decode[account.Event](stored)
	if err != nil {
		return "", err
	}
	return account.Evolve(account.State{}, event).Account, nil
}

// nobody stands for the account of a login that nobody has.
const nobody = "00000000-0000-0000-0000-000000000000"

// registeredHolder returns the account that a login is claimed for, "" where it
// was never registered. It reads two events, whoever has the login and whatever
// the account has done: the time that it takes tells nothing.
func (s *Service) registeredHolder(ctx context.Context, login string) (string, error) {
	id, err := s.holder(ctx, login)
	if err != nil {
		return "", err
	}
	stored, ok, err := s.log.First(ctx, accountStream(cmp.Or(id, nobody)))
	if err != nil {
		return "", unavailable(fmt.Errorf("reading whether an account is registered: %w", err))
	}
	if !ok || id == "" {
		return "", nil
	}
	event, err := decode[account.Event](stored)
	if err != nil || !account.Evolve(account.State{}, event).Registered {
		return "", err
	}
	return id, nil
}

// earlierLogin finds the account that was registered for an address before
// addresses were normalised as they are now, and its login; "" for none.
// Nothing is read for an address in ASCII, which has no earlier spelling.
func (s *Service) earlierLogin(ctx context.Context, kind, raw, address string) (login, account string, err error) {
	for _, form := range earlierForms(kind, raw, address) {
		earlier := s.sealer.LoginHash(kind, form)
		id, err := s.registeredHolder(ctx, earlier)
		if err != nil {
			return "", "", err
		}
		if id != "" && account == "" {
			login, account = earlier, id
		}
	}
	return login, account, nil
}

// refuseEarlier refuses to register an address that has an account under an
// earlier spelling: one mailbox, one account.
func (s *Service) refuseEarlier(ctx context.Context, kind, raw, address string) error {
	_, holder, err := s.earlierLogin(ctx, kind, raw, address)
	if err == nil && holder != "" {
		err = refused(account.ErrLoginTaken)
	}
	return err
}

// loginOf returns the login that an address stands for: its keyed hash, or that
// of an earlier spelling where only this one has an account.
func (s *Service) loginOf(ctx context.Context, kind, raw, address string) (string, error) {
	login := s.sealer.LoginHash(kind, address)
	if len(earlierForms(kind, raw, address)) == 0 {
		return login, nil
	}
	holder, err := s.registeredHolder(ctx, login)
	if err != nil || holder != "" {
		return login, err
	}
	earlier, account, err := s.earlierLogin(ctx, kind, raw, address)
	if err != nil || account == "" {
		return login, err
	}
	return earlier, nil
}

func (s *Service) seal(ctx context.Context, subject, field, plain string) (string, error) {
	sealed, err := s.sealer.Seal(ctx, subject, field, plain)
	if err != nil {
		return "", unavailable(fmt.Errorf("sealing: %w", err))
	}
	return sealed, nil
}
