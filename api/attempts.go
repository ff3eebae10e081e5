package api

import (
	"context"
	"log/slog"
	"time"

	"latchkey/internal/hashing"
	"latchkey/internal/rates"
)

// How log-in attempts are limited. A login is identified by its canonical spelling
// (app.LoginName), a network by its address; three allowances must not be exhausted:
//
//   - that of the network, for all its log-ins and registrations;
//   - that of the login from this network, which a successful log-in refills: an
//     attacker uses up their own allowance, and not that of the login's owner;
//   - that of the login from everywhere, against guesses from many networks. It
//     is refilled faster than one network can use it up, and does not apply to
//     networks from which the person has logged in before.
//
// Attempts that are let through wait for their turn to be hashed (internal/hashing);
// networks from which the person has logged in before go first.
//
// This process counts first; what it lets through is counted jointly by all processes
// that share a database. If the database is unavailable, each process relies on its own
// count.

// sharedWithin limits how long the shared count may take.
const sharedWithin = time.Second

// allowance is one kind of limit.
type allowance struct {
	kind  string
	every time.Duration
	burst int
	local *rates.Rates
}

func newAllowance(kind string, every time.Duration, burst int) *allowance {
	return &allowance{kind: kind, every: every, burst: burst, local: rates.New(every, burst, limiterNames)}
}

// limitNetwork limits log-ins and registrations of the caller's network.
func (s *Server) limitNetwork(ctx context.Context) error {
	if wait := s.take(ctx, s.networks, requestOf(ctx).network); wait > 0 {
		return rateLimited(wait)
	}
	return nil
}

// limitLogin limits the attempts on a login. known reports whether somebody has logged in
// to it from the caller's network before; it is looked up for every login, so that the
// time does not reveal which exist.
func (s *Server) limitLogin(ctx context.Context, login string) (known bool, err error) {
	from := requestOf(ctx).network
	if wait := s.take(ctx, s.logins, loginFrom(ctx, login)); wait > 0 {
		return false, rateLimited(wait)
	}
	known = s.knownNetwork(ctx, login, from)
	if wait := s.take(ctx, s.everywhere, login); wait > 0 && !known {
		return false, rateLimited(wait)
	}
	return known, nil
}

// limitCode bounds the codes that are sent to an address, and asked for from a network.
func (s *Server) limitCode(ctx context.Context, address string) error {
	if wait := s.take(ctx, s.codesFrom, requestOf(ctx).network); wait > 0 {
		return rateLimited(wait)
	}
	if wait := s.take(ctx, s.codes, address); wait > 0 {
		return rateLimited(wait)
	}
	return nil
}

// What accounts of one network may do together, far above what people do: each account has
// its own quota (decision 0024), and whoever has many accounts has few networks.
const (
	invitesEvery = 100 * time.Millisecond
	invitesBurst = 40_000
	keysEvery    = time.Second
	keysBurst    = 4_000
)

// limitFrom uses up an allowance of the caller's network. This process counts alone.
func (s *Server) limitFrom(ctx context.Context, a *allowance) error {
	if wait := a.local.Take(requestOf(ctx).network, s.cfg.Now()); wait > 0 {
		return rateLimited(wait)
	}
	return nil
}

// loginFrom returns the name of a login in combination with the caller's network.
func loginFrom(ctx context.Context, login string) string {
	return login + "\x00" + requestOf(ctx).network
}

// toHash returns the context for hashing a password for the caller.
func toHash(ctx context.Context, known bool) context.Context {
	return hashing.For(ctx, hashing.Caller{Network: requestOf(ctx).network, Known: known})
}

// loggedIn refills a login's allowance and records the network.
func (s *Server) loggedIn(ctx context.Context, login string) {
	from := requestOf(ctx).network
	name := loginFrom(ctx, login)
	s.logins.local.Forgive(name)
	ctx, cancel := context.WithTimeout(ctx, sharedWithin)
	defer cancel()
	if s.cfg.Limits != nil {
		s.unshared(ctx, s.cfg.Limits.Forgive(ctx, s.logins.kind+"\x00"+name))
	}
	if s.cfg.Networks != nil {
		s.unshared(ctx, s.cfg.Networks.RememberNetwork(ctx, login, from))
	}
}

func (s *Server) knownNetwork(ctx context.Context, login, from string) bool {
	if s.cfg.Networks == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, sharedWithin)
	defer cancel()
	known, err := s.cfg.Networks.KnownNetwork(ctx, login, from)
	s.unshared(ctx, err)
	return known && err == nil
}

// take uses up one of an allowance. It returns zero, or how long to wait.
func (s *Server) take(ctx context.Context, a *allowance, name string) time.Duration {
	if wait := a.local.Take(name, s.cfg.Now()); wait > 0 || s.cfg.Limits == nil {
		return wait
	}
	ctx, cancel := context.WithTimeout(ctx, sharedWithin)
	defer cancel()
	wait, err := s.cfg.Limits.Take(ctx, a.kind+"\x00"+name, a.every, a.burst)
	if s.unshared(ctx, err); err != nil {
		return 0
	}
	return wait
}

// unshared records that this process counts alone for now.
func (s *Server) unshared(ctx context.Context, err error) {
	if err == nil {
		return
	}
	s.metrics.unshared.Inc()
	s.log.LogAttrs(ctx, slog.LevelDebug, "attempts are counted by this process only", slog.Any("error", err))
}
