package api

import (
	"cmp"
	"context"
	"fmt"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
)

// GetSetup reports whether the service waits for its first account.
func (h handlers) GetSetup(ctx context.Context, _ rest.GetSetupRequestObject) (rest.GetSetupResponseObject, error) {
	mode := cmp.Or(h.cfg.Registration, app.Open)
	if h.cfg.Unused == nil {
		return rest.GetSetup200JSONResponse{Registration: string(mode)}, nil
	}
	needed, err := h.cfg.Unused.Empty(ctx)
	if err != nil {
		return nil, fmt.Errorf("checking for accounts: %w", err)
	}
	return rest.GetSetup200JSONResponse{Needed: needed, Registration: string(mode)}, nil
}

// SetUp makes the first account. Attempts are limited per network.
func (h handlers) SetUp(ctx context.Context, r rest.SetUpRequestObject) (rest.SetUpResponseObject, error) {
	if (r.Body.Email == "") == (r.Body.Phone == "") {
		return nil, oneAddress("")
	}
	result, err := h.cfg.Accounts.Register(toHash(ctx, false), meta(ctx, r.Params.IdempotencyKey), app.Registration{
		Email: r.Body.Email, Phone: r.Body.Phone, Password: r.Body.Password, Name: r.Body.Name, Language: string(r.Body.Language),
		Invitation: r.Body.Secret, First: true,
	})
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, result.Position)
	if err != nil {
		return nil, err
	}
	return rest.SetUp201JSONResponse{
		Body:    rest.Account{ID: result.Account, Account: result.Account, Email: r.Body.Email, Phone: r.Body.Phone, Name: r.Body.Name},
		Headers: rest.SetUp201ResponseHeaders{LatchkeyPosition: position},
	}, nil
}
