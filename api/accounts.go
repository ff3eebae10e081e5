package api

import (
	"context"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
)

// RegisterAccount creates an account. Its cost is limited per network, and where a code is
// sent, that per address.
func (h handlers) RegisterAccount(ctx context.Context, r rest.RegisterAccountRequestObject) (rest.RegisterAccountResponseObject, error) {
	if (r.Body.Email == "") == (r.Body.Phone == "") {
		return nil, oneAddress("")
	}
	if h.cfg.Verification {
		if err := h.limitCode(ctx, app.LoginName(r.Body.Email+r.Body.Phone)); err != nil {
			return nil, err
		}
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
