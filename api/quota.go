package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain"
)

// turnsWithin bounds the wait of a command for its turn.
const turnsWithin = 10 * time.Second

// commandTurns limits the commands of each kind that run at the same time, which keeps
// the queues for the cores and the disk short for those that take away.
func commandTurns(cores int) map[domain.RequestKind]*turns {
	return map[domain.RequestKind]*turns{
		domain.Gives:     newTurns(3*cores, 2*cores),
		domain.Changes:   newTurns(3*cores, 2*cores),
		domain.TakesAway: newTurns(16*cores, 2*cores),
	}
}

// limitAccount bounds the commands of an account, and its requests at once. end must
// be called when the request has been answered.
func (s *Server) limitAccount(ctx context.Context, op *operation) (end func(), err error) {
	if s.cfg.Quotas == nil || op.free {
		return func() {}, nil
	}
	end, err = s.cfg.Quotas.Begin(ctx, caller(ctx), op.kind)
	if e, ok := errors.AsType[*domain.Exceeded](err); ok {
		return nil, e.Refusal()
	}
	return end, err
}

// takeCommandTurn waits for a command's turn.
func (s *Server) takeCommandTurn(ctx context.Context, op *operation) (giveBack func(), err error) {
	turns := s.commands[op.kind]
	if op.public || turns == nil {
		return func() {}, nil
	}
	waiting, cancel := context.WithTimeout(ctx, turnsWithin)
	defer cancel()
	if !turns.take(waiting, caller(ctx)) {
		return nil, unavailable("busy", "Too many commands are being carried out; try again later.", waiting.Err())
	}
	return func() { turns.give(caller(ctx)) }, nil
}

// GetAccount reads the caller's account, and how much of each quota is used up.
func (h handlers) GetAccount(ctx context.Context, r rest.GetAccountRequestObject) (rest.GetAccountResponseObject, error) {
	id := caller(ctx)
	out := rest.OwnAccount{ID: id, Account: id, Quotas: []rest.Quota{}}
	err := h.read(ctx, r.Params.LatchkeyMinPosition, func(atLeast uint64) error {
		row, err := h.cfg.ShareQueries.Person(ctx, id, atLeast)
		if err != nil {
			return err
		}
		person, err := h.person(ctx, row)
		out.Email, out.Phone, out.Name, out.Unreadable = person.Email, person.Phone, person.Name, person.Unreadable
		return err
	})
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
		case 24 * time.Hour:
			quota.Per = rest.Day
		}
		out.Quotas = append(out.Quotas, quota)
	}
	return rest.GetAccount200JSONResponse(out), nil
}
