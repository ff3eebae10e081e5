package api

import (
	"context"
	"errors"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
)

// RegisterAccount creates an account. Its cost is limited per network.
func (h handlers) RegisterAccount(ctx context.Context, r rest.RegisterAccountRequestObject) (rest.RegisterAccountResponseObject, error) {
	if (r.Body.Email == "") == (r.Body.Phone == "") {
		return nil, oneAddress("")
	}
	result, err := h.cfg.Accounts.Register(toHash(ctx, false), meta(ctx, r.Params.IdempotencyKey), app.Registration{
		Email: r.Body.Email, Phone: r.Body.Phone, Password: r.Body.Password, Name: r.Body.Name, Language: string(r.Body.Language), Invitation: r.Body.Invitation,
	})
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, result.Position)
	if err != nil {
		return nil, err
	}
	return rest.RegisterAccount201JSONResponse{
		Body:    rest.Account{ID: result.Account, Account: result.Account, Email: r.Body.Email, Phone: r.Body.Phone, Name: r.Body.Name},
		Headers: rest.RegisterAccount201ResponseHeaders{LatchkeyPosition: position},
	}, nil
}

// oneAddress refuses a person who is not identified by exactly one address; at is the
// JSON pointer of its expected place.
func oneAddress(at string) *problem {
	const reason = "exactly one of email and phone is required"
	return brokenRules(map[string]string{at + "/email": reason, at + "/phone": reason})
}

// accountOf returns the account of a login, "" for none.
func (h handlers) accountOf(ctx context.Context, login string) (string, error) {
	account, err := h.cfg.Accounts.ByLogin(ctx, app.LoginKind(login), login)
	if e, ok := errors.AsType[*app.Error](err); ok && (e.Kind == app.Invalid || e.Kind == app.NotFound) {
		return "", nil // an invalid address must be indistinguishable from an unused one
	}
	return account, err
}
