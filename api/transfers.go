package api

import (
	"context"
	"errors"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/internal/app"
	"latchkey/internal/hashing"
	"latchkey/projections"
)

// OfferTransfer offers a device of the caller's to another account. Attempts at the
// password are bounded as ChangePassword does: a stolen session must not be enough.
func (h handlers) OfferTransfer(ctx context.Context, r rest.OfferTransferRequestObject) (rest.OfferTransferResponseObject, error) {
	name := "account\x00" + caller(ctx)
	known, err := h.limitLogin(ctx, name)
	if err != nil {
		return nil, err
	}
	done, err := h.cfg.Devices.OfferTransfer(toHash(ctx, known), meta(ctx, r.Params.IdempotencyKey), r.Device, app.NewTransfer{
		Email: r.Body.Recipient.Email, Phone: r.Body.Recipient.Phone, Shares: device.Shares(r.Body.Shares), Password: r.Body.Password,
	})
	if errors.Is(err, hashing.ErrBusy) { // nothing was tried
		h.logins.local.Refund(loginFrom(ctx, name), 1, h.cfg.Now())
	}
	if err != nil {
		return nil, err
	}
	h.loggedIn(ctx, name)
	err = h.stillLoggedIn(ctx, func() error { // the password may have been changed meanwhile
		_, err := h.cfg.Devices.WithdrawTransfer(ctx, meta(ctx, ""), r.Device)
		return err
	})
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, done.Position)
	if err != nil {
		return nil, err
	}
	d, t := done.Device, done.Device.Transfer
	body, err := h.transfer(ctx, projections.Transfer{
		Device: d.Device, ID: device.TransferID(d.Device, t.Number), Owner: d.Owner, Kind: t.Kind, Recipient: t.To, Shares: string(t.Shares),
		OfferedAt: projections.MicrosOf(t.At), Until: projections.MicrosOf(t.Until), Status: projections.TransferWaits, Name: d.Name, Model: d.Facts.Model,
	})
	return rest.OfferTransfer201JSONResponse{Body: body, Headers: rest.OfferTransfer201ResponseHeaders{LatchkeyPosition: position}}, err
}

// WithdrawTransfer ends the offer of a device of the caller's.
func (h handlers) WithdrawTransfer(ctx context.Context, r rest.WithdrawTransferRequestObject) (rest.WithdrawTransferResponseObject, error) {
	result, err := h.cfg.Devices.WithdrawTransfer(ctx, meta(ctx, r.Params.IdempotencyKey), r.Device)
	return h.done(ctx, result, err)
}

// RejectTransfer declines an offer to the caller.
func (h handlers) RejectTransfer(ctx context.Context, r rest.RejectTransferRequestObject) (rest.RejectTransferResponseObject, error) {
	result, err := h.cfg.Devices.RejectTransfer(ctx, meta(ctx, r.Params.IdempotencyKey), r.Transfer)
	return h.done(ctx, result, err)
}

// AcceptTransfer takes over a device that was offered to the caller.
func (h handlers) AcceptTransfer(ctx context.Context, r rest.AcceptTransferRequestObject) (rest.AcceptTransferResponseObject, error) {
	result, err := h.cfg.Devices.AcceptTransfer(ctx, meta(ctx, r.Params.IdempotencyKey), r.Transfer)
	changed, err := h.deviceChanged(ctx, result, err)
	changed.Body.Warnings = append(changed.Body.Warnings, changePassword())
	return rest.AcceptTransfer200JSONResponse{DeviceChangedJSONResponse: changed}, err
}

// changeCameraPassword is the code of a warning: others may know the device's password.
const changeCameraPassword = "change_camera_password"

// changePassword is the warning to the new owner of a device.
func changePassword() rest.Warning {
	code := changeCameraPassword
	return rest.Warning{
		Code:   code,
		Detail: "Whoever had the device before may know its password. Set another one at the device, and then here (PUT /devices/{device}/credentials).",
	}
}

// ListTransfers lists the offers by the caller and to the caller.
func (h handlers) ListTransfers(ctx context.Context, r rest.ListTransfersRequestObject) (rest.ListTransfersResponseObject, error) {
	query := func(ctx context.Context, account string, p projections.Page) ([]projections.Transfer, string, error) {
		return h.cfg.Queries.Transfers(ctx, account, h.cfg.Now(), p)
	}
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), query)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.transfer)
	return rest.ListTransfers200JSONResponse{Items: items, Next: next}, err
}

func (h handlers) transfer(ctx context.Context, v projections.Transfer) (rest.Transfer, error) {
	name, to := h.reading(ctx), h.reading(ctx)
	out := rest.Transfer{
		ID: v.ID, Shares: v.Shares, Status: v.Status, OfferedAt: v.OfferedAt.Time(), ExpiresAt: v.Until.Time(),
		Device: rest.RequestedDevice{ID: v.Device, Model: v.Model, Name: name.text(event.FieldDevice, v.Name)},
	}
	out.Device.Unreadable = name.unreadable
	if v.Status == projections.TransferWaits && !h.cfg.Now().Before(v.Until.Time()) {
		out.Status = projections.TransferExpired
	}
	if v.EndedAt != 0 {
		out.EndedAt = v.EndedAt.Time()
	}
	if name.err != nil {
		return rest.Transfer{}, name.err
	}
	if v.Owner != caller(ctx) {
		from, err := h.person(ctx, v.From)
		out.Direction, out.From = "received", from
		return out, err
	}
	out.Direction = "given"
	recipient := rest.ShareRecipient{}
	address := to.text(event.FieldRecipient, v.Recipient)
	recipient.Unreadable = to.unreadable
	if v.Kind == "phone" {
		recipient.Phone = address
	} else {
		recipient.Email = address
	}
	out.Recipient = recipient
	return out, to.err
}
