package api

import (
	"context"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
)

// Attempts to use a code are limited per account and per network: a code has 192 bits, so
// this only keeps the log quiet.

const (
	redeemBurst = 20
	redeemEvery = 10 * time.Second
)

// limitCodes uses up an attempt of the caller's.
func (s *Server) limitCodes(ctx context.Context) error {
	for _, name := range []string{"account\x00" + caller(ctx), "network\x00" + requestOf(ctx).network} {
		if wait := s.take(ctx, s.redeems, name); wait > 0 {
			return rateLimited(wait)
		}
	}
	return nil
}

// inviteURL is where the portal takes a code, which stands in the fragment.
const inviteURL = "/invite#"

// CreateInvitationCode makes a code that offers devices to whoever redeems it.
func (h handlers) CreateInvitationCode(ctx context.Context, r rest.CreateInvitationCodeRequestObject) (rest.CreateInvitationCodeResponseObject, error) {
	if err := h.limitFrom(ctx, h.inviting); err != nil {
		return nil, err
	}
	terms := app.CodeTerms{Remark: r.Body.Remark, Devices: deviceGrants(r.Body.Devices)}
	made, err := h.cfg.Shares.MakeCode(ctx, meta(ctx, r.Params.IdempotencyKey), terms, time.Duration(r.Body.ExpiresIn)*time.Second)
	if err == nil {
		err = h.stillLoggedIn(ctx, func() error { return h.cfg.Shares.RevokeCode(ctx, meta(ctx, ""), made.ID) })
	}
	if err != nil {
		return nil, err
	}
	return rest.CreateInvitationCode201JSONResponse{ID: made.ID, Code: made.Code, URL: inviteURL + made.Code, ExpiresAt: made.Expires}, nil
}

// ListInvitationCodes lists the caller's codes.
func (h handlers) ListInvitationCodes(ctx context.Context, _ rest.ListInvitationCodesRequestObject) (rest.ListInvitationCodesResponseObject, error) {
	rows, err := h.cfg.Shares.Codes(ctx, caller(ctx))
	if err != nil {
		return nil, err
	}
	items := make([]rest.InvitationCode, len(rows))
	for i, row := range rows {
		items[i] = rest.InvitationCode{
			ID: row.ID, Used: row.Used, CreatedAt: row.Created, ExpiresAt: row.Expires, Remark: row.Remark, Devices: []rest.CodeDevice{},
		}
		for _, d := range row.Devices {
			offered := rest.CodeDevice{Device: d.Device, Channels: h.channelGrants(ctx, d.Grants)}
			if d.Terms != nil {
				offered.Terms = *d.Terms
			}
			items[i].Devices = append(items[i].Devices, offered)
		}
	}
	return rest.ListInvitationCodes200JSONResponse{Items: items}, nil
}

// RevokeInvitationCode ends a code that was not used.
func (h handlers) RevokeInvitationCode(ctx context.Context, r rest.RevokeInvitationCodeRequestObject) (rest.RevokeInvitationCodeResponseObject, error) {
	err := h.cfg.Shares.RevokeCode(ctx, meta(ctx, ""), r.Code)
	return rest.RevokeInvitationCode204Response{}, err
}

// RedeemInvitationCode shares with the caller what a code offers.
func (h handlers) RedeemInvitationCode(ctx context.Context, r rest.RedeemInvitationCodeRequestObject) (rest.RedeemInvitationCodeResponseObject, error) {
	if err := h.limitCodes(ctx); err != nil {
		return nil, err
	}
	result, err := h.cfg.Shares.Redeem(ctx, meta(ctx, r.Params.IdempotencyKey), r.Body.Code)
	changed, err := h.changed(ctx, result, err)
	return rest.RedeemInvitationCode200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// CreateOwnCode makes a code that stands for the caller's address.
func (h handlers) CreateOwnCode(ctx context.Context, r rest.CreateOwnCodeRequestObject) (rest.CreateOwnCodeResponseObject, error) {
	made, err := h.cfg.Shares.OwnCode(ctx, meta(ctx, r.Params.IdempotencyKey))
	return rest.CreateOwnCode201JSONResponse{Code: made.Code, ExpiresAt: made.Expires}, err
}

// checkRecipient refuses a recipient that is not named in exactly one way, and limits
// attempts at codes.
func (h handlers) checkRecipient(ctx context.Context, to rest.Recipient) error {
	named := 0
	for _, by := range []string{to.Email, to.Phone, to.Code} {
		if by != "" {
			named++
		}
	}
	switch {
	case named != 1:
		return oneAddress("/recipient")
	case to.Code != "":
		return h.limitCodes(ctx)
	}
	return nil
}
