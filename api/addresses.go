package api

import (
	"context"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
	"latchkey/internal/country"
)

// ListAddresses lists the caller's addresses.
func (h handlers) ListAddresses(ctx context.Context, _ rest.ListAddressesRequestObject) (rest.ListAddressesResponseObject, error) {
	rows, err := h.cfg.Accounts.Addresses(ctx, caller(ctx))
	if err != nil {
		return nil, err
	}
	items := make([]rest.Address, len(rows))
	for i, row := range rows {
		items[i] = addressOf(row)
	}
	return rest.ListAddresses200JSONResponse{Items: items}, nil
}

func addressOf(a app.AddressView) rest.Address {
	out := rest.Address{ID: a.Login, Verified: a.Verified, Primary: a.Primary, AddedAt: utc(a.AddedAt), Unreadable: a.Unreadable}
	if a.Kind == "email" {
		out.Email = a.Plain
	} else {
		out.Phone = a.Plain
		out.PhoneNational, out.PhoneInternational = country.Formats(a.Plain)
	}
	return out
}

// AddAddress adds an address and sends it a code.
func (h handlers) AddAddress(ctx context.Context, r rest.AddAddressRequestObject) (rest.AddAddressResponseObject, error) {
	if (r.Body.Email == "") == (r.Body.Phone == "") {
		return nil, oneAddress("")
	}
	if err := h.limitCode(ctx, app.LoginName(r.Body.Email+r.Body.Phone)); err != nil {
		return nil, err
	}
	done, err := h.cfg.Accounts.AddAddress(ctx, meta(ctx, r.Params.IdempotencyKey), r.Body.Email, r.Body.Phone)
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, done.Position)
	if err != nil {
		return nil, err
	}
	return rest.AddAddress201JSONResponse{
		Body: addressOf(done.Address), Headers: rest.AddAddress201ResponseHeaders{LatchkeyPosition: position},
	}, nil
}

// SendAddressCode sends a code again.
func (h handlers) SendAddressCode(ctx context.Context, r rest.SendAddressCodeRequestObject) (rest.SendAddressCodeResponseObject, error) {
	if err := h.limitCode(ctx, "login:"+r.Address); err != nil {
		return nil, err
	}
	if err := h.cfg.Accounts.SendCode(ctx, meta(ctx, r.Params.IdempotencyKey), r.Address); err != nil {
		return nil, err
	}
	return rest.SendAddressCode202Response{}, nil
}

// VerifyAddress takes a code.
func (h handlers) VerifyAddress(ctx context.Context, r rest.VerifyAddressRequestObject) (rest.VerifyAddressResponseObject, error) {
	if err := h.limitNetwork(ctx); err != nil {
		return nil, err
	}
	done, err := h.cfg.Accounts.VerifyAddress(ctx, meta(ctx, r.Params.IdempotencyKey), r.Address, r.Body.Code)
	return h.done(ctx, done, err)
}

// MakeAddressPrimary chooses the address that others see.
func (h handlers) MakeAddressPrimary(ctx context.Context, r rest.MakeAddressPrimaryRequestObject) (rest.MakeAddressPrimaryResponseObject, error) {
	done, err := h.cfg.Accounts.MakePrimary(ctx, meta(ctx, r.Params.IdempotencyKey), r.Address)
	return h.done(ctx, done, err)
}

// RemoveAddress removes an address.
func (h handlers) RemoveAddress(ctx context.Context, r rest.RemoveAddressRequestObject) (rest.RemoveAddressResponseObject, error) {
	done, err := h.cfg.Accounts.RemoveAddress(ctx, meta(ctx, r.Params.IdempotencyKey), r.Address, r.Params.LeaveShares)
	return h.done(ctx, done, err)
}

// UpdateAccount changes the caller's name, user name and language.
func (h handlers) UpdateAccount(ctx context.Context, r rest.UpdateAccountRequestObject) (rest.UpdateAccountResponseObject, error) {
	change := app.ProfileChange{Name: r.Body.Name, UserName: r.Body.UserName}
	if r.Body.Language != nil {
		language := string(*r.Body.Language)
		change.Language = &language
	}
	done, err := h.cfg.Accounts.SetProfile(ctx, meta(ctx, r.Params.IdempotencyKey), change)
	return h.done(ctx, done, err)
}

// ListCountries is for the form in which a number is entered.
func (h handlers) ListCountries(context.Context, rest.ListCountriesRequestObject) (rest.ListCountriesResponseObject, error) {
	all := country.All()
	items := make([]rest.Country, len(all))
	for i, c := range all {
		items[i] = rest.Country{Code: c.Code, CallingCode: c.CallingCode, Names: rest.CountryNames{En: c.English, De: c.German}}
	}
	return rest.ListCountries200JSONResponse{Items: items}, nil
}
