package api

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
	"latchkey/internal/position"
)

// turnsWithin limits the wait of a command for its turn.
const turnsWithin = 10 * time.Second

// commands limits the concurrent commands of each kind, which keeps the queues for the
// cores and the disk short for revocations.
type commands struct {
	turns  map[app.RequestKind]*turns
	urgent atomic.Int64 // commands that may revoke something, running or waiting
}

func newCommands(cores int) *commands {
	c := &commands{}
	gives := newTurns(3*cores, 2*cores)
	gives.urgent, gives.besides = &c.urgent, cores
	c.turns = map[app.RequestKind]*turns{
		app.Gives:     gives,
		app.Changes:   newTurns(3*cores, 2*cores),
		app.TakesAway: newTurns(16*cores, 2*cores),
	}
	return c
}

// take waits for a turn; give must be called if it got one.
func (c *commands) take(ctx context.Context, kind app.RequestKind, account string) (give func(), come bool) {
	t := c.turns[kind]
	if t == nil {
		return func() {}, true
	}
	done := func() {}
	if kind != app.Gives {
		c.urgent.Add(1)
		done = func() { c.urgent.Add(-1) }
	}
	if !t.take(ctx, account) {
		done()
		return nil, false
	}
	return func() { done(); t.give(account) }, true
}

// limitAccount limits the commands of an account, and its concurrent requests. end must
// be called at the end of the request.
func (s *Server) limitAccount(ctx context.Context, op *operation) (end func(), err error) {
	if s.cfg.Quotas == nil || op.free {
		return func() {}, nil
	}
	end, err = s.cfg.Quotas.Begin(ctx, caller(ctx), op.kind)
	if e, ok := errors.AsType[*app.Exceeded](err); ok {
		return nil, e.Refusal()
	}
	return end, err
}

// takeCommandTurn waits for a command's turn.
func (s *Server) takeCommandTurn(ctx context.Context, op *operation) (giveBack func(), err error) {
	if op.public {
		return func() {}, nil
	}
	waiting, cancel := context.WithTimeout(ctx, turnsWithin)
	defer cancel()
	giveBack, come := s.commands.take(waiting, op.kind, caller(ctx))
	if !come {
		return nil, unavailable("busy", "Too many commands are being carried out; try again later.", waiting.Err())
	}
	return giveBack, nil
}

// GetAccount returns the caller's account, and how much of each quota is used.
func (h handlers) GetAccount(ctx context.Context, r rest.GetAccountRequestObject) (rest.GetAccountResponseObject, error) {
	id := caller(ctx)
	out := rest.OwnAccount{ID: id, Account: id, Quotas: []rest.Quota{}}
	err := h.read(ctx, r.Params.LatchkeyMinPosition, func(atLeast position.Position) error {
		row, err := h.cfg.Queries.Person(ctx, id, atLeast)
		if err != nil {
			return err
		}
		person, err := h.person(ctx, row)
		out.Email, out.Phone, out.Name, out.Unreadable = person.Email, person.Phone, person.Name, person.Unreadable
		return err
	})
	if err == nil {
		var profile app.Profile
		if profile, err = h.cfg.Accounts.Profile(ctx, id); err == nil {
			out.UserName, out.Language, out.Verified = profile.UserName, rest.Language(profile.Language), profile.Verified
		}
	}
	if err != nil || h.cfg.Quotas == nil {
		return rest.GetAccount200JSONResponse(out), err
	}
	rows, err := h.cfg.Quotas.QuotasOf(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading the quotas of an account: %w", err)
	}
	for _, q := range rows {
		quota := rest.Quota{Quota: q.Name, Most: int64(q.Most), Used: int64(q.Used)}
		switch q.Per {
		case time.Second:
			quota.Per = rest.Second
		case time.Hour:
			quota.Per = rest.Hour
		case 24 * time.Hour:
			quota.Per = rest.Day
		}
		out.Quotas = append(out.Quotas, quota)
	}
	return rest.GetAccount200JSONResponse(out), nil
}
